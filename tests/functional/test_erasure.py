"""Erasure by destroying keys, and a memory of it that no backup can undo."""

import shutil
from datetime import timedelta

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import text

from service.app import open_container
from service.domain.errors import SetupError
from service.keys.ledger import Ledger
from tests.functional.conftest import CONSENT


def proof_of(service):
    *_, proof = service.container.keys.proving.verify()
    return proof


def test_an_erased_person_is_gone_and_the_certificate_says_until_when_a_backup_lives(service):
    """Keys, digests and cells go; the certificate is signed and names the erase horizon."""
    person = service.register(profile={"name": "Alice"}, consents=[CONSENT | {"purpose": "face"}])
    service.login(person)
    answer = service.call("DELETE", f"/v1/subjects/{person.id}")
    assert answer.status_code == 200, answer.json
    assert answer.json["erase_horizon"] == "2026-12-29T12:00:05Z"
    keys = service.http.get("/.well-known/lamina-log-keys").json
    signed = jwt.decode(answer.json["certificate"], KeySet.import_key_set(keys))
    assert signed.header["typ"] == "lamina-erasure+jwt"
    claims = signed.claims
    assert claims["sub"] == person.id
    assert claims["data_keys_destroyed"] == answer.json["data_keys_destroyed"] >= 3
    assert service.call("GET", f"/v1/subjects/{person.id}").status_code == 404
    assert service.call("DELETE", f"/v1/subjects/{person.id}").status_code == 404
    found = service.call("POST", "/v1/subjects/lookup", {"identifier": "alice"})
    assert found.status_code == 404
    assert proof_of(service).failed == 0
    service.register("alice")


def test_an_erased_person_is_answered_like_an_unknown_one(service):
    """Login, with the password that was right, fails as for somebody never seen."""
    person = service.register()
    service.call("DELETE", f"/v1/subjects/{person.id}")
    flow = service.begin("alice").json
    refused = service.act(flow, "password", {"password": "a long enough pass phrase"})
    assert refused.status_code == 422


def test_a_session_ends_with_the_person(service):
    """Tokens of an erased subject introspect as inactive."""
    person = service.register()
    tokens = service.exchange(service.login(person)["completion_code"]).json
    service.call("DELETE", f"/v1/subjects/{person.id}")
    seen = service.oauth("introspect", token=tokens["access_token"])
    assert seen.json == {"active": False}


def test_a_legal_hold_refuses_until_its_date(service):
    """The refusal names the date; the day after, the erasure goes through."""
    person = service.register()
    until = service.clock.now() + timedelta(days=1)
    with service.container.store.transaction() as tx:
        subject = service.container.accounts.lookup(tx, _caller(), "alice")["id"]
        assert subject == person.id
        service.container.shredding.hold(
            tx, _uuid(person), until=until, reason="money laundering", actor="op"
        )
    held = service.call("DELETE", f"/v1/subjects/{person.id}")
    assert (held.status_code, held.json["code"]) == (409, "legal_hold")
    assert "2026-11-25" in held.json["detail"]
    service.clock.advance(days=1, seconds=1)
    service.bearer = service.access()
    assert service.call("DELETE", f"/v1/subjects/{person.id}").status_code == 200


@pytest.mark.parametrize("purpose", ["behavior", "face"])
def test_a_legal_hold_refuses_the_withdrawal_that_would_destroy_data(service, purpose):
    """The contract names the refusal; another purpose, without data, is withdrawn."""
    consents = [CONSENT | {"purpose": name} for name in (purpose, "marketing")]
    person = service.register(consents=consents)
    until = service.clock.now() + timedelta(days=1)
    with service.container.store.transaction() as tx:
        service.container.shredding.hold(
            tx, _uuid(person), until=until, reason="money laundering", actor="op"
        )
    held, free = (
        service.call("DELETE", f"/v1/subjects/{person.id}/consents/{name}")
        for name in (purpose, "marketing")
    )
    assert (held.status_code, held.json["code"]) == (409, "legal_hold")
    assert free.status_code == 204
    kept = service.call("GET", f"/v1/subjects/{person.id}/consents").json["items"]
    assert {item["purpose"]: bool(item["withdrawn_at"]) for item in kept} == {
        purpose: False,
        "marketing": True,
    }


def test_withdrawing_a_consent_shreds_its_class_only(service):
    """The behavior class loses its key, the login goes on, and a new consent gets a new key."""
    person = service.register(consents=[CONSENT | {"purpose": "behavior"}])
    with service.container.store.transaction() as tx:
        service.container.key_store.make_key(tx, _owner(person), "behavior", 1)
    path = f"/v1/subjects/{person.id}/consents/behavior"
    assert service.call("DELETE", path).status_code == 204
    with service.container.store.transaction() as tx:
        count = text("SELECT count(*) FROM dek WHERE key_class = 'behavior'")
        assert tx.execute(count).scalar() == 0
        service.container.key_store.make_key(tx, _owner(person), "behavior", 1)
    service.login(person)


