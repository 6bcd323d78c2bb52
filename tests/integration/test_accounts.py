"""Subjects: registered whole or not at all, found by any spelling, told of every change."""

import uuid

import pytest
from sqlalchemy import text

from service.domain.caller import Caller
from service.domain.errors import BadInput, Conflict, Expired, Forbidden, NotFound, Throttled
from service.domain.ids import DECOY

EMAIL = "Alice@Example.com"
PHONE = "+49 30 123456"
CONSENT = {
    "purpose": "face_login",
    "version": "1",
    "text_hash": "sha256:00",
    "locale": "en",
    "channel": "web",
}
NORMAL = {"username": "Alice", "email": "alice@example.com", "phone": "+4930123456"}
WHOLE = {"username": "Alice", "email": EMAIL, "phone": PHONE}
TABLES = ("subject", "subject_index", "consent", "audit_leaf", "outbox", "dek")


def sizes(house):
    """Return how many rows each table has."""
    with house.store.transaction(read=True) as tx:
        return {name: tx.execute(text(f"SELECT count(*) FROM {name}")).scalar() for name in TABLES}  # noqa: S608 - names from above


def act(house, name, *arguments, **named):
    """Call an action in a unit of work of its own."""
    with house.store.transaction() as tx:
        return getattr(house.accounts, name)(tx, *arguments, **named)


def find(house, typed):
    """Return the id of the subject that signs in with an identifier, or None."""
    account = act(house, "find", typed).account
    return account.id if account else None


def messages(house, kind):
    """Return the payloads of one kind that wait in the outbox."""
    with house.store.transaction() as tx:
        waiting = house.outbox.waiting(tx, reveal=True)
    return [row["payload"] for row in waiting if row["kind"] == kind]


def sent_code(house, subject, name="email"):
    """Have a code sent, and return it."""
    before = messages(house, "identifier.verification")
    act(house, "send_code", subject, name)
    (new,) = [row for row in messages(house, "identifier.verification") if row not in before]
    return new["code"]


def wrong(code):
    """Return another code."""
    return code[:-1] + str((int(code[-1]) + 1) % 10)


def verified(house, subject, name="email"):
    """Confirm an address."""
    assert act(house, "check_code", subject, name, sent_code(house, subject, name))


def test_a_subject_is_shown_as_it_was_registered(house):
    """Addresses come back in their normal form; nothing is verified yet."""
    account = act(
        house, "register", house.caller, WHOLE, segment=None, profile={"name": "Alice"},
        consents=[CONSENT],
    )  # fmt: skip
    view = act(house, "view", account.id)
    assert view["id"] == str(account.id)
    assert (view["identifiers"], view["profile"]) == (NORMAL, {"name": "Alice"})
    assert (view["status"], view["segment"], view["verified"]) == ("active", "default", [])
    assert view["created_at"] == view["updated_at"] == "2026-11-24T12:00:00Z"
    assert [item["purpose"] for item in act(house, "consents", account.id)] == ["face_login"]
    found = act(house, "get", account.id)
    assert (found.usable, found.client, found.first_login_at) == (True, house.caller.client, None)


def test_every_spelling_finds_the_subject(house):
    """A look-up goes by the normal form of each identifier."""
    account = house.register(**WHOLE)
    for typed in (
        "alice", "ALICE", "\uff21lice", "alice@example.com", " ALICE@EXAMPLE.COM ",
        "alice@\uff45xample.com", "+4930123456", "+49 (0)30 123456", "+49-30-123456 ",
    ):  # fmt: skip
        assert act(house, "lookup", house.caller, typed)["id"] == str(account.id), typed


def test_an_unknown_identifier_leads_nowhere(house):
    """Unknown, impossible and look-alike identifiers find nobody, without another error."""
    house.register(**WHOLE)
    for typed in ("bob", "bob@example.com", "+4930999999", "", "a@", "\u0430lice"):
        assert find(house, typed) is None, typed
        with pytest.raises(NotFound):
            act(house, "lookup", house.caller, typed)


