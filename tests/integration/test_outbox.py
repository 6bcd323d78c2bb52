"""Messages: written with what caused them, sealed, and shown only when asked for."""

import uuid

import pytest
from sqlalchemy import text

CANARY = "canary@example.com"


def put(house, kind="notice", subject=None, **payload):
    """Put a message into the outbox."""
    with house.store.transaction() as tx:
        house.outbox.put(tx, kind, subject, payload)
    house.clock.advance(seconds=1)


def waiting(house, *arguments, **named):
    """Return what waits."""
    with house.store.transaction(read=True) as tx:
        return house.outbox.waiting(tx, *arguments, **named)


def test_messages_wait_in_their_order(house):
    """The oldest comes first, and no more than asked for."""
    for number in range(5):
        put(house, f"kind-{number}")
    assert [row["kind"] for row in waiting(house)] == [f"kind-{number}" for number in range(5)]
    assert [row["kind"] for row in waiting(house, 2)] == ["kind-0", "kind-1"]


def test_a_payload_is_shown_only_when_asked_for(house):
    """Addresses and codes are not in the plain listing."""
    account = house.register(username="alice")
    put(house, subject=account.id, to=CANARY, code="12345678")
    (plain,) = waiting(house)
    shown = {"id", "at", "kind", "subject", "client", "state", "attempts", "error"}
    assert set(plain) == shown
    assert plain["subject"] == str(account.id)
    (whole,) = waiting(house, reveal=True)
    assert whole == plain | {"payload": {"to": CANARY, "code": "12345678"}}


def test_a_message_may_be_about_nobody(house):
    """A message of the service itself has no subject and is sealed all the same."""
    put(house, to=CANARY)
    (row,) = waiting(house, reveal=True)
    assert (row["subject"], row["payload"]) == (None, {"to": CANARY})


def test_a_message_commits_or_rolls_back_with_its_cause(house):
    """Nobody hears of what did not happen."""
    with pytest.raises(ZeroDivisionError), house.store.transaction() as tx:
        house.outbox.put(tx, "notice", None, {"to": CANARY})
        _ = 1 / 0
    assert waiting(house) == []


def test_a_payload_is_sealed_at_rest(house):
    """The row holds ciphertext."""
    put(house, to=CANARY)
    with house.store.transaction(read=True) as tx:
        sealed = bytes(tx.execute(text("SELECT payload FROM outbox")).scalar())
    assert sealed[0] == 0xF9
    assert CANARY.encode() not in sealed


def test_a_message_of_another_kind_does_not_open(house):
    """A payload is bound to its kind: a notice cannot be made a verification code."""
    put(house, to=CANARY)
    with house.store.transaction() as tx:
        tx.execute(text("UPDATE outbox SET kind = 'identifier.verification'"))
    (row,) = waiting(house, reveal=True)
    assert row["payload"] is None


def test_a_change_tells_every_address(house):
    """A new and a revoked authenticator are told to e-mail and phone alike."""
    account = house.register(email=CANARY, phone="+4930123456")
    verifier = house.password.hash("correct horse battery staple")
    with house.store.transaction() as tx:
        house.accounts.completed_login(tx, account)
        added = house.password.enroll(tx, account.id, verifier)
    with house.store.transaction() as tx:
        house.authenticators.revoke(tx, account.id, added.id)
    told = {(row["kind"], row["payload"]["to"]) for row in waiting(house, reveal=True)}
    kinds = ("authenticator.enrolled", "authenticator.revoked")
    assert told == {(kind, to) for kind in kinds for to in (CANARY, "+4930123456")}


def test_whoever_has_no_address_is_told_nothing(house):
    """A notice to a subject without addresses, or to nobody, puts no message."""
    account = house.register(username="alice")
    with house.store.transaction() as tx:
        house.accounts.notify(tx, account.id, "notice")
        house.accounts.notify(tx, uuid.UUID(int=404), "notice")
    assert waiting(house) == []
