"""Codes for addresses, their bounds and notices, and claims of an older normal form."""

import uuid
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import delete, select, text, update

from service.accounts.actions import codes
from service.accounts.model import IdentifierType
from service.accounts.store.subjects import SubjectIndex
from service.domain.caller import Caller
from service.domain.errors import BadInput, Expired, Throttled
from tests.integration.claiming import (
    BANK,
    MINE,
    PHONES,
    SISTER,
    THEIRS,
    act,
    change,
    find,
    other,
    prove,
    sent,
    waiting,
)


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
        caller = Caller(client=uuid.UUID(int=9), scopes=frozenset(), segments=(segment,))
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
