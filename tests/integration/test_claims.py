"""An address is whose who verifies it: claims bind nobody, codes prove what they were sent to."""

import uuid
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import delete, select, text, update

from service.accounts.actions import codes
from service.accounts.model import Field
from service.accounts.store import SubjectIndex, claims
from service.domain.caller import Caller
from service.domain.errors import BadInput, Conflict, Expired, NotFound, Throttled

MINE = "mine@example.com"
THEIRS = "theirs@example.com"
PHONES = ("+4930901820", "+4930901821")
BANK = Caller(uuid.UUID(int=6), frozenset(), segments=("bank",))
SISTER = Caller(uuid.UUID(int=7), frozenset())


def act(house, name, *arguments, **named):
    """Call an action in a unit of work of its own."""
    with house.store.transaction() as tx:
        return getattr(house.accounts, name)(tx, *arguments, **named)


def find(house, typed):
    """Return the id of the subject that signs in with an identifier, or None."""
    account = act(house, "find", typed).account
    return account.id if account else None


def change(house, subject, **identifiers):
    """Change identifiers as the registering client."""
    return act(house, "update", house.caller, subject, identifiers=identifiers)


def waiting(house, kind):
    """Return subject and payload of what waits in the outbox, of one kind."""
    with house.store.transaction() as tx:
        rows = house.outbox.waiting(tx, limit=500, reveal=True)
    return [(row["subject"], row["payload"]) for row in rows if row["kind"] == kind]


def sent(house, subject, name="email"):
    """Have a code sent; return it, or None where none was."""
    before = waiting(house, "identifier.verification")
    act(house, "send_code", subject, name)
    new = [row for row in waiting(house, "identifier.verification") if row not in before]
    return new[0][1]["code"] if new else None


def prove(house, subject, name="email"):
    """Verify an address."""
    assert act(house, "check_code", subject, name, sent(house, subject, name))


def other(code):
    """Return another code."""
    return code[:-1] + str((int(code[-1]) + 1) % 10)


def audited(house, kind):
    """Return how often something stands in the audit log."""
    query = text("SELECT count(*) FROM audit_leaf WHERE kind = :kind")
    with house.store.transaction(read=True) as tx:
        return tx.execute(query, {"kind": kind}).scalar()


@pytest.mark.parametrize(("name", "mine", "theirs"), [("email", MINE, THEIRS), ("phone", *PHONES)])
@pytest.mark.parametrize("by_null", [False, True])
def test_a_code_dies_with_the_address_it_was_sent_to(house, name, mine, theirs, by_null):
    """Sent to mine, changed to theirs (also by way of null): refused, and theirs leads nowhere."""
    account = house.register(username="alice", **{name: mine})
    code = sent(house, account.id, name)
    if by_null:
        change(house, account.id, **{name: None})
    change(house, account.id, **{name: theirs})
    with pytest.raises(Expired):
        act(house, "check_code", account.id, name, code)
    assert find(house, theirs) is None
    assert act(house, "view", account.id)["verified"] == []


def test_a_code_dies_when_the_address_goes_and_comes_back(house):
    """There, away and back: what was sent before proves nothing any more."""
    account = house.register(username="alice", email=MINE)
    code = sent(house, account.id)
    change(house, account.id, email=THEIRS)
    change(house, account.id, email=MINE)
    with pytest.raises(Expired):
        act(house, "check_code", account.id, "email", code)


def test_a_code_that_is_moved_to_another_address_proves_nothing(house):
    """The address stands sealed in the code: a change behind the back of the service ends it."""
    account = house.register(username="alice", email=MINE)
    code = sent(house, account.id)
    with house.store.transaction() as tx:
        house.accounts._row(tx, account.id).email = THEIRS
    assert act(house, "check_code", account.id, "email", code) is False
    assert find(house, THEIRS) is None


@pytest.mark.parametrize(
    ("name", "value", "again"),
    [
        ("email", MINE, " MINE@Example.com.\r\n"),
        ("email", "a@fa\u00df.example", "A@xn--fa-hia.example"),
        ("phone", PHONES[0], "(+49) 30 901820"),
    ],
)
def test_a_change_that_changes_nothing_does_nothing(house, name, value, again):
    """The same in other case or spacing: still verified, code alive, nobody told, no entry."""
    account = house.register(username="alice", **{name: value})
    code = sent(house, account.id, name)
    view = change(house, account.id, **{name: again}, username=" ALICE ")
    assert view["verified"] == []
    assert act(house, "check_code", account.id, name, code)
    before = act(house, "view", account.id)
    house.clock.advance(hours=1)
    assert change(house, account.id, **{name: again}) == before
    assert before["verified"] == [name]
    assert find(house, value) == account.id
    assert waiting(house, "identifier.changed") == []
    assert audited(house, "subject.changed") == 0


