"""Messages: written with what caused them, sealed, and shown only when asked for."""

import uuid

import pytest
from sqlalchemy import text

CANARY = "canary@example.com"


def put(container, kind="notice", subject=None, **payload):
    """Put a message into the outbox."""
    with container.store.transaction() as tx:
        container.outbox.put(tx, kind=kind, subject=subject, payload=payload)
    container.clock.advance(seconds=1)


def waiting(container, *arguments, **named):
    """Return what waits."""
    with container.store.transaction(read=True) as tx:
        return container.outbox.waiting(tx, *arguments, **named)


def test_messages_wait_in_their_order(container):
    """The oldest comes first, and no more than asked for."""
    for number in range(5):
        put(container, f"kind-{number}")
    assert [row["kind"] for row in waiting(container)] == [f"kind-{number}" for number in range(5)]
    assert [row["kind"] for row in waiting(container, 2)] == ["kind-0", "kind-1"]


def test_a_payload_is_shown_only_when_asked_for(container):
    """Addresses and codes are not in the plain listing."""
    account = container.register(username="alice")
    put(container, subject=account.id, to=CANARY, code="12345678")
    (plain,) = waiting(container)
    shown = {"id", "at", "kind", "subject", "client", "state", "attempts", "error"}
    assert set(plain) == shown
    assert plain["subject"] == str(account.id)
    (whole,) = waiting(container, reveal=True)
    assert whole == plain | {"payload": {"to": CANARY, "code": "12345678"}}


def test_a_message_may_be_about_nobody(container):
    """A message of the service itself has no subject and is sealed all the same."""
    put(container, to=CANARY)
    (row,) = waiting(container, reveal=True)
    assert (row["subject"], row["payload"]) == (None, {"to": CANARY})


def test_a_message_commits_or_rolls_back_with_its_cause(container):
    """Nobody hears of what did not happen."""
    with pytest.raises(ZeroDivisionError), container.store.transaction() as tx:
        container.outbox.put(tx, kind="notice", subject=None, payload={"to": CANARY})
        _ = 1 / 0
    assert waiting(container) == []


def test_a_payload_is_sealed_at_rest(container):
    """The row holds ciphertext."""
    put(container, to=CANARY)
    with container.store.transaction(read=True) as tx:
        sealed = bytes(tx.execute(text("SELECT payload FROM outbox")).scalar())
    assert sealed[0] == 0xF9
    assert CANARY.encode() not in sealed


def test_a_message_of_another_kind_does_not_open(container):
    """A payload is bound to its kind: a notice cannot be made a verification code."""
    put(container, to=CANARY)
    with container.store.transaction() as tx:
        tx.execute(text("UPDATE outbox SET kind = 'identifier.verification'"))
    (row,) = waiting(container, reveal=True)
    assert row["payload"] is None


def test_a_change_tells_every_address(container):
    """A new and a revoked authenticator are told to e-mail and phone alike."""
    account = container.register(email=CANARY, phone="+4930123456")
    verifier = container.password.hash("correct horse battery staple")
    with container.store.transaction() as tx:
        container.accounts.completed_login(tx, account)
        added = container.password.enroll(tx, account.id, verifier)
    with container.store.transaction() as tx:
        container.authenticators.revoke(tx, account.id, added.id)
    told = {(row["kind"], row["payload"]["to"]) for row in waiting(container, reveal=True)}
    kinds = ("authenticator.enrolled", "authenticator.revoked")
    assert told == {(kind, to) for kind in kinds for to in (CANARY, "+4930123456")}


def test_whoever_has_no_address_is_told_nothing(container):
    """A notice to a subject without addresses, or to nobody, puts no message."""
    account = container.register(username="alice")
    with container.store.transaction() as tx:
        container.accounts.notify(tx, account.id, "notice")
        container.accounts.notify(tx, uuid.UUID(int=404), "notice")
    assert waiting(container) == []
