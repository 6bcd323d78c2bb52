"""Subjects: registered whole or not at all, found by any spelling, told of every change."""

import uuid

import pytest
from sqlalchemy import text

from service.domain.caller import Caller
from service.domain.errors import BadInput, Conflict, Expired, Forbidden, NotFound, Throttled
from tests.integration.registering import CONSENT, EMAIL, NORMAL, PHONE, act, messages

WHOLE = {"username": "Alice", "email": EMAIL, "phone": PHONE}


TABLES = ("subject", "subject_index", "consent", "audit_leaf", "outbox", "dek")


def sizes(container):
    """Return how many rows each table has."""
    with container.store.transaction(read=True) as tx:
        return {name: tx.execute(text(f"SELECT count(*) FROM {name}")).scalar() for name in TABLES}  # noqa: S608 - names from above


def find(container, typed):
    """Return the id of the subject that signs in with an identifier, or None."""
    account = act(container, "find", typed).account
    return account.id if account else None


def sent_code(container, subject, name="email"):
    """Have a code sent, and return it."""
    before = messages(container, "identifier.verification")
    act(container, "send_code", subject, name)
    (new,) = [row for row in messages(container, "identifier.verification") if row not in before]
    return new["code"]


def wrong(code):
    """Return another code."""
    return code[:-1] + str((int(code[-1]) + 1) % 10)


def verified(container, subject, name="email"):
    """Confirm an address."""
    assert act(container, "check_code", subject, name, sent_code(container, subject, name))


def test_a_subject_is_shown_as_it_was_registered(container):
    """Addresses come back in their normal form; nothing is verified yet."""
    account = act(
        container,
        "register",
        container.caller,
        WHOLE,
        segment=None,
        profile={"name": "Alice"},
        consents=[CONSENT],
    )
    view = act(container, "view", account.id)
    assert view["id"] == str(account.id)
    assert (view["identifiers"], view["profile"]) == (NORMAL, {"name": "Alice"})
    assert (view["status"], view["segment"], view["verified"]) == ("active", "default", [])
    assert view["created_at"] == view["updated_at"] == "2026-11-24T12:00:00Z"
    assert [item["purpose"] for item in act(container, "consents.listed", account.id)] == [
        "face_login"
    ]
    found = act(container, "get", account.id)
    assert (found.usable, found.client, found.first_login_at) == (
        True,
        container.caller.client,
        None,
    )


def test_every_spelling_finds_the_subject(container):
    """A look-up goes by the normal form of each identifier."""
    account = container.register(**WHOLE)
    for typed in (
        "alice",
        "ALICE",
        "\uff21lice",
        "alice@example.com",
        " ALICE@EXAMPLE.COM ",
        "alice@\uff45xample.com",
        "+4930123456",
        "+49 (0)30 123456",
        "+49-30-123456 ",
    ):
        assert act(container, "lookup", container.caller, typed)["id"] == str(account.id), typed


def test_an_unknown_identifier_leads_nowhere(container):
    """Unknown, impossible and look-alike identifiers find nobody, without another error."""
    container.register(**WHOLE)
    for typed in ("bob", "bob@example.com", "+4930999999", "", "a@", "\u0430lice"):
        assert find(container, typed) is None, typed
        with pytest.raises(NotFound):
            act(container, "lookup", container.caller, typed)


def test_a_duplicate_is_refused_and_nothing_half_written(container):
    """Another spelling of any identifier is taken, and the refused subject leaves no row."""
    account = container.register(**WHOLE)
    verified(container, account.id, "email")
    verified(container, account.id, "phone")
    free = {"username": "bob", "email": "bob@example.com", "phone": "+4930999999"}
    before = sizes(container)
    for taken in ({"username": "ALICE"}, {"email": "alice@EXAMPLE.com"}, {"phone": "+4930123456"}):
        with pytest.raises(Conflict) as refused:
            container.register(**free | taken)
        assert refused.value.code == "identifier_taken"
        assert sizes(container) == before
    assert container.register(**free)