def test_the_same_profile_again_is_no_change(house):
    """Neither the time nor the log moves."""
    account = house.register(username="alice")
    act(house, "update", house.caller, account.id, profile={"name": "A."})
    before = act(house, "view", account.id)
    house.clock.advance(hours=1)
    assert act(house, "update", house.caller, account.id, profile={"name": "A."}) == before
    assert audited(house, "subject.changed") == 1


def test_an_unverified_claim_binds_nobody(house):
    """Somebody registered my address: I register it too, verify it, and theirs lapses."""
    squatter = house.register(username="squatter", email=MINE, phone=PHONES[1])
    prove(house, squatter.id, "phone")
    stale = sent(house, squatter.id)
    house.clock.advance(minutes=5)
    account = house.register(email=MINE)
    prove(house, account.id)
    assert find(house, MINE) == account.id
    view = act(house, "view", squatter.id)
    assert view["identifiers"] == {"username": "squatter", "phone": PHONES[1]}
    assert waiting(house, "identifier.lapsed") == [
        (str(squatter.id), {"to": PHONES[1], "field": "email"})
    ]
    assert audited(house, "identifier.lapsed") == 1
    with pytest.raises(Expired):
        act(house, "check_code", squatter.id, "email", stale)
    with pytest.raises(NotFound):
        act(house, "send_code", squatter.id, "email")


def test_a_lapsed_claim_is_told_without_an_address_where_there_is_none(house):
    """Never to the address that belongs to somebody else now; the event names the subject."""
    squatter, account = house.register(email=MINE), house.register(email=MINE)
    prove(house, account.id)
    assert waiting(house, "identifier.lapsed") == [(str(squatter.id), {"field": "email"})]
    assert act(house, "view", squatter.id)["identifiers"] == {}
    assert change(house, squatter.id, email=THEIRS)["identifiers"] == {"email": THEIRS}


def test_a_claim_that_moved_on_does_not_lapse(house):
    """Who has another address by then keeps it, verified."""
    squatter, account = house.register(email=MINE), house.register(email=MINE)
    change(house, squatter.id, email=THEIRS)
    prove(house, squatter.id)
    prove(house, account.id)
    assert find(house, THEIRS) == squatter.id
    assert waiting(house, "identifier.lapsed") == []


def test_the_owner_is_told_where_a_stranger_asks_for_a_code(house):
    """No code goes out, the stranger's client hears the same, and no guess is ever right."""
    owner = house.register(email=MINE)
    prove(house, owner.id)
    house.clock.advance(minutes=5)
    stranger = act(house, "register", BANK, {"email": MINE}, segment=None)
    assert sent(house, stranger.id) is None
    assert waiting(house, "identifier.claimed") == [(str(owner.id), {"to": MINE, "field": "email"})]
    with house.store.transaction() as tx:
        code = claims.verification(tx, stranger.id, "email").code.decode().split("|")[0]
    assert act(house, "check_code", stranger.id, "email", other(code)) is False
    assert act(house, "check_code", stranger.id, "email", code) is False
    assert find(house, MINE) == owner.id
    assert act(house, "view", stranger.id)["verified"] == []


def test_a_verified_address_is_told_taken_only_where_its_owner_is_served(house):
    """To a client of another segment it looks free, at registration and at a change."""
    owner = house.register(email=MINE)
    prove(house, owner.id)
    for caller in (house.caller, SISTER):
        with pytest.raises(Conflict, match="identifier_taken"):
            act(house, "register", caller, {"email": MINE}, segment=None)
    stranger = act(house, "register", BANK, {"username": "bob"}, segment=None)
    view = act(house, "update", BANK, stranger.id, identifiers={"email": MINE})
    assert (view["identifiers"]["email"], view["verified"]) == (MINE, [])
    assert act(house, "lookup", BANK, MINE)["id"] == str(stranger.id)
    assert act(house, "lookup", house.caller, MINE)["id"] == str(owner.id)