def test_a_duplicate_is_refused_and_nothing_half_written(house):
    """Another spelling of any identifier is taken, and the refused subject leaves no row."""
    account = house.register(**WHOLE)
    verified(house, account.id, "email")
    verified(house, account.id, "phone")
    free = {"username": "bob", "email": "bob@example.com", "phone": "+4930999999"}
    before = sizes(house)
    for taken in ({"username": "ALICE"}, {"email": "alice@EXAMPLE.com"}, {"phone": "+4930123456"}):
        with pytest.raises(Conflict) as refused:
            house.register(**free | taken)
        assert refused.value.code == "identifier_taken"
        assert sizes(house) == before
    assert house.register(**free)


def test_bad_identifiers_leave_nothing(house):
    """What is no identifier of its kind is refused with its place, and no row is left."""
    before = sizes(house)
    for identifiers, pointer in (
        ({}, "/identifiers"),
        ({"username": "alice", "email": "nobody"}, "/identifiers/email"),
        ({"phone": "030123456"}, "/identifiers/phone"),
    ):
        with pytest.raises(BadInput) as refused:
            house.register(**identifiers)
        assert refused.value.faults[0].pointer == pointer
        assert sizes(house) == before


def test_a_segment_is_one_of_the_callers(house):
    """The first segment is the default; one that the caller does not serve is refused."""
    caller = Caller(uuid.UUID(int=8), frozenset(), segments=("bank", "shop"))
    first = act(house, "register", caller, {"username": "alice"}, segment=None)
    other = act(house, "register", caller, {"username": "bob"}, segment="shop")
    assert (first.segment, other.segment) == ("bank", "shop")
    with pytest.raises(Forbidden, match="segment_not_allowed"):
        act(house, "register", caller, {"username": "eve"}, segment="default")


def test_spellings_share_one_attempt_counter(house):
    """A known subject has one counter under every name; an unknown name has one of its own."""
    account = house.register(**WHOLE)
    verified(house, account.id, "email")
    verified(house, account.id, "phone")
    spellings = ["alice", "ALICE", "alice@example.com", EMAIL, PHONE, "+4930123456"]
    assert {act(house, "find", typed).counter for typed in spellings} == {f"subject:{account.id}"}
    unknown = {act(house, "find", typed).counter for typed in ("bob", "BOB", "\uff22ob")}
    assert len(unknown) == 1
    assert act(house, "find", "eve").counter not in unknown


def test_an_unverified_address_does_not_sign_in(house):
    """A username signs in at once, an address only after the code that was sent to it."""
    account = house.register(**WHOLE)
    assert find(house, "alice") == account.id
    assert find(house, EMAIL) is None
    assert find(house, PHONE) is None
    verified(house, account.id, "email")
    assert find(house, EMAIL) == account.id
    assert find(house, PHONE) is None
    verified(house, account.id, "phone")
    assert find(house, PHONE) == account.id
    assert act(house, "view", account.id)["verified"] == ["email", "phone"]


def test_a_code_goes_to_the_stored_address(house):
    """The code is eight digits, sent to the address of the subject."""
    account = house.register(**WHOLE)
    code = sent_code(house, account.id)
    assert len(code) == 8
    assert code.isdigit()
    assert [row["to"] for row in messages(house, "identifier.verification")] == [NORMAL["email"]]


def test_a_code_counts_once(house):
    """The right code confirms, spaces around it allowed, and is gone afterwards."""
    account = house.register(email=EMAIL)
    code = sent_code(house, account.id)
    assert act(house, "check_code", account.id, "email", f" {code} ")
    with pytest.raises(Expired):
        act(house, "check_code", account.id, "email", code)


def test_attempts_at_a_code_are_bounded(house):
    """Five wrong codes end it; then even the right one is refused, and a new one is needed."""
    account = house.register(email=EMAIL)
    code = sent_code(house, account.id)
    for _ in range(5):
        assert act(house, "check_code", account.id, "email", wrong(code)) is False
    with pytest.raises(Expired):
        act(house, "check_code", account.id, "email", code)
    assert find(house, EMAIL) is None
    with pytest.raises(Throttled, match="verification_limited"):
        act(house, "send_code", account.id, "email")
    house.clock.advance(hours=1)
    verified(house, account.id)
    assert find(house, EMAIL) == account.id


def test_the_fifth_attempt_may_be_right(house):
    """Four wrong codes do not end it."""
    account = house.register(email=EMAIL)
    code = sent_code(house, account.id)
    for _ in range(4):
        assert not act(house, "check_code", account.id, "email", wrong(code))
    assert act(house, "check_code", account.id, "email", code)