def test_bad_identifiers_leave_nothing(container):
    """What is no identifier of its kind is refused with its place, and no row is left."""
    before = sizes(container)
    for identifiers, pointer in (
        ({}, "/identifiers"),
        ({"username": "alice", "email": "nobody"}, "/identifiers/email"),
        ({"phone": "030123456"}, "/identifiers/phone"),
    ):
        with pytest.raises(BadInput) as refused:
            container.register(**identifiers)
        assert refused.value.faults[0].pointer == pointer
        assert sizes(container) == before


def test_a_segment_is_one_of_the_callers(container):
    """The first segment is the default; one that the caller does not serve is refused."""
    caller = Caller(client=uuid.UUID(int=8), scopes=frozenset(), segments=("bank", "shop"))
    first = act(container, "register", caller, {"username": "alice"}, segment=None)
    other = act(container, "register", caller, {"username": "bob"}, segment="shop")
    assert (first.segment, other.segment) == ("bank", "shop")
    with pytest.raises(Forbidden, match="segment_not_allowed"):
        act(container, "register", caller, {"username": "eve"}, segment="default")


def test_spellings_share_one_attempt_counter(container):
    """A known subject has one counter under every name; an unknown name has one of its own."""
    account = container.register(**WHOLE)
    verified(container, account.id, "email")
    verified(container, account.id, "phone")
    spellings = ["alice", "ALICE", "alice@example.com", EMAIL, PHONE, "+4930123456"]
    assert {act(container, "find", typed).counter for typed in spellings} == {
        f"subject:{account.id}"
    }
    unknown = {act(container, "find", typed).counter for typed in ("bob", "BOB", "\uff22ob")}
    assert len(unknown) == 1
    assert act(container, "find", "eve").counter not in unknown


def test_an_unverified_address_does_not_sign_in(container):
    """A username signs in at once, an address only after the code that was sent to it."""
    account = container.register(**WHOLE)
    assert find(container, "alice") == account.id
    assert find(container, EMAIL) is None
    assert find(container, PHONE) is None
    verified(container, account.id, "email")
    assert find(container, EMAIL) == account.id
    assert find(container, PHONE) is None
    verified(container, account.id, "phone")
    assert find(container, PHONE) == account.id
    assert act(container, "view", account.id)["verified"] == ["email", "phone"]


def test_a_code_goes_to_the_stored_address(container):
    """The code is eight digits, sent to the address of the subject."""
    account = container.register(**WHOLE)
    code = sent_code(container, account.id)
    assert len(code) == 8
    assert code.isdigit()
    assert [row["to"] for row in messages(container, "identifier.verification")] == [
        NORMAL["email"]
    ]


def test_a_code_counts_once(container):
    """The right code confirms, spaces around it allowed, and is gone afterwards."""
    account = container.register(email=EMAIL)
    code = sent_code(container, account.id)
    assert act(container, "check_code", account.id, "email", f" {code} ")
    with pytest.raises(Expired):
        act(container, "check_code", account.id, "email", code)


def test_attempts_at_a_code_are_bounded(container):
    """Five wrong codes end it; then even the right one is refused, and a new one is needed."""
    account = container.register(email=EMAIL)
    code = sent_code(container, account.id)
    for _ in range(5):
        assert act(container, "check_code", account.id, "email", wrong(code)) is False
    with pytest.raises(Expired):
        act(container, "check_code", account.id, "email", code)
    assert find(container, EMAIL) is None
    with pytest.raises(Throttled, match="verification_limited"):
        act(container, "send_code", account.id, "email")
    container.clock.advance(hours=1)
    verified(container, account.id)
    assert find(container, EMAIL) == account.id


def test_the_fifth_attempt_may_be_right(container):
    """Four wrong codes do not end it."""
    account = container.register(email=EMAIL)
    code = sent_code(container, account.id)
    for _ in range(4):
        assert not act(container, "check_code", account.id, "email", wrong(code))
    assert act(container, "check_code", account.id, "email", code)


