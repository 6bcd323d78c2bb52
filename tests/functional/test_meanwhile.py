"""What others did while something slow was checked, which holds no lock."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
from sqlalchemy import text

from service.domain.errors import NotFound
from service.domain.ids import new_id
from service.factors.face.model import Mode
from service.keys.actions.crypto_shredding import SUBJECT_CLASSES, tombstone_entry
from tests.functional.conftest import CONSENT, PASSWORD
from tests.functional.test_face import frames
from tests.races.processes import Camera


def meanwhile(monkeypatch, owner, name, act):
    """Let something happen once, at the moment when a slow check is under way."""
    checked, done = getattr(owner, name), []

    def check(*arguments, **named):
        if not done:
            done.append(1)
            act()
        return checked(*arguments, **named)

    monkeypatch.setattr(owner, name, check)


def rows(service, table, person):
    """Count the rows of a subject."""
    number = UUID(person.id)
    value = number.hex if service.container.settings.sqlite else str(number)
    column = "owner_id" if table == "dek" else "subject_id"
    statement = text(f"SELECT count(*) FROM {table} WHERE {column} = :id")  # noqa: S608 - names from below
    with service.container.store.engine.connect() as connection:
        return connection.execute(statement, {"id": value}).scalar()


@pytest.fixture
def faces(service):
    """The service with a camera that costs nothing."""
    service.container.face._reader, service.container.face._mode = Camera(), Mode.OFF
    return service


@pytest.mark.parametrize("password", [PASSWORD, "not the right one"])
def test_an_erasure_while_a_password_is_checked_leaves_nobody(service, monkeypatch, password):
    """The right password of somebody who is no more is like one of nobody, and leaves nothing."""
    person = service.register()
    nobody = service.act(service.begin("nobody").json, "password", {"password": password})
    flow = service.begin().json
    path = f"/v1/subjects/{person.id}"
    meanwhile(
        monkeypatch,
        service.container.password._hasher,
        "verify",
        lambda: service.app.test_client().delete(
            path, headers={"Authorization": f"Bearer {service.bearer}"}
        ),
    )
    answer = service.act(flow, "password", {"password": password})
    assert answer.status_code == nobody.status_code == 422
    assert set(answer.json) == set(nobody.json)
    assert set(answer.json["flow"]) == set(nobody.json["flow"])
    for table in ("dek", "session", "known_device", "policy_decision", "login_context_history"):
        assert rows(service, table, person) == 0


def test_an_erasure_in_the_middle_of_a_flow_ends_it(service):
    """Once a factor has verified the flow was somebody's: it is not there any more."""
    person = service.register()
    flow = service.begin().json
    assert service.act(flow, "password", {"password": PASSWORD}).status_code == 200
    assert service.call("DELETE", f"/v1/subjects/{person.id}").status_code == 200
    for name, body in (("totp", {"code": service.code(person)}), ("back", {})):
        answer = service.act(flow, name, body)
        assert (answer.status_code, answer.json["code"]) == (404, "flow_not_found")
    assert rows(service, "dek", person) == 0


def test_a_suspension_while_a_password_is_checked_ends_the_login(service, monkeypatch):
    """What decides is read under the lock, after the slow check."""
    person = service.register()
    subject = UUID(person.id)

    def suspend():
        with service.container.store.transaction() as tx:
            service.container.suspensions.suspend(
                tx, subject, capability="login", reason="fraud", actor="operator"
            )

    meanwhile(monkeypatch, service.container.password._hasher, "verify", suspend)
    answer = service.act(service.begin().json, "password", {"password": PASSWORD})
    assert (answer.status_code, answer.json["code"]) == (403, "suspended")


def test_a_consent_that_is_withdrawn_while_a_face_is_read(faces, monkeypatch):
    """No face is enrolled on it, in whatever way the consent went."""
    person = faces.register(consents=[CONSENT | {"purpose": "face"}])
    added = faces.enroll(person, "face").json
    path = f"/v1/subjects/{person.id}"

    def withdraw():
        with faces.container.store.transaction() as tx:
            faces.container.accounts.consents.withdraw(tx, UUID(person.id), "face")

    meanwhile(monkeypatch, faces.container.face._reader, "stills", withdraw)
    body = {
        "challenge_id": added["challenge"]["challenge_id"],
        "frames": frames(b"one", b"two", b"three"),
    }
    answer = faces.call("POST", f"{path}/authenticators/{added['id']}/confirm", body)
    assert (answer.status_code, answer.json["code"]) == (403, "consent_required")
    assert rows(faces, "face_template_secret", person) == 0


def test_a_confirmation_that_comes_second_is_no_failed_attempt(faces, monkeypatch):
    """It verified: what it counted is given back, so that nobody waits for it."""
    person = faces.register(consents=[CONSENT | {"purpose": "face"}])
    for _ in range(7):
        added = faces.enroll(person, "face").json
        path = f"/v1/subjects/{person.id}/authenticators/{added['id']}"
        meanwhile(
            monkeypatch,
            faces.container.face._reader,
            "stills",
            lambda path=path: faces.call("DELETE", path),
        )
        body = {
            "challenge_id": added["challenge"]["challenge_id"],
            "frames": frames(added["id"].encode(), b"two", b"three"),
        }
        answer = faces.call("POST", f"{path}/confirm", body)
        assert (answer.status_code, answer.json["code"]) == (409, "not_pending")


def test_nobody_is_held_after_an_erasure(service):
    """A hold of somebody who is no more is refused, as an erasure of somebody held is."""
    person, container = service.register(), service.container
    until = container.clock.now() + timedelta(days=30)
    assert service.call("DELETE", f"/v1/subjects/{person.id}").status_code == 200
    with pytest.raises(NotFound), container.store.transaction() as tx:
        container.shredding.hold(tx, UUID(person.id), until=until, reason="aml", actor="cli")
    assert rows(service, "legal_hold", person) == 0


def test_a_repeated_erasure_waits_for_whoever_has_locked_the_subject(service, monkeypatch):
    """Each line of the ledger is a unit of work of its own that locks its subject first."""
    if service.container.store.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one lock for all")
    container, people = (
        service.container,
        [UUID(service.register(name).id) for name in ("alice", "bob")],
    )
    now = service.clock.now()
    lines = [
        tombstone_entry(
            new_id(now),
            subject=subject,
            classes=SUBJECT_CLASSES,
            erased_at=now,
            horizon=now + timedelta(days=30),
        )
        for subject in people
    ]
    told = container.memory.entries
    monkeypatch.setattr(container.memory, "entries", lambda: [*told(), *lines[::-1]])
    with ThreadPoolExecutor(1) as pool:
        with container.store.engine.begin() as db:
            query = text("SELECT id FROM subject WHERE id = :id FOR UPDATE")
            db.execute(query, {"id": str(max(people))})
            repeated = pool.submit(container.erasure.compare)
            deadline = time.monotonic() + 120
            while _status(container, min(people)) != "erased" and time.monotonic() < deadline:
                time.sleep(0.02)
            assert _status(container, min(people)) == "erased"
            assert not repeated.done()
            assert rows(service, "dek", SimpleNamespace(id=str(max(people)))) > 0
        assert repeated.result(timeout=120)["erased_again"] == 2
    assert _status(container, max(people)) == "erased"


def _status(container, subject):
    with container.store.engine.connect() as db:
        query = text("SELECT status FROM subject WHERE id = :id")
        return db.execute(query, {"id": str(subject)}).scalar()