def test_a_code_lives_ten_minutes(house):
    """Up to the last second it confirms; from then on it is expired."""
    for seconds, email in ((599, "a@example.com"), (600, "b@example.com")):
        account = house.register(email=email)
        code = sent_code(house, account.id)
        house.clock.advance(seconds=seconds)
        if seconds < 600:
            assert act(house, "check_code", account.id, "email", code)
        else:
            with pytest.raises(Expired):
                act(house, "check_code", account.id, "email", code)


def test_a_new_code_ends_the_old_one(house):
    """Only the newest code confirms."""
    account = house.register(email=EMAIL)
    old = sent_code(house, account.id)
    new = sent_code(house, account.id)
    assert old == new or not act(house, "check_code", account.id, "email", old)
    assert act(house, "check_code", account.id, "email", new)


def test_a_code_confirms_its_own_address_alone(house):
    """The code for the e-mail confirms neither the phone nor another subject's e-mail."""
    account = house.register(**WHOLE)
    other = house.register(email="bob@example.com")
    code = sent_code(house, account.id)
    for subject, name in ((account.id, "phone"), (other.id, "email")):
        with pytest.raises(Expired):
            act(house, "check_code", subject, name, code)


def test_no_code_is_sent_to_what_is_not_there(house):
    """Without an address, and without a subject, there is nothing to verify."""
    account = house.register(username="alice")
    for subject in (account.id, uuid.UUID(int=404)):
        with pytest.raises(NotFound):
            act(house, "send_code", subject, "email")
    assert messages(house, "identifier.verification") == []


def test_a_change_of_address_tells_the_old_one(house):
    """The old address hears of it, the new one is not verified and leads to the subject."""
    account = house.register(username="alice", email=EMAIL)
    verified(house, account.id)
    house.clock.advance(hours=1)
    view = act(house, "update", house.caller, account.id, identifiers={"email": "new@example.com"})
    assert messages(house, "identifier.changed") == [{"to": NORMAL["email"], "field": "email"}]
    assert (view["identifiers"]["email"], view["verified"]) == ("new@example.com", [])
    assert view["updated_at"] == "2026-11-24T13:00:00Z"
    assert find(house, "new@example.com") is None
    assert act(house, "lookup", house.caller, "new@example.com")["id"] == str(account.id)
    with pytest.raises(NotFound):
        act(house, "lookup", house.caller, EMAIL)


def test_an_address_that_was_let_go_may_be_taken(house):
    """After the change another subject may have the old address, and not the new, verified one."""
    account = house.register(username="alice", email=EMAIL)
    act(house, "update", house.caller, account.id, identifiers={"email": "new@example.com"})
    other = house.register(email=EMAIL)
    assert act(house, "lookup", house.caller, EMAIL)["id"] == str(other.id)
    assert house.register(email="NEW@example.com")
    verified(house, account.id)
    with pytest.raises(Conflict):
        house.register(email="NEW@example.com")


def test_a_refused_change_changes_nothing(house):
    """An address of somebody else is refused, and the own one still leads to the subject."""
    verified(house, house.register(email="bob@example.com").id)
    account = house.register(username="alice", email=EMAIL)
    verified(house, account.id)
    before = sizes(house)
    with pytest.raises(Conflict):
        act(house, "update", house.caller, account.id, identifiers={"email": "BOB@example.com"})
    assert sizes(house) == before
    assert find(house, EMAIL) == account.id


def test_the_last_identifier_stays(house):
    """One identifier may be removed while another is left, and not the last one."""
    account = house.register(username="alice", email=EMAIL)
    view = act(house, "update", house.caller, account.id, identifiers={"email": None})
    assert view["identifiers"] == {"username": "alice"}
    with pytest.raises(BadInput):
        act(house, "update", house.caller, account.id, identifiers={"username": None})
    assert find(house, "alice") == account.id


def test_a_profile_is_replaced_whole(house):
    """A new profile takes the place of the old one and touches no identifier."""
    account = act(
        house, "register", house.caller, {"username": "alice"}, segment=None,
        profile={"name": "Alice", "locale": "en"},
    )  # fmt: skip
    view = act(house, "update", house.caller, account.id, profile={"name": "A."})
    assert (view["profile"], view["identifiers"]) == ({"name": "A."}, {"username": "alice"})


