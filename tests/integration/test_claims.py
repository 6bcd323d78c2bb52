"""An address is whose who verifies it: claims bind nobody, codes prove what they were sent to."""

import uuid
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import delete, select, text, update

from service.accounts.actions import codes
from service.accounts.model import IdentifierType
from service.accounts.store import SubjectIndex, claims
from service.domain.caller import Caller
from service.domain.errors import BadInput, Conflict, Expired, NotFound, Throttled

MINE = "mine@example.com"
THEIRS = "theirs@example.com"
PHONES = ("+4930901820", "+4930901821")
BANK = Caller(uuid.UUID(int=6), frozenset(), segments=("bank",))
SISTER = Caller(uuid.UUID(int=7), frozenset())


def act(container, name, *arguments, **named):
    """Call an action in a unit of work of its own."""
    with container.store.transaction() as tx:
        return getattr(container.accounts, name)(tx, *arguments, **named)


def find(container, typed):
    """Return the id of the subject that signs in with an identifier, or None."""
    account = act(container, "find", typed).account
    return account.id if account else None


def change(container, subject, **identifiers):
    """Change identifiers as the registering client."""
    return act(container, "update", container.caller, subject, identifiers=identifiers)


def waiting(container, kind):
    """Return subject and payload of what waits in the outbox, of one kind."""
    with container.store.transaction() as tx:
        rows = container.outbox.waiting(tx, limit=500, reveal=True)
    return [(row["subject"], row["payload"]) for row in rows if row["kind"] == kind]


def sent(container, subject, name="email"):
    """Have a code sent; return it, or None where none was."""
    before = waiting(container, "identifier.verification")
    act(container, "send_code", subject, name)
    new = [row for row in waiting(container, "identifier.verification") if row not in before]
    return new[0][1]["code"] if new else None


def prove(container, subject, name="email"):
    """Verify an address."""
    assert act(container, "check_code", subject, name, sent(container, subject, name))


def other(code):
    """Return another code."""
    return code[:-1] + str((int(code[-1]) + 1) % 10)


def audited(container, kind):
    """Return how often something stands in the audit log."""
    query = text("SELECT count(*) FROM audit_leaf WHERE kind = :kind")
    with container.store.transaction(read=True) as tx:
        return tx.execute(query, {"kind": kind}).scalar()


@pytest.mark.parametrize(("name", "mine", "theirs"), [("email", MINE, THEIRS), ("phone", *PHONES)])
@pytest.mark.parametrize("by_null", [False, True])
def test_a_code_dies_with_the_address_it_was_sent_to(container, name, mine, theirs, by_null):
    """Sent to mine, changed to theirs (also by way of null): refused, and theirs leads nowhere."""
    account = container.register(username="alice", **{name: mine})
    code = sent(container, account.id, name)
    if by_null:
        change(container, account.id, **{name: None})
    change(container, account.id, **{name: theirs})
    with pytest.raises(Expired):
        act(container, "check_code", account.id, name, code)
    assert find(container, theirs) is None
    assert act(container, "view", account.id)["verified"] == []


def test_a_code_dies_when_the_address_goes_and_comes_back(container):
    """There, away and back: what was sent before proves nothing any more."""
    account = container.register(username="alice", email=MINE)
    code = sent(container, account.id)
    change(container, account.id, email=THEIRS)
    change(container, account.id, email=MINE)
    with pytest.raises(Expired):
        act(container, "check_code", account.id, "email", code)


def test_a_code_that_is_moved_to_another_address_proves_nothing(container):
    """The address stands sealed in the code: a change behind the back of the service ends it."""
    account = container.register(username="alice", email=MINE)
    code = sent(container, account.id)
    with container.store.transaction() as tx:
        container.accounts._row(tx, account.id).email = THEIRS
    assert act(container, "check_code", account.id, "email", code) is False
    assert find(container, THEIRS) is None


@pytest.mark.parametrize(
    ("name", "value", "again"),
    [
        ("email", MINE, " MINE@Example.com.\r\n"),
        ("email", "a@fa\u00df.example", "A@xn--fa-hia.example"),
        ("phone", PHONES[0], "(+49) 30 901820"),
    ],
)
def test_a_change_that_changes_nothing_does_nothing(container, name, value, again):
    """The same in other case or spacing: still verified, code alive, nobody told, no entry."""
    account = container.register(username="alice", **{name: value})
    code = sent(container, account.id, name)
    view = change(container, account.id, **{name: again}, username=" ALICE ")
    assert view["verified"] == []
    assert act(container, "check_code", account.id, name, code)
    before = act(container, "view", account.id)
    container.clock.advance(hours=1)
    assert change(container, account.id, **{name: again}) == before
    assert before["verified"] == [name]
    assert find(container, value) == account.id
    assert waiting(container, "identifier.changed") == []
    assert audited(container, "subject.changed") == 0