def test_a_code_lives_ten_minutes(container):
    """Up to the last second it confirms; from then on it is expired."""
    for seconds, email in ((599, "a@example.com"), (600, "b@example.com")):
        account = container.register(email=email)
        code = sent_code(container, account.id)
        container.clock.advance(seconds=seconds)
        if seconds < 600:
            assert act(container, "check_code", account.id, "email", code)
        else:
            with pytest.raises(Expired):
                act(container, "check_code", account.id, "email", code)


def test_a_new_code_ends_the_old_one(container):
    """Only the newest code confirms."""
    account = container.register(email=EMAIL)
    old = sent_code(container, account.id)
    new = sent_code(container, account.id)
    assert old == new or not act(container, "check_code", account.id, "email", old)
    assert act(container, "check_code", account.id, "email", new)


def test_a_code_confirms_its_own_address_alone(container):
    """The code for the e-mail confirms neither the phone nor another subject's e-mail."""
    account = container.register(**WHOLE)
    other = container.register(email="bob@example.com")
    code = sent_code(container, account.id)
    for subject, name in ((account.id, "phone"), (other.id, "email")):
        with pytest.raises(Expired):
            act(container, "check_code", subject, name, code)


def test_no_code_is_sent_to_what_is_not_there(container):
    """Without an address, and without a subject, there is nothing to verify."""
    account = container.register(username="alice")
    for subject in (account.id, uuid.UUID(int=404)):
        with pytest.raises(NotFound):
            act(container, "send_code", subject, "email")
    assert messages(container, "identifier.verification") == []


def test_a_change_of_address_tells_the_old_one(container):
    """The old address hears of it, the new one is not verified and leads to the subject."""
    account = container.register(username="alice", email=EMAIL)
    verified(container, account.id)
    container.clock.advance(hours=1)
    view = act(
        container, "update", container.caller, account.id, identifiers={"email": "new@example.com"}
    )
    assert messages(container, "identifier.changed") == [{"to": NORMAL["email"], "field": "email"}]
    assert (view["identifiers"]["email"], view["verified"]) == ("new@example.com", [])
    assert view["updated_at"] == "2026-11-24T13:00:00Z"
    assert find(container, "new@example.com") is None
    assert act(container, "lookup", container.caller, "new@example.com")["id"] == str(account.id)
    with pytest.raises(NotFound):
        act(container, "lookup", container.caller, EMAIL)


def test_an_address_that_was_let_go_may_be_taken(container):
    """After the change another subject may have the old address, and not the new, verified one."""
    account = container.register(username="alice", email=EMAIL)
    act(container, "update", container.caller, account.id, identifiers={"email": "new@example.com"})
    other = container.register(email=EMAIL)
    assert act(container, "lookup", container.caller, EMAIL)["id"] == str(other.id)
    assert container.register(email="NEW@example.com")
    verified(container, account.id)
    with pytest.raises(Conflict):
        container.register(email="NEW@example.com")


def test_a_refused_change_changes_nothing(container):
    """An address of somebody else is refused, and the own one still leads to the subject."""
    verified(container, container.register(email="bob@example.com").id)
    account = container.register(username="alice", email=EMAIL)
    verified(container, account.id)
    before = sizes(container)
    with pytest.raises(Conflict):
        act(
            container,
            "update",
            container.caller,
            account.id,
            identifiers={"email": "BOB@example.com"},
        )
    assert sizes(container) == before
    assert find(container, EMAIL) == account.id


def test_the_last_identifier_stays(container):
    """One identifier may be removed while another is left, and not the last one."""
    account = container.register(username="alice", email=EMAIL)
    view = act(container, "update", container.caller, account.id, identifiers={"email": None})
    assert view["identifiers"] == {"username": "alice"}
    with pytest.raises(BadInput):
        act(container, "update", container.caller, account.id, identifiers={"username": None})
    assert find(container, "alice") == account.id
