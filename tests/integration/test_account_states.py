"""Profiles, consents, suspensions and the first login."""

import uuid

import pytest

from service.domain.errors import NotFound
from service.domain.ids import DECOY
from tests.integration.registering import CONSENT, EMAIL, NORMAL, PHONE, act, messages


def suspend(container, subject, capability):
    with container.store.transaction() as tx:
        return container.suspensions.suspend(
            tx, subject, capability=capability, reason="fraud", actor="operator"
        )


def lift(container, subject, capability):
    with container.store.transaction() as tx:
        container.suspensions.lift(tx, subject, capability, "operator")


def newest(container, subject):
    with container.store.transaction() as tx:
        return container.suspensions.newest(tx, subject)


def test_a_profile_is_replaced_whole(container):
    """A new profile takes the place of the old one and touches no identifier."""
    account = act(
        container,
        "register",
        container.caller,
        {"username": "alice"},
        segment=None,
        profile={"name": "Alice", "locale": "en"},
    )
    view = act(container, "update", container.caller, account.id, profile={"name": "A."})
    assert (view["profile"], view["identifiers"]) == ({"name": "A."}, {"username": "alice"})


def test_a_consent_is_given_superseded_and_withdrawn(container):
    """One consent per purpose is in force; earlier ones stay on record with their end."""
    account = container.register(username="alice")
    assert not act(container, "consents.active", account.id, "face_login")
    given = act(container, "consents.give", account.id, CONSENT)
    assert given == CONSENT | {"given_at": "2026-11-24T12:00:00Z", "withdrawn_at": None}
    container.clock.advance(hours=1)
    act(container, "consents.give", account.id, CONSENT | {"version": "2"})
    assert act(container, "consents.active", account.id, "face_login")
    assert not act(container, "consents.active", account.id, "behavior")
    container.clock.advance(hours=1)
    act(container, "consents.withdraw", account.id, "face_login")
    assert not act(container, "consents.active", account.id, "face_login")
    ended = {
        item["version"]: item["withdrawn_at"]
        for item in act(container, "consents.listed", account.id)
    }
    assert ended == {"1": "2026-11-24T13:00:00Z", "2": "2026-11-24T14:00:00Z"}
    with pytest.raises(NotFound, match="consent_not_found"):
        act(container, "consents.withdraw", account.id, "face_login")


def test_purposes_and_subjects_are_apart(container):
    """A consent to one purpose of one subject says nothing of another."""
    alice, bob = container.register(username="alice"), container.register(username="bob")
    act(container, "consents.give", alice.id, CONSENT)
    act(container, "consents.give", alice.id, CONSENT | {"purpose": "behavior"})
    act(container, "consents.withdraw", alice.id, "behavior")
    assert act(container, "consents.active", alice.id, "face_login")
    assert not act(container, "consents.active", bob.id, "face_login")


def test_a_suspension_holds_until_it_is_lifted(container):
    """A suspended login is told to the subject, cannot be suspended twice, and ends once."""
    account = container.register(email=EMAIL)
    assert act(container, "get", account.id).may_sign_in
    assert suspend(container, account.id, "login")
    assert not suspend(container, account.id, "login")
    assert not act(container, "get", account.id).may_sign_in
    assert messages(container, "subject.suspended") == [{"to": NORMAL["email"]}]
    assert newest(container, account.id) == {
        "capability": "login",
        "reason": "fraud",
        "since": "2026-11-24T12:00:00Z",
    }
    lift(container, account.id, "login")
    assert act(container, "get", account.id).may_sign_in
    with pytest.raises(NotFound):
        lift(container, account.id, "login")


def test_a_suspended_payment_does_not_stop_the_login(container):
    """Each capability is suspended by itself."""
    account = container.register(username="alice")
    suspend(container, account.id, "payment")
    assert act(container, "get", account.id).may_sign_in


def test_the_first_login_is_noted_once(container):
    """A later login does not move the time of the first."""
    account = container.register(username="alice")
    act(container, "completed_login", account)
    first = act(container, "get", account.id).first_login_at
    container.clock.advance(days=1)
    act(container, "completed_login", account)
    assert (
        act(container, "get", account.id).first_login_at
        == first
        == container.clock.now().replace(day=24)
    )


def test_the_decoy_is_nobody(container):
    """The decoy is made once and can be neither seen nor changed."""
    assert act(container, "ensure_decoy", container.caller.client, uuid.UUID(int=99))
    assert not act(container, "ensure_decoy", container.caller.client, uuid.UUID(int=99))
    for name, arguments in (
        ("get", ()),
        ("view", ()),
        ("consents.listed", ()),
        ("send_code", ("email",)),
        ("consents.give", (CONSENT,)),
    ):
        with pytest.raises(NotFound):
            act(container, name, DECOY, *arguments)
    with pytest.raises(NotFound):
        act(container, "update", container.caller, DECOY, profile={})
    with pytest.raises(NotFound):
        suspend(container, DECOY, "login")
    with pytest.raises(NotFound):
        lift(container, DECOY, "login")
    assert not act(container, "known", DECOY).usable
    assert act(container, "known", uuid.UUID(int=404)) is None


def test_the_label_is_what_a_person_knows(container):
    """An authenticator app shows the username, else an address."""
    assert act(container, "label", container.register(username="Alice", email=EMAIL).id) == "Alice"
    assert act(container, "label", container.register(phone=PHONE).id) == NORMAL["phone"]