def test_a_consent_is_given_superseded_and_withdrawn(house):
    """One consent per purpose is in force; earlier ones stay on record with their end."""
    account = house.register(username="alice")
    assert not act(house, "consented", account.id, "face_login")
    given = act(house, "give_consent", account.id, CONSENT)
    assert given == CONSENT | {"given_at": "2026-11-24T12:00:00Z", "withdrawn_at": None}
    house.clock.advance(hours=1)
    act(house, "give_consent", account.id, CONSENT | {"version": "2"})
    assert act(house, "consented", account.id, "face_login")
    assert not act(house, "consented", account.id, "behavior")
    house.clock.advance(hours=1)
    act(house, "withdraw_consent", account.id, "face_login")
    assert not act(house, "consented", account.id, "face_login")
    ended = {item["version"]: item["withdrawn_at"] for item in act(house, "consents", account.id)}
    assert ended == {"1": "2026-11-24T13:00:00Z", "2": "2026-11-24T14:00:00Z"}
    with pytest.raises(NotFound, match="consent_not_found"):
        act(house, "withdraw_consent", account.id, "face_login")


def test_purposes_and_subjects_are_apart(house):
    """A consent to one purpose of one subject says nothing of another."""
    alice, bob = house.register(username="alice"), house.register(username="bob")
    act(house, "give_consent", alice.id, CONSENT)
    act(house, "give_consent", alice.id, CONSENT | {"purpose": "behavior"})
    act(house, "withdraw_consent", alice.id, "behavior")
    assert act(house, "consented", alice.id, "face_login")
    assert not act(house, "consented", bob.id, "face_login")


def test_a_suspension_holds_until_it_is_lifted(house):
    """A suspended login is told to the subject, cannot be suspended twice, and ends once."""
    account = house.register(email=EMAIL)
    assert act(house, "get", account.id).may_sign_in
    assert act(house, "suspend", account.id, "login", "fraud", "operator")
    assert not act(house, "suspend", account.id, "login", "fraud", "operator")
    assert not act(house, "get", account.id).may_sign_in
    assert messages(house, "subject.suspended") == [{"to": NORMAL["email"]}]
    assert act(house, "suspensions", account.id) == [
        {"capability": "login", "reason": "fraud", "since": "2026-11-24T12:00:00Z"}
    ]
    act(house, "lift", account.id, "login", "operator")
    assert act(house, "get", account.id).may_sign_in
    with pytest.raises(NotFound):
        act(house, "lift", account.id, "login", "operator")


def test_a_suspended_payment_does_not_stop_the_login(house):
    """Each capability is suspended by itself."""
    account = house.register(username="alice")
    act(house, "suspend", account.id, "payment", "fraud", "operator")
    assert act(house, "get", account.id).may_sign_in


def test_the_first_login_is_noted_once(house):
    """A later login does not move the time of the first."""
    account = house.register(username="alice")
    act(house, "completed_login", account)
    first = act(house, "get", account.id).first_login_at
    house.clock.advance(days=1)
    act(house, "completed_login", account)
    assert (
        act(house, "get", account.id).first_login_at == first == house.clock.now().replace(day=24)
    )


def test_the_decoy_is_nobody(house):
    """The decoy is made once and can be neither seen nor changed."""
    assert act(house, "ensure_decoy", house.caller.client, uuid.UUID(int=99))
    assert not act(house, "ensure_decoy", house.caller.client, uuid.UUID(int=99))
    for name, arguments in (
        ("get", ()), ("view", ()), ("consents", ()), ("send_code", ("email",)),
        ("suspensions", ()), ("give_consent", (CONSENT,)),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            act(house, name, DECOY, *arguments)
    with pytest.raises(NotFound):
        act(house, "update", house.caller, DECOY, profile={})
    assert not act(house, "known", DECOY).usable
    assert act(house, "known", uuid.UUID(int=404)) is None


def test_the_label_is_what_a_person_knows(house):
    """An authenticator app shows the username, else an address."""
    assert act(house, "label", house.register(username="Alice", email=EMAIL).id) == "Alice"
    assert act(house, "label", house.register(phone=PHONE).id) == NORMAL["phone"]