def test_a_username_is_one_persons_everywhere(house):
    """It cannot be verified, so that the first has it; no client is told more than that."""
    house.register(username="alice")
    with pytest.raises(Conflict, match="identifier_taken"):
        act(house, "register", BANK, {"username": " Alice "}, segment=None)


def test_an_owner_who_lets_go_makes_way(house):
    """After a change the next one who claims the address may verify it."""
    owner, heir = house.register(username="a", email=MINE), None
    prove(house, owner.id)
    heir = act(house, "register", BANK, {"email": MINE}, segment=None)
    change(house, owner.id, email=None)
    assert find(house, MINE) is None
    house.clock.advance(minutes=5)
    prove(house, heir.id)
    assert find(house, MINE) == heir.id


def test_a_lookup_takes_no_guess(house):
    """Verified, else the only claim, else the only one of this client; otherwise nobody."""
    first = house.register(email=MINE)
    assert act(house, "lookup", SISTER, MINE)["id"] == str(first.id)
    second = act(house, "register", SISTER, {"email": MINE}, segment=None)
    assert act(house, "lookup", SISTER, MINE)["id"] == str(second.id)
    assert act(house, "lookup", house.caller, MINE)["id"] == str(first.id)
    third = house.register(email=MINE)
    with pytest.raises(NotFound):
        act(house, "lookup", house.caller, MINE)
    assert act(house, "lookup", SISTER, MINE)["id"] == str(second.id)
    prove(house, third.id)
    assert act(house, "lookup", SISTER, MINE)["id"] == str(third.id)


def test_new_codes_give_no_fresh_guesses(house):
    """Five guesses an hour at one address of one subject, however many codes were sent."""
    account = house.register(email=MINE)
    code = sent(house, account.id)
    for _ in range(3):
        assert not act(house, "check_code", account.id, "email", other(code))
    code = sent(house, account.id)
    for _ in range(2):
        assert not act(house, "check_code", account.id, "email", other(code))
    with pytest.raises(Expired):
        act(house, "check_code", account.id, "email", code)
    house.clock.advance(minutes=59)
    with pytest.raises(Throttled) as limited:
        act(house, "send_code", account.id, "email")
    assert (limited.value.code, limited.value.retry_after) == ("verification_limited", 60)
    change(house, account.id, email=THEIRS)
    change(house, account.id, email=MINE)
    with pytest.raises(Throttled):
        act(house, "send_code", account.id, "email")
    house.clock.advance(minutes=1)
    prove(house, account.id)


def test_what_is_no_code_costs_no_attempt(house):
    """Ten of them leave all five guesses."""
    account = house.register(email=MINE)
    code = sent(house, account.id)
    for typed in ("", " ", "wrong", code[:-1], code + "0", "x" * 65, "1234567x") * 2:
        with pytest.raises(BadInput) as refused:
            act(house, "check_code", account.id, "email", typed)
        assert refused.value.faults[0].pointer == "/code"
    for _ in range(4):
        assert not act(house, "check_code", account.id, "email", other(code))
    assert act(house, "check_code", account.id, "email", f"\u200b{code[:4]}\u2011{code[4:]}\r\n")


def test_twenty_mails_in_a_row_do_not_go_to_one_address(house):
    """Whoever asks: two at once, five in an hour, twenty until a day is quiet."""
    subjects = [house.register(email=MINE).id for _ in range(10)]
    count, seconds, at = 0, 0, []
    for number in range(3 * 24 * 60):
        with suppress(Throttled):
            act(house, "send_code", subjects[number % 10], "email")
            at.append(seconds)
            count += 1
        if count == 20:
            break
        house.clock.advance(minutes=1)
        seconds += 60
    assert at[:5] == [0, 60, 120, 240, 840]
    for index, moment in enumerate(at):
        assert sum(moment - 3600 < earlier <= moment for earlier in at[: index + 1]) <= 5
    house.clock.advance(hours=23, minutes=59)
    with pytest.raises(Throttled) as limited:
        act(house, "send_code", subjects[0], "email")
    assert limited.value.retry_after == 60
    house.clock.advance(minutes=1)
    act(house, "send_code", subjects[0], "email")


def test_segments_share_a_bound_on_mail_and_hear_nothing_of_each_other(house):
    """Each segment sends as if it were alone; together no more than five mails an hour go out."""
    segments = [f"s{number}" for number in range(10)]
    for segment in segments:
        caller = Caller(uuid.UUID(int=9), frozenset(), segments=(segment,))
        person = act(house, "register", caller, {"email": MINE}, segment=None)
        act(house, "send_code", person.id, "email", caller=caller)
    assert len(waiting(house, "identifier.verification")) == 5