def test_the_same_profile_again_is_no_change(container):
    """Neither the time nor the log moves."""
    account = container.register(username="alice")
    act(container, "update", container.caller, account.id, profile={"name": "A."})
    before = act(container, "view", account.id)
    container.clock.advance(hours=1)
    assert act(container, "update", container.caller, account.id, profile={"name": "A."}) == before
    assert audited(container, "subject.changed") == 1


def test_an_unverified_claim_binds_nobody(container):
    """Somebody registered my address: I register it too, verify it, and theirs lapses."""
    squatter = container.register(username="squatter", email=MINE, phone=PHONES[1])
    prove(container, squatter.id, "phone")
    stale = sent(container, squatter.id)
    container.clock.advance(minutes=5)
    account = container.register(email=MINE)
    prove(container, account.id)
    assert find(container, MINE) == account.id
    view = act(container, "view", squatter.id)
    assert view["identifiers"] == {"username": "squatter", "phone": PHONES[1]}
    assert waiting(container, "identifier.lapsed") == [
        (str(squatter.id), {"to": PHONES[1], "field": "email"})
    ]
    assert audited(container, "identifier.lapsed") == 1
    with pytest.raises(Expired):
        act(container, "check_code", squatter.id, "email", stale)
    with pytest.raises(NotFound):
        act(container, "send_code", squatter.id, "email")


def test_a_lapsed_claim_is_told_without_an_address_where_there_is_none(container):
    """Never to the address that belongs to somebody else now; the event names the subject."""
    squatter, account = container.register(email=MINE), container.register(email=MINE)
    prove(container, account.id)
    assert waiting(container, "identifier.lapsed") == [(str(squatter.id), {"field": "email"})]
    assert act(container, "view", squatter.id)["identifiers"] == {}
    assert change(container, squatter.id, email=THEIRS)["identifiers"] == {"email": THEIRS}


def test_a_claim_that_moved_on_does_not_lapse(container):
    """Who has another address by then keeps it, verified."""
    squatter, account = container.register(email=MINE), container.register(email=MINE)
    change(container, squatter.id, email=THEIRS)
    prove(container, squatter.id)
    prove(container, account.id)
    assert find(container, THEIRS) == squatter.id
    assert waiting(container, "identifier.lapsed") == []


def test_the_owner_is_told_where_a_stranger_asks_for_a_code(container):
    """No code goes out, the stranger's client hears the same, and no guess is ever right."""
    owner = container.register(email=MINE)
    prove(container, owner.id)
    container.clock.advance(minutes=5)
    stranger = act(container, "register", BANK, {"email": MINE}, segment=None)
    assert sent(container, stranger.id) is None
    assert waiting(container, "identifier.claimed") == [
        (str(owner.id), {"to": MINE, "field": "email"})
    ]
    with container.store.transaction() as tx:
        code = claims.verification(tx, stranger.id, "email").code.decode().split("|")[0]
    assert act(container, "check_code", stranger.id, "email", other(code)) is False
    assert act(container, "check_code", stranger.id, "email", code) is False
    assert find(container, MINE) == owner.id
    assert act(container, "view", stranger.id)["verified"] == []


def test_a_verified_address_is_told_taken_only_where_its_owner_is_served(container):
    """To a client of another segment it looks free, at registration and at a change."""
    owner = container.register(email=MINE)
    prove(container, owner.id)
    for caller in (container.caller, SISTER):
        with pytest.raises(Conflict, match="identifier_taken"):
            act(container, "register", caller, {"email": MINE}, segment=None)
    stranger = act(container, "register", BANK, {"username": "bob"}, segment=None)
    view = act(container, "update", BANK, stranger.id, identifiers={"email": MINE})
    assert (view["identifiers"]["email"], view["verified"]) == (MINE, [])
    assert act(container, "lookup", BANK, MINE)["id"] == str(stranger.id)
    assert act(container, "lookup", container.caller, MINE)["id"] == str(owner.id)


