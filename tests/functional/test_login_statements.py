"""How many statements and commits a call of a login costs on PostgreSQL, exactly."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import event, text

from tests.functional.conftest import PASSWORD
from tests.functional.policing import changed, in_force

CALLER = "SELECT client."


@dataclass
class Spent:
    """What the database was asked; the caller of an access token is counted apart."""

    statements: list[str] = field(default_factory=list)
    commits: int = 0

    @property
    def own(self) -> list[str]:
        """Return the statements of the call itself."""
        return [text for text in self.statements if not text.startswith(CALLER)]

    def __str__(self) -> str:
        return "\n".join(text[:150] for text in self.own)


@contextmanager
def spending(service) -> Iterator[Spent]:
    """Count the statements of a block, without those that begin a transaction, and commits."""
    spent = Spent()

    def told(_conn, _cursor, statement, _parameters, _context, _many):
        if not statement.startswith("BEGIN"):
            spent.statements.append(" ".join(statement.split()))

    def committed(connection):
        spent.commits += bool(connection.get_execution_options().get("lamina_begin", "BEGIN"))

    engine = service.container.store.engine
    event.listen(engine, "before_cursor_execute", told)
    event.listen(engine, "commit", committed)
    try:
        yield spent
    finally:
        event.remove(engine, "before_cursor_execute", told)
        event.remove(engine, "commit", committed)


def logged_in(service, person, **context):
    """Sign in, and return what begin, password and TOTP spent."""
    service.clock.advance(seconds=31)
    with spending(service) as begun:
        flow = service.begin(**context).json
    with spending(service) as password:
        assert service.act(flow, "password", {"password": PASSWORD}).status_code == 200
    code = service.code(person)
    with spending(service) as totp:
        assert service.act(flow, "totp", {"code": code}).json["status"] == "completed"
    return begun, password, totp


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_what_a_login_asks_of_the_database(service):
    """The subject is read in one statement, and what is decided is written in one."""
    person = service.register()
    for _ in range(2):
        logged_in(service, person)
    # The keys of the service are read again every half minute; a login between shows the usual.
    service.container.key_store.refresh = lambda _session: None
    logged_in(service, person)
    begun, password, totp = logged_in(service, person)
    assert (len(begun.own), begun.commits) == (2, 1), str(begun)
    assert (len(password.own), password.commits) == (9, 2), str(password)
    assert (len(totp.own), totp.commits) == (5, 1), str(totp)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_an_unknown_person_costs_the_same_statements(service):
    """A wrong password and a wrong code ask the same of the database for nobody."""
    person = service.register("alice")
    logged_in(service, person)
    service.container.key_store.refresh = lambda _session: None
    asked = []
    for name in ("alice", "nobody", "alice", "nobody"):
        with spending(service) as begun:
            flow = service.begin(name).json
        with spending(service) as wrong:
            assert service.act(flow, "password", {"password": "not this one"}).status_code == 422
        asked.append(([text[:60] for text in begun.own], [text[:60] for text in wrong.own]))
    assert asked[2] == asked[3]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_deferred_check_asks_the_same_whatever_it_found(service):
    """Under PSD2 no statement tells a right password from a wrong one, or from nobody's."""
    in_force(service, changed(regime="psd2"))
    service.register("alice")
    service.container.key_store.refresh = lambda _session: None
    asked = []
    for name, password in (
        ("alice", PASSWORD),
        ("alice", "wrong password here"),
        ("nobody", PASSWORD),
    ) * 2:
        flow = service.begin(name).json
        with spending(service) as spent:
            assert service.act(flow, "password", {"password": password}).status_code == 200
        asked.append([text[:100] for text in spent.own])
        service.clock.advance(seconds=60)
        service.bearer = service.access()
    assert asked[3] == asked[4] == asked[5]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_flow_that_was_cancelled_meanwhile_is_not_completed(service, monkeypatch):
    """Though the first history of a person is inserted before the flow is saved."""
    person = service.register()
    service.login(person)
    service.clock.advance(seconds=61)
    with service.container.store.transaction() as tx:
        tx.execute(text("DELETE FROM login_context_history"))
    flow = service.begin().json
    assert service.act(flow, "password", {"password": PASSWORD}).status_code == 200
    usual = service.container.login._open
    headers = {"Authorization": f"Bearer {service.bearer}", "Flow-Token": flow["flow_token"]}
    answers = []

    def cancelled():
        client = service.app.test_client()
        answers.append(client.delete(f"/v1/flows/{flow['id']}", headers=headers).status_code)

    def opened(*args, **more):
        found = usual(*args, **more)
        thread = threading.Thread(target=cancelled)
        thread.start()
        thread.join(60)
        return found

    monkeypatch.setattr(service.container.login, "_open", opened)
    assert service.act(flow, "totp", {"code": service.code(person)}).status_code == 409
    assert answers == [204]