def test_a_client_has_a_bound_of_its_own(house, monkeypatch):
    """Whomever it sends to; another client goes on."""
    monkeypatch.setattr(codes, "OF_CLIENT", replace(codes.OF_CLIENT, most=3))
    people = [house.register(email=f"a{number}@example.com").id for number in range(5)]
    for person in people[:3]:
        act(house, "send_code", person, "email", caller=house.caller)
    house.clock.advance(minutes=20)
    with pytest.raises(Throttled) as limited:
        act(house, "send_code", people[3], "email", caller=house.caller)
    assert limited.value.retry_after == 40 * 60
    act(house, "send_code", people[3], "email", caller=SISTER)
    house.clock.advance(minutes=40)
    act(house, "send_code", people[4], "email", caller=house.caller)


def test_one_subject_does_not_mail_the_world(house):
    """Ten addresses, one after the other, are too many for one hour."""
    account, went = house.register(username="alice"), 0
    for number in range(120):
        change(house, account.id, email=f"victim{number}@example.com")
        with suppress(Throttled):
            act(house, "send_code", account.id, "email")
            went += 1
        house.clock.advance(seconds=30)
    assert went == 9


def test_a_refused_send_leaves_the_earlier_code(house):
    """The person may still type what was sent before."""
    account = house.register(email=MINE)
    sent(house, account.id)
    code = sent(house, account.id)
    with pytest.raises(Throttled):
        act(house, "send_code", account.id, "email")
    assert act(house, "check_code", account.id, "email", code)


def test_a_change_back_and_forth_floods_no_stranger(house):
    """Notices to an address that nobody verified are bounded; to a verified one all go."""
    account = house.register(username="alice", email=MINE)
    for _ in range(30):
        change(house, account.id, email=THEIRS)
        change(house, account.id, email=MINE)
    told = [payload["to"] for _, payload in waiting(house, "identifier.changed")]
    assert told.count(THEIRS) == told.count(MINE) == 9


def test_notices_go_to_verified_addresses_where_there_are_any(house):
    """An address that may be a stranger's hears nothing once another is proven."""
    account = house.register(email=MINE, phone=PHONES[0])
    act(house, "notify", account.id, "notice")
    prove(house, account.id, "phone")
    act(house, "notify", account.id, "notice")
    told = [payload["to"] for _, payload in waiting(house, "notice")]
    assert sorted(told) == [PHONES[0], PHONES[0], MINE]


def test_what_has_ended_is_dropped(house):
    """Codes after ten minutes, counts after their last day; no row stays."""
    account = house.register(email=MINE)
    code = sent(house, account.id)
    act(house, "check_code", account.id, "email", other(code))

    def left():
        with house.store.transaction() as tx:
            house.accounts.drop_ended(tx, house.clock.now())
            return [
                tx.execute(text("SELECT count(*) FROM verification_code")).scalar(),
                tx.execute(text("SELECT count(*) FROM limit_count")).scalar(),
            ]

    assert left() == [1, 4]
    house.clock.advance(hours=1)
    assert left() == [0, 3]
    house.clock.advance(hours=23)
    assert left() == [0, 0]


def test_a_count_shows_no_address(house):
    """Its name is a keyed digest."""
    account = house.register(email=MINE)
    sent(house, account.id)
    with house.store.transaction(read=True) as tx:
        names = list(tx.execute(text("SELECT bucket FROM limit_count")).scalars())
    assert all(len(name) == 64 and int(name, 16) for name in names)


def as_before(house, subject, **identifiers):
    """Write a subject's identifiers as they stood before: raw text, digest of the older form."""
    with house.store.transaction() as tx:
        row = house.accounts._row(tx, subject)
        for field, (raw, normal) in identifiers.items():
            setattr(row, field, raw)
            ((_, digest),) = house.accounts._claims.digests(tx, Field(field), normal)
            mine = select(SubjectIndex).where(
                SubjectIndex.subject_id == subject, SubjectIndex.field == field
            )
            for claim in tx.scalars(mine):
                claim.digest, claim.form = digest, 1


def renew(house):
    """Run the task until nothing is left; return how many it met."""
    met = 0
    while found := act(house, "renew", house.clock.now()):
        met += found
    return met