def test_an_unknown_class_is_refused(service):
    """The sentence lists the classes that there are."""
    person = service.register()
    with pytest.raises(Exception, match="class_not_found") as refused:
        service.container.erasure.erase(_uuid(person), "op", "everything")
    assert "biometric" in refused.value.detail


def test_a_restored_backup_revives_nobody(service, settings, clock, tmp_path):
    """A database older than the ledger is found out: erased again, and every session ended."""
    if not settings.sqlite:
        pytest.skip("restores a copy of SQLite's file")
    alice, bob = service.register(), service.register("bob")
    tokens = service.exchange(service.login(bob)["completion_code"]).json
    service.container.store.scrub()
    backup = shutil.copy(tmp_path / "lamina.db", tmp_path / "backup.db")
    with service.container.store.transaction() as tx:
        service.container.audit.sequence(tx)
    service.call("DELETE", f"/v1/subjects/{alice.id}")
    with service.container.store.transaction() as tx:
        assert service.container.erasure.remember(tx) == 1
        assert service.container.erasure.remember(tx) == 0
    assert set(service.container.erasure.compare().values()) == {0}
    service.container.store.engine.dispose()
    shutil.copy(backup, tmp_path / "lamina.db")
    for log in tmp_path.glob("lamina.db-*"):
        log.unlink()
    container = open_container(settings, clock)
    found = container.erasure.compare()
    assert (found["erased_again"], found["sessions_ended"]) == (1, 1)
    assert set(container.erasure.compare().values()) == {0}
    *_, proof = container.keys.proving.verify()
    assert proof.failed == 0
    with container.store.transaction() as tx:
        assert container.accounts.known(tx, _uuid(alice)).status == "erased"
        kinds = {row["kind"] for row in container.outbox.waiting(tx)}
    assert "alarm.database_restored" in kinds
    service.container.store.engine.dispose()
    assert service.oauth("introspect", token=tokens["access_token"]).json == {"active": False}
    container.store.engine.dispose()


def test_opening_a_canary_raises_an_alarm(service):
    """A subject nobody has a reason to open leaves an alarm when somebody does."""
    person = service.register("kestrel")
    with service.container.store.transaction() as tx:
        service.container.shredding.watch(tx, _uuid(person), "op")
    service.clock.advance(seconds=6)
    service.register("bob")
    with service.container.store.transaction() as tx:
        kinds = [row["kind"] for row in service.container.outbox.waiting(tx)]
    assert "alarm.canary_opened" not in kinds
    assert service.call("GET", f"/v1/subjects/{person.id}").status_code == 200
    with service.container.store.transaction() as tx:
        kinds = [row["kind"] for row in service.container.outbox.waiting(tx)]
    assert kinds.count("alarm.canary_opened") == 1


def test_the_ledger_refuses_every_change(tmp_path):
    """A changed, removed or moved line stops the start by its number; a half line is no line."""
    path = tmp_path / "ledger"
    ledger = Ledger(path, bytes(32))
    assert ledger.entries() == []
    ledger.append([{"kind": "a"}, {"kind": "b"}])
    ledger.append([{"kind": "c"}])
    ledger.append([])
    assert [entry["kind"] for entry in ledger.entries()] == ["a", "b", "c"]
    assert path.stat().st_mode & 0o077 == 0
    whole = path.read_bytes()
    first, second, third = whole.splitlines(keepends=True)
    for content, line in (
        (second + third, 1),
        (first + third, 2),
        (first + second.replace(b'"b"', b'"x"'), 2),
        (first + b"nothing\n", 2),
        (first + b"[]\n", 2),
    ):
        path.write_bytes(content)
        with pytest.raises(SetupError) as damaged:
            ledger.entries()
        assert f"line {line};" in damaged.value.detail
    path.write_bytes(whole + b'{"entry":')
    assert len(ledger.entries()) == 3
    ledger.append([{"kind": "d"}])
    assert len(ledger.entries()) == 4
    with pytest.raises(SetupError, match="ledger_damaged"):
        Ledger(path, bytes(31) + b"x").entries()
    path.unlink()
    path.mkdir()
    with pytest.raises(SetupError, match="ledger_unreadable"):
        ledger.append([{"kind": "e"}])


def _uuid(person):
    from uuid import UUID

    return UUID(person.id)


def _owner(person):
    from service.domain.ids import subject_owner

    return subject_owner(_uuid(person))


def _caller():
    from uuid import UUID

    from service.domain.caller import Caller

    return Caller(client=UUID(int=5), scopes=frozenset())