def test_a_username_is_one_persons_everywhere(container):
    """It cannot be verified, so that the first has it; no client is told more than that."""
    container.register(username="alice")
    with pytest.raises(Conflict, match="identifier_taken"):
        act(container, "register", BANK, {"username": " Alice "}, segment=None)


def test_an_owner_who_lets_go_makes_way(container):
    """After a change the next one who claims the address may verify it."""
    owner, heir = container.register(username="a", email=MINE), None
    prove(container, owner.id)
    heir = act(container, "register", BANK, {"email": MINE}, segment=None)
    change(container, owner.id, email=None)
    assert find(container, MINE) is None
    container.clock.advance(minutes=5)
    prove(container, heir.id)
    assert find(container, MINE) == heir.id


def test_a_lookup_takes_no_guess(container):
    """Verified, else the only claim, else the only one of this client; otherwise nobody."""
    first = container.register(email=MINE)
    assert act(container, "lookup", SISTER, MINE)["id"] == str(first.id)
    second = act(container, "register", SISTER, {"email": MINE}, segment=None)
    assert act(container, "lookup", SISTER, MINE)["id"] == str(second.id)
    assert act(container, "lookup", container.caller, MINE)["id"] == str(first.id)
    third = container.register(email=MINE)
    with pytest.raises(NotFound):
        act(container, "lookup", container.caller, MINE)
    assert act(container, "lookup", SISTER, MINE)["id"] == str(second.id)
    prove(container, third.id)
    assert act(container, "lookup", SISTER, MINE)["id"] == str(third.id)


def test_new_codes_give_no_fresh_guesses(container):
    """Five guesses an hour at one address of one subject, however many codes were sent."""
    account = container.register(email=MINE)
    code = sent(container, account.id)
    for _ in range(3):
        assert not act(container, "check_code", account.id, "email", other(code))
    code = sent(container, account.id)
    for _ in range(2):
        assert not act(container, "check_code", account.id, "email", other(code))
    with pytest.raises(Expired):
        act(container, "check_code", account.id, "email", code)
    container.clock.advance(minutes=59)
    with pytest.raises(Throttled) as limited:
        act(container, "send_code", account.id, "email")
    assert (limited.value.code, limited.value.retry_after) == ("verification_limited", 60)
    change(container, account.id, email=THEIRS)
    change(container, account.id, email=MINE)
    with pytest.raises(Throttled):
        act(container, "send_code", account.id, "email")
    container.clock.advance(minutes=1)
    prove(container, account.id)


def test_what_is_no_code_costs_no_attempt(container):
    """Ten of them leave all five guesses."""
    account = container.register(email=MINE)
    code = sent(container, account.id)
    for typed in ("", " ", "wrong", code[:-1], code + "0", "x" * 65, "1234567x") * 2:
        with pytest.raises(BadInput) as refused:
            act(container, "check_code", account.id, "email", typed)
        assert refused.value.faults[0].pointer == "/code"
    for _ in range(4):
        assert not act(container, "check_code", account.id, "email", other(code))
    assert act(
        container, "check_code", account.id, "email", f"\u200b{code[:4]}\u2011{code[4:]}\r\n"
    )


def test_twenty_mails_in_a_row_do_not_go_to_one_address(container):
    """Whoever asks: two at once, five in an hour, twenty until a day is quiet."""
    subjects = [container.register(email=MINE).id for _ in range(10)]
    count, seconds, at = 0, 0, []
    for number in range(3 * 24 * 60):
        with suppress(Throttled):
            act(container, "send_code", subjects[number % 10], "email")
            at.append(seconds)
            count += 1
        if count == 20:
            break
        container.clock.advance(minutes=1)
        seconds += 60
    assert at[:5] == [0, 60, 120, 240, 840]
    for index, moment in enumerate(at):
        assert sum(moment - 3600 < earlier <= moment for earlier in at[: index + 1]) <= 5
    container.clock.advance(hours=23, minutes=59)
    with pytest.raises(Throttled) as limited:
        act(container, "send_code", subjects[0], "email")
    assert limited.value.retry_after == 60
    container.clock.advance(minutes=1)
    act(container, "send_code", subjects[0], "email")


def test_segments_share_a_bound_on_mail_and_hear_nothing_of_each_other(container):
    """Each segment sends as if it were alone; together no more than five mails an hour go out."""
    segments = [f"s{number}" for number in range(10)]
    for segment in segments:
        caller = Caller(uuid.UUID(int=9), frozenset(), segments=(segment,))
        person = act(container, "register", caller, {"email": MINE}, segment=None)
        act(container, "send_code", person.id, "email", caller=caller)
    assert len(waiting(container, "identifier.verification")) == 5


