"""An address is whose who verifies it: claims bind nobody, codes prove what they were sent to."""

import pytest
from sqlalchemy import text

from service.accounts.store import claims
from service.domain.errors import Conflict, Expired, NotFound
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
