"""The table of flows; the state is sealed and every save is guarded by its revision."""

from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Final
from uuid import UUID

from sqlalchemy import LargeBinary, bindparam, insert, select, update
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import FieldContext, Owner
from service.domain.errors import Conflict
from service.domain.ids import service_owner
from service.login.model import Flow, stored
from service.login.state import pack, unpack
from service.store.authentic import record
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import Tx
from service.store.later import later
from service.store.personal_data import Unlinked
from service.store.sealed import encrypted_text, open_value, seal_value
from service.store.shapes import Noted


class FlowRow(Noted, Base):
    """A stored flow; its state is sealed, so that a writer to the table cannot advance it."""

    __tablename__ = "flow"
    __members__ = ("client_id", "token_digest", "expires_at")
    __until__ = "expires_at"
    __revision__ = "revision"
    __personal__ = Unlinked(
        "a sign-in under way",
        "5 minutes after its last step, 15 at most, and 5 as ended",
        "a flow is sealed whole and found by its own number only",
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[UUID]
    token_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    revision: Mapped[int]
    expires_at: Mapped[datetime]
    state = encrypted_text("service", bound=("client_id", "revision"))

    def field_owner(self) -> Owner:
        """Return the reserved owner of flows: their key is at hand in every process."""
        return service_owner("flows")


_TABLE: Final = table_of(FlowRow)
_OWNER: Final = service_owner("flows")
_INSERT: Final = insert(_TABLE)
_FIND: Final = select(
    _TABLE.c.client_id, _TABLE.c.token_digest, _TABLE.c.revision, _TABLE.c.state
).where(_TABLE.c.id == bindparam("b_id"))
_FIND_LOCKED: Final = _FIND.with_for_update()
_SAVE: Final = (
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("b_id"), _TABLE.c.revision == bindparam("b_revision"))
    .values(
        revision=bindparam("b_next"), expires_at=bindparam("b_expires"), state=bindparam("b_state")
    )
    .returning(_TABLE.c.id)
)


def add(tx: Tx, flow: Flow) -> None:
    """Save a new flow."""
    values = {
        "id": flow.id,
        "client_id": flow.terms.client,
        "token_digest": flow.token_digest,
        "revision": flow.revision,
        "expires_at": flow.expires_at,
        "state": _seal(tx, flow),
    }
    later(tx, _INSERT, values)
    record(tx, FlowRow, SimpleNamespace(**values))


def find(tx: Tx, flow_id: UUID, *, lock: bool = False) -> Flow | None:
    """Return a flow; locked, it stays as it is."""
    row = tx.execute(_FIND_LOCKED if lock else _FIND, {"b_id": flow_id}).first()
    if row is None:
        return None
    context = _context(flow_id, row.client_id, row.revision)
    state = open_value(tx, "service", context, row.state)
    return replace(unpack(flow_id, row.revision, state), token_digest=row.token_digest)


def save(tx: Tx, flow: Flow) -> Flow:
    """Save the next revision of a flow and return it.

    The transaction ends with Conflict if another request has moved the flow on in the meantime.
    """
    following = replace(flow, revision=flow.revision + 1)
    values = {
        "b_id": flow.id,
        "b_revision": flow.revision,
        "b_next": following.revision,
        "b_expires": flow.expires_at,
        "b_state": _seal(tx, stored(following)),
    }
    later(tx, _SAVE, values, else_raise=moved)
    saved = {
        "id": flow.id,
        "client_id": flow.terms.client,
        "token_digest": flow.token_digest,
        "expires_at": flow.expires_at,
        "revision": following.revision,
    }
    record(tx, FlowRow, SimpleNamespace(**saved))
    return following


def _seal(tx: Tx, flow: Flow) -> bytes:
    context = _context(flow.id, flow.terms.client, flow.revision)
    return seal_value(tx, "service", context, pack(flow))


def _context(flow_id: UUID, client: UUID, revision: int) -> FieldContext:
    """Bind the state to its row as the descriptor of the column would."""
    return FieldContext(
        table="flow",
        column="state",
        owner=_OWNER,
        row=flow_id,
        extra=f"{client}|{revision}".encode(),
    )


def drop_ended(tx: Tx, before: datetime) -> int:
    """Forget a page of flows that ended before a time; return how many."""
    return drop_page(tx, _TABLE, _TABLE.c.expires_at <= before)


def moved() -> Conflict:
    """Return the refusal of a request that came second."""
    return Conflict("flow_moved", "Another request has moved this flow on; read it again.")
