"""Every table with personal data is reached by an erasure, or says here why its rows remain."""

from datetime import timedelta
from uuid import UUID

from service.keys.actions.crypto_shredding import SUBJECT_CLASSES
from service.store.fields import sealed_tables
from service.store.personal_data import Whose, held
from tests.functional.conftest import CONSENT

# What remains of a subject that was erased, and why.
REMAINS = {
    "approval": "two operators decided: evidence, 400 days",
    "audit_leaf": "the log is the evidence; what is sealed in it by the subject's keys is closed",
    "authenticator": "that there was one, revoked and without its verifier",
    "canary": "that opening a field of this subject raises an alarm",
    "completion_code": "a digest that has nobody to sign in, for 60 seconds",
    "consent": "withdrawn: the evidence that processing was allowed",
    "grant": "a digest that has nobody to act for, for 5 minutes",
    "legal_hold": "over, as it would have refused the erasure",
    "long_job": "that it ran, 400 days; its report names nobody",
    "policy_document": "who wrote a rule, by number",
    "refresh_token": "a digest whose session has ended, for a day",
    "session": "that there was one, ended and without its origin; its evidence; for a day",
    "subject": "that there was one: its number, status and times",
    "suspension": "that it was suspended: evidence of a decision",
    "throttle": "counters under a keyed digest, until they are unused for long",
    "tombstone": "repeats the erasure on a restored backup",
    "totp_used_step": "the number of a time step, with the authenticator",
}


OPEN = {("session", "evidence")}
"""What still opens of a sealed column that remains: its key is the service's, for a day."""


def whose(service, person):
    """Return the person as an export finds it."""
    with service.container.store.transaction(read=True) as tx:
        bucket = service.container.throttling.bucket(tx, f"subject:{person.id}")
    return Whose(UUID(person.id), bucket)


def sections(service, found):
    """Return the export of each table."""
    with service.container.store.transaction(read=True) as tx:
        return {item.name: item.section(tx, found) for item in held()}


def shredded():
    """Return the tables whose sealed values all open by a subject's keys."""
    own = frozenset(SUBJECT_CLASSES)
    return {table.name for table in sealed_tables() if table.classes() <= own} | {"dek"}


def test_every_table_of_personal_data_is_reached_or_remains_for_a_reason(service):
    """A new table fails here until a feature erases it, keys seal it, or it is listed above."""
    names = {item.name for item in held()}
    reached = service.container.erasures.tables
    assert reached <= names
    assert REMAINS.keys() <= names
    assert names - reached - shredded() - REMAINS.keys() == set()


def test_what_is_erased_is_gone_and_what_remains_is_closed(service):
    """After an erasure only the listed tables have rows, and no sealed value of them opens."""
    consents = [CONSENT | {"purpose": name} for name in ("face", "behavior")]
    names = {"username": "alice", "email": "alice@example.com"}
    person = service.register(identifiers=names, profile={"name": "Alice"}, consents=consents)
    service.exchange(service.login(person)["completion_code"])
    service.clock.advance(minutes=1)
    service.login(person)
    debts = {"capability": "payment", "reason": "debts"}
    service.call("POST", f"/v1/subjects/{person.id}/suspensions", debts)
    container, subject = service.container, UUID(person.id)
    with container.store.transaction() as tx:
        container.shredding.watch(tx, subject, "op")
        until = container.clock.now() + timedelta(seconds=1)
        container.shredding.hold(tx, subject, until=until, reason="claim", actor="op")
    service.clock.advance(seconds=2)
    found = whose(service, person)
    before = {name for name, item in sections(service, found).items() if item["rows"]}
    erased = {"dek", "known_device", "login_context_history", "outbox", "policy_decision"}
    assert before >= erased | {"recovery_code", "subject_index"}
    assert before >= {"authenticator", "consent", "legal_hold", "session", "suspension", "subject"}

    assert service.call("DELETE", f"/v1/subjects/{person.id}").status_code == 200

    after = {name: item for name, item in sections(service, found).items() if item["rows"]}
    assert after.keys() <= REMAINS.keys()
    hidden = {item.name: item.hidden for item in held()}
    for name, item in after.items():
        for row in item["rows"]:
            shown = {column for column in hidden[name] & row.keys() if row[column] is not None}
            assert {(name, column) for column in shown} <= OPEN