def test_a_client_has_a_bound_of_its_own(container, monkeypatch):
    """Whomever it sends to; another client goes on."""
    monkeypatch.setattr(codes, "OF_CLIENT", replace(codes.OF_CLIENT, most=3))
    people = [container.register(email=f"a{number}@example.com").id for number in range(5)]
    for person in people[:3]:
        act(container, "send_code", person, "email", caller=container.caller)
    container.clock.advance(minutes=20)
    with pytest.raises(Throttled) as limited:
        act(container, "send_code", people[3], "email", caller=container.caller)
    assert limited.value.retry_after == 40 * 60
    act(container, "send_code", people[3], "email", caller=SISTER)
    container.clock.advance(minutes=40)
    act(container, "send_code", people[4], "email", caller=container.caller)


def test_one_subject_does_not_mail_the_world(container):
    """Ten addresses, one after the other, are too many for one hour."""
    account, went = container.register(username="alice"), 0
    for number in range(120):
        change(container, account.id, email=f"victim{number}@example.com")
        with suppress(Throttled):
            act(container, "send_code", account.id, "email")
            went += 1
        container.clock.advance(seconds=30)
    assert went == 9


def test_a_refused_send_leaves_the_earlier_code(container):
    """The person may still type what was sent before."""
    account = container.register(email=MINE)
    sent(container, account.id)
    code = sent(container, account.id)
    with pytest.raises(Throttled):
        act(container, "send_code", account.id, "email")
    assert act(container, "check_code", account.id, "email", code)


def test_a_change_back_and_forth_floods_no_stranger(container):
    """Notices to an address that nobody verified are bounded; to a verified one all go."""
    account = container.register(username="alice", email=MINE)
    for _ in range(30):
        change(container, account.id, email=THEIRS)
        change(container, account.id, email=MINE)
    told = [payload["to"] for _, payload in waiting(container, "identifier.changed")]
    assert told.count(THEIRS) == told.count(MINE) == 9


def test_notices_go_to_verified_addresses_where_there_are_any(container):
    """An address that may be a stranger's hears nothing once another is proven."""
    account = container.register(email=MINE, phone=PHONES[0])
    act(container, "notify", account.id, "notice")
    prove(container, account.id, "phone")
    act(container, "notify", account.id, "notice")
    told = [payload["to"] for _, payload in waiting(container, "notice")]
    assert sorted(told) == [PHONES[0], PHONES[0], MINE]


def test_what_has_ended_is_dropped(container):
    """Codes after ten minutes, counts after their last day; no row stays."""
    account = container.register(email=MINE)
    code = sent(container, account.id)
    act(container, "check_code", account.id, "email", other(code))

    def left():
        with container.store.transaction() as tx:
            container.accounts.drop_ended(tx, container.clock.now())
            return [
                tx.execute(text("SELECT count(*) FROM verification_code")).scalar(),
                tx.execute(text("SELECT count(*) FROM limit_count")).scalar(),
            ]

    assert left() == [1, 4]
    container.clock.advance(hours=1)
    assert left() == [0, 3]
    container.clock.advance(hours=23)
    assert left() == [0, 0]


def test_a_count_shows_no_address(container):
    """Its name is a keyed digest."""
    account = container.register(email=MINE)
    sent(container, account.id)
    with container.store.transaction(read=True) as tx:
        names = list(tx.execute(text("SELECT bucket FROM limit_count")).scalars())
    assert all(len(name) == 64 and int(name, 16) for name in names)


def as_before(container, subject, **identifiers):
    """Write a subject's identifiers as they stood before: raw text, digest of the older form."""
    with container.store.transaction() as tx:
        row = container.accounts._row(tx, subject)
        for field, (raw, normal) in identifiers.items():
            setattr(row, field, raw)
            ((_, digest),) = container.accounts._claims.digests(tx, IdentifierType(field), normal)
            mine = select(SubjectIndex).where(
                SubjectIndex.subject_id == subject, SubjectIndex.field == field
            )
            for claim in tx.scalars(mine):
                claim.digest, claim.form = digest, 1


def renew(container):
    """Run the task until nothing is left; return how many it met."""
    met = 0
    while found := act(container, "renew", container.clock.now()):
        met += found
    return met


