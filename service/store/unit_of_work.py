"""The session of a transaction: seals fields, queues writes, and serves rows read ahead."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction

from service.store.ahead import Rows, drop_ahead, result_ahead, rows_ahead
from service.store.authentic import authenticate_before_flush, cut, touched
from service.store.driver_sql import AnyResult, AnySelect
from service.store.later import cut_queue, queued, send
from service.store.sealed import seal_before_flush

_NOTED: Final = "lamina_noted_at_savepoint"


class UnitOfWork(Session):
    """A session that seals fields before it flushes."""

    _direct: Connection | None = None
    _unset: tuple[SessionTransaction, int] | None = None
    """A part without a savepoint so far, and how many writes were queued before it."""
    failed: Exception | None = None
    """The error of writes of the outer part that were sent from within a part."""

    def execute(
        self,
        statement: Any,  # noqa: ANN401 - one signature stands for the overloads of a session
        params: Any = None,  # noqa: ANN401
        **options: Any,  # noqa: ANN401
    ) -> AnyResult:
        """Run a statement; those without objects go directly to the connection.

        The session's preparation for objects costs 80 microseconds per statement.
        """
        if options or statement._propagate_attrs.get("compile_state_plugin") == "orm":  # noqa: SLF001 - the mark by which sessions recognize ORM statements
            return super().execute(statement, params, **options)
        # Flush first, as a session does, so that the statement sees pending changes.
        self._autoflush()
        if (found := result_ahead(self, statement, params)) is not None:
            return found
        drop_ahead(self, statement)
        return self._connected().execute(statement, params)

    def known_rows(self, statement: AnySelect, values: Mapping[str, object]) -> Rows | None:
        """Return the rows of a statement that were read ahead and hold still, or None."""
        self._autoflush()
        return rows_ahead(self, statement, values)

    def directly(self) -> Connection:
        """Return the connection, for a read without objects that sees pending changes."""
        self._autoflush()
        return self._connected()

    def on(self, connection: Connection) -> None:
        """Run statements without objects on the given connection, which the session is bound to."""
        self._direct = connection

    def connection(
        self,
        bind_arguments: dict[str, object] | None = None,
        execution_options: Mapping[str, object] | None = None,
    ) -> Connection:
        """Return the connection, after the queued writes."""
        self.settle()
        return super().connection(bind_arguments, execution_options)

    def begin_nested(self) -> SessionTransaction:
        """Begin a part that can be rolled back; its first statement sets the savepoint."""
        if self._direct is None:
            self._direct = super().connection()
        nested = super().begin_nested()
        self._unset = nested, queued(self)
        self.info.setdefault(_NOTED, {})[nested] = len(touched(self)), queued(self)
        return nested

    def _connected(self) -> Connection:
        self.settle()
        if self._direct is None:
            self._direct = super().connection()
        return self._direct

    def settle(self) -> None:
        """Send the queued writes; those of the outer part go before an unset savepoint."""
        if self._unset is not None:
            nested, outer = self._unset
            self._unset = None
            if nested is self.get_nested_transaction() and self._direct is not None:
                try:
                    send(self, self._direct, outer)
                except Exception as error:
                    self.failed = error
                    raise
                noted, _ = self.info[_NOTED][nested]
                self.info[_NOTED][nested] = noted, 0
                super().connection()
        if queued(self):
            if self._direct is None:
                self._direct = super().connection()
            send(self, self._direct)


def unit_of(tx: Session) -> UnitOfWork:
    """Return the session of a store's transaction; raises TypeError for any other session."""
    if not isinstance(tx, UnitOfWork):
        raise TypeError("this is no transaction of a Store")
    return tx


def _forget_part(session: Session, ended: SessionTransaction) -> None:
    """Handle `after_soft_rollback`: drop the changes that a savepoint rolled back."""
    counts = session.info.get(_NOTED, {}).pop(ended, None)
    if counts is not None:
        cut(session, counts[0])
        cut_queue(session, counts[1])
        drop_ahead(session)


def _before_statement(state: ORMExecuteState) -> None:
    """Handle `do_orm_execute`: a statement that makes objects runs after the queued writes."""
    drop_ahead(state.session, state.statement)
    unit_of(state.session).settle()


def _send_first(session: Session, _context: object, _instances: object) -> None:
    """Handle `before_flush`: objects are written after the queued writes."""
    drop_ahead(session)
    unit_of(session).settle()


event.listen(UnitOfWork, "after_soft_rollback", _forget_part)
event.listen(UnitOfWork, "do_orm_execute", _before_statement)
event.listen(UnitOfWork, "before_flush", _send_first)
event.listen(UnitOfWork, "before_flush", seal_before_flush)
# After sealing, because the MAC of a row may cover sealed cells.
event.listen(UnitOfWork, "before_flush", authenticate_before_flush)
