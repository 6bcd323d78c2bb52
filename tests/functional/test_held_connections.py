"""Reads on connections that are kept, and statements that the driver runs itself."""

import threading

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import ProgrammingError

from service.accounts.store.subjects import Subject
from service.authenticators.store.authenticators import AuthenticatorRow
from service.clients.store import ClientRow
from service.domain.errors import Unavailable
from service.sessions.store import SessionRow
from service.store.authentic import reading
from service.store.prepared import DriverRead
from service.tokens.store import RefreshToken

TABLES = (Subject, AuthenticatorRow, ClientRow, SessionRow, RefreshToken)


def ready(service):
    """Return the connections that are kept and free."""
    return [connection for connection, _ in service.container.store._held._free]


def test_the_driver_gives_what_sqlalchemy_gives(service):
    """Values of every kind are equal, with a listener, which hears each statement, and without."""
    service.sign_up("alice")
    store = service.container.store
    asked = []

    def hear(*of):
        asked.append(of[2])

    for model in TABLES:
        prepared = DriverRead(reading(model))
        with store.reading() as tx:
            given = prepared.rows(tx, {})
            usual = [tuple(row) for row in tx.execute(reading(model))]
        event.listen(store.engine, "before_cursor_execute", hear)
        try:
            with store.reading() as tx:
                heard = prepared.rows(tx, {})
        finally:
            event.remove(store.engine, "before_cursor_execute", hear)
        assert given
        assert given == usual == heard
        assert [list(map(type, row)) for row in given] == [list(map(type, row)) for row in usual]
    assert len(asked) == len(TABLES)


def test_a_statement_of_the_driver_sees_what_its_transaction_changed(service):
    """Pending objects are written first, as before any statement."""
    _, tokens = service.sign_up("alice")
    assert tokens
    prepared = DriverRead(select(SessionRow.idle_seconds))
    with service.container.store.transaction() as tx:
        tx.scalars(select(SessionRow)).one().idle_seconds = 77
        assert prepared.rows(tx, {}) == [(77,)]


def test_what_the_driver_refuses_is_the_error_of_before(service):
    """Of an unknown column, too: the connection is not kept, and the next read has another."""
    store = service.container.store
    with store.reading() as tx:
        tx.execute(text("SELECT 1"))
    before = ready(service)
    statement = select(text("nothing_here"))
    with pytest.raises((Unavailable, ProgrammingError)) as usual, store.reading() as tx:
        tx.execute(statement)
    with pytest.raises(type(usual.value)) as given, store.reading() as tx:
        DriverRead(statement).rows(tx, {})
    assert str(given.value) == str(usual.value)
    assert not set(before) & set(ready(service))
    with store.reading() as tx:
        assert tx.execute(text("SELECT 1")).scalar() == 1


def test_few_connections_are_kept_however_many_read(service):
    """Each reader has one of its own; beyond a quarter of the pool they go back to it."""
    store = service.container.store
    together = threading.Barrier(12)
    seen = []

    def read():
        with store.reading() as tx:
            seen.append(tx.get_bind())
            together.wait(30)

    threads = [threading.Thread(target=read) for _ in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(set(map(id, seen))) == 12
    pooled = store.engine.pool.size()
    assert len(ready(service)) == min(4, pooled // 4)


def test_a_lost_connection_is_told_and_not_kept(service, url):
    """One request finds that the server has gone; the next one has a connection."""
    if url.startswith("sqlite"):
        pytest.skip("a file is not lost")
    store = service.container.store
    with store.reading() as tx:
        number = tx.execute(text("SELECT pg_backend_pid()")).scalar()
    with store.transaction() as tx:
        tx.execute(text("SELECT pg_terminate_backend(:number)"), {"number": number})
    prepared = DriverRead(select(Subject.status).where(Subject.status == "nobody"))
    with pytest.raises(Unavailable), store.reading() as tx:
        prepared.rows(tx, {})
    with store.reading() as tx:
        assert prepared.rows(tx, {}) == []


def test_disposing_of_the_engine_closes_what_is_kept(service):
    """A replaced file of SQLite is opened anew, and an ended process leaves nothing open."""
    store = service.container.store
    with store.reading() as tx:
        tx.execute(text("SELECT 1"))
    (held,) = ready(service)
    store.engine.dispose()
    assert ready(service) == []
    assert held.closed


def test_what_was_lent_as_the_engine_was_disposed_of_is_closed(service):
    """Its pool has gone, so nothing else would close it."""
    store = service.container.store
    with store.reading() as tx:
        lent = tx.get_bind()
        store.engine.dispose()
        assert not lent.closed
    assert lent.closed
    assert ready(service) == []


def test_a_reader_opens_no_second_transaction(service):
    """As any other transaction of a thread."""
    store = service.container.store
    with store.reading(), pytest.raises(RuntimeError, match="already open"), store.reading():
        pass