def test_what_an_older_form_had_made_one_is_two_again(container):
    """The owner of the sharp s signs in by it, and the one of ss may have what is theirs."""
    owner = container.register(username="a", email="max@stra\u00dfe.example")
    prove(container, owner.id)
    as_before(container, owner.id, email=("Max@stra\u00dfe.example", "max@strasse.example"))
    assert find(container, "max@stra\u00dfe.example") is None
    assert renew(container) == 1
    assert find(container, "max@stra\u00dfe.example") == owner.id
    assert find(container, "max@strasse.example") is None
    view = act(container, "view", owner.id)
    assert view["identifiers"]["email"] == "max@xn--strae-oqa.example"
    assert view["verified"] == ["email"]
    other = container.register(email="max@strasse.example")
    prove(container, other.id)
    assert find(container, "max@strasse.example") == other.id


def test_what_is_made_anew_is_not_proven_by_a_row_that_sql_wrote(container):
    """Who writes a time of proof into the index, and an older form, gets no proof of it."""
    account = container.register(username="a", email=MINE)
    with container.store.transaction() as tx:
        claimed = update(SubjectIndex).where(SubjectIndex.field == "email")
        tx.execute(claimed.values(form=1, verified_at=container.clock.now()))
    assert act(container, "view", account.id)["verified"] == []
    assert renew(container) == 1
    assert act(container, "view", account.id)["verified"] == []
    assert find(container, MINE) is None


def test_of_two_that_are_one_by_now_the_second_is_to_be_proven_anew(container):
    """An address with and without the dot at its end had been two accounts."""
    first = container.register(username="a", email=MINE)
    second = container.register(username="b", email=THEIRS)
    for account in (first, second):
        prove(container, account.id)
    as_before(container, second.id, email=(f"{MINE}.", f"{MINE}."))
    assert renew(container) == 1
    assert find(container, MINE) == first.id
    assert act(container, "view", second.id)["verified"] == []


def test_what_can_be_typed_no_more_leads_nowhere(container):
    """It is shown as it was, and may be replaced."""
    account = container.register(username="a", email=MINE, phone=PHONES[0])
    as_before(
        container,
        account.id,
        email=("a,b@example.com", "a,b@example.com"),
        phone=(" (+49) 30 901820 ", PHONES[0]),
    )
    assert renew(container) == 2
    view = act(container, "view", account.id)
    assert view["identifiers"] == {"username": "a", "email": "a,b@example.com", "phone": PHONES[0]}
    assert change(container, account.id, email=THEIRS)["identifiers"]["email"] == THEIRS
    assert renew(container) == 0


def unproven(container, typed, *segments):
    """Return whom an identifier leads to where unverified e-mails of some segments do, or None."""
    account = act(container, "find", typed, segments or ("default",)).account
    return account.id if account else None


def test_the_only_claim_to_an_email_leads_where_a_segment_allows_it(container):
    """E-mail only, its own segment only, and nobody else may claim it, of whatever segment."""
    account = container.register(username="alice", email=MINE, phone=PHONES[0])
    assert (find(container, MINE), unproven(container, MINE)) == (None, account.id)
    assert unproven(container, MINE, "bank") is None
    assert unproven(container, PHONES[0]) is None
    act(container, "register", BANK, {"email": MINE}, segment=None)
    assert unproven(container, MINE) is None
    assert unproven(container, MINE, "default", "bank") is None
    prove(container, account.id)
    assert unproven(container, MINE, "bank") == find(container, MINE) == account.id


def test_a_claim_that_this_service_did_not_write_leads_nowhere(container):
    """A proof that was taken away in the database, or a claim that was put there."""
    account = container.register(username="alice", email=MINE)
    other = container.register(username="bob", email=THEIRS)
    prove(container, account.id)
    with container.store.transaction() as tx:
        tx.execute(update(SubjectIndex.__table__).values(verified_at=None))
    assert unproven(container, MINE) is None
    assert unproven(container, THEIRS) == other.id
    with container.store.transaction() as tx:
        stolen = {"subject_id": account.id}
        here = SubjectIndex.__table__.c
        whose = (here.subject_id == other.id, here.field == "email")
        tx.execute(delete(SubjectIndex.__table__).where(here.subject_id == account.id))
        tx.execute(update(SubjectIndex.__table__).where(*whose).values(**stolen))
    assert unproven(container, THEIRS) is None