def test_what_an_older_form_had_made_one_is_two_again(house):
    """The owner of the sharp s signs in by it, and the one of ss may have what is theirs."""
    owner = house.register(username="a", email="max@stra\u00dfe.example")
    prove(house, owner.id)
    as_before(house, owner.id, email=("Max@stra\u00dfe.example", "max@strasse.example"))
    assert find(house, "max@stra\u00dfe.example") is None
    assert renew(house) == 1
    assert find(house, "max@stra\u00dfe.example") == owner.id
    assert find(house, "max@strasse.example") is None
    view = act(house, "view", owner.id)
    assert view["identifiers"]["email"] == "max@xn--strae-oqa.example"
    assert view["verified"] == ["email"]
    other = house.register(email="max@strasse.example")
    prove(house, other.id)
    assert find(house, "max@strasse.example") == other.id


def test_what_is_made_anew_is_not_proven_by_a_row_that_sql_wrote(house):
    """Who writes a time of proof into the index, and an older form, gets no proof of it."""
    account = house.register(username="a", email=MINE)
    with house.store.transaction() as tx:
        claimed = update(SubjectIndex).where(SubjectIndex.field == "email")
        tx.execute(claimed.values(form=1, verified_at=house.clock.now()))
    assert act(house, "view", account.id)["verified"] == []
    assert renew(house) == 1
    assert act(house, "view", account.id)["verified"] == []
    assert find(house, MINE) is None


def test_of_two_that_are_one_by_now_the_second_is_to_be_proven_anew(house):
    """An address with and without the dot at its end had been two accounts."""
    first = house.register(username="a", email=MINE)
    second = house.register(username="b", email=THEIRS)
    for account in (first, second):
        prove(house, account.id)
    as_before(house, second.id, email=(f"{MINE}.", f"{MINE}."))
    assert renew(house) == 1
    assert find(house, MINE) == first.id
    assert act(house, "view", second.id)["verified"] == []


def test_what_can_be_typed_no_more_leads_nowhere(house):
    """It is shown as it was, and may be replaced."""
    account = house.register(username="a", email=MINE, phone=PHONES[0])
    as_before(house, account.id, email=("a,b@example.com", "a,b@example.com"),
              phone=(" (+49) 30 901820 ", PHONES[0]))  # fmt: skip
    assert renew(house) == 2
    view = act(house, "view", account.id)
    assert view["identifiers"] == {"username": "a", "email": "a,b@example.com", "phone": PHONES[0]}
    assert change(house, account.id, email=THEIRS)["identifiers"]["email"] == THEIRS
    assert renew(house) == 0


def unproven(house, typed, *segments):
    """Return whom an identifier leads to where unverified e-mails of some segments do, or None."""
    account = act(house, "find", typed, segments or ("default",)).account
    return account.id if account else None


def test_the_only_claim_to_an_email_leads_where_a_segment_allows_it(house):
    """E-mail only, its own segment only, and nobody else may claim it, of whatever segment."""
    account = house.register(username="alice", email=MINE, phone=PHONES[0])
    assert (find(house, MINE), unproven(house, MINE)) == (None, account.id)
    assert unproven(house, MINE, "bank") is None
    assert unproven(house, PHONES[0]) is None
    act(house, "register", BANK, {"email": MINE}, segment=None)
    assert unproven(house, MINE) is None
    assert unproven(house, MINE, "default", "bank") is None
    prove(house, account.id)
    assert unproven(house, MINE, "bank") == find(house, MINE) == account.id


def test_a_claim_that_this_service_did_not_write_leads_nowhere(house):
    """A proof that was taken away in the database, or a claim that was put there."""
    account = house.register(username="alice", email=MINE)
    other = house.register(username="bob", email=THEIRS)
    prove(house, account.id)
    with house.store.transaction() as tx:
        tx.execute(update(SubjectIndex.__table__).values(verified_at=None))
    assert unproven(house, MINE) is None
    assert unproven(house, THEIRS) == other.id
    with house.store.transaction() as tx:
        stolen = {"subject_id": account.id}
        here = SubjectIndex.__table__.c
        whose = (here.subject_id == other.id, here.field == "email")
        tx.execute(delete(SubjectIndex.__table__).where(here.subject_id == account.id))
        tx.execute(update(SubjectIndex.__table__).where(*whose).values(**stolen))
    assert unproven(house, THEIRS) is None
