"""Grants: leave for one act, of one client, for one subject, once, within five minutes."""

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import text

from service.domain.caller import Caller
from service.domain.errors import Forbidden

ACT = "enroll:totp"
OTHER = Caller(uuid.UUID(int=6), frozenset())


@pytest.fixture
def alice(house):
    """Return a subject that has signed in before, so that a grant is needed."""
    account = house.register(username="alice")
    with house.store.transaction() as tx:
        house.accounts.completed_login(tx, account)
        return house.accounts.get(tx, account.id)


def issue(house, account, act=ACT):
    """Return a grant."""
    with house.store.transaction() as tx:
        return house.authenticators.issue_grant(tx, account.id, house.caller.client, act)


def authorize(house, account, grant="", act=ACT, caller=None):
    """Ask to be let through."""
    with house.store.transaction() as tx:
        house.authenticators.authorize(tx, caller or house.caller, account, act, grant)


def refusal(house, *arguments, **named):
    """Return the code of the refusal."""
    with pytest.raises(Forbidden) as refused:
        authorize(house, *arguments, **named)
    return refused.value.code


def test_a_grant_lets_through_once(house, alice):
    """The second use of the same grant is refused."""
    grant = issue(house, alice)
    authorize(house, alice, grant)
    for _ in range(2):
        assert refusal(house, alice, grant) == "grant_invalid"


def test_a_grant_is_bound_to_subject_act_and_client(house, alice):
    """For another subject, act or client it is refused, and stays good for its own."""
    bob = house.register(username="bob")
    grant = issue(house, alice)
    assert refusal(house, bob, grant) == "grant_invalid"
    assert refusal(house, alice, grant, act="revoke:authenticator") == "grant_invalid"
    assert refusal(house, alice, grant, caller=OTHER) == "grant_invalid"
    authorize(house, alice, grant)


def test_a_grant_lives_five_minutes(house, alice):
    """To the last second it lets through; from then on it is refused, and then forgotten."""
    for seconds, good in ((299, True), (300, False)):
        grant = issue(house, alice)
        house.clock.advance(seconds=seconds)
        if good:
            authorize(house, alice, grant)
        else:
            assert refusal(house, alice, grant) == "grant_invalid"
    with house.store.transaction() as tx:
        assert house.authenticators.drop_expired(tx, house.clock.now()) == 2
        assert house.authenticators.drop_expired(tx, house.clock.now()) == 0


def test_a_forged_grant_is_refused(house, alice):
    """Another text, another case and a cut grant are no grants; the digest alone is stored."""
    grant = issue(house, alice)
    for forged in ("x", grant[:-1], grant.swapcase(), grant + "x", grant.removeprefix("lgrant_")):
        assert refusal(house, alice, forged) == "grant_invalid"
    with house.store.transaction(read=True) as tx:
        stored = tx.execute(text('SELECT digest FROM "grant"')).scalar()
        assert grant.encode() not in bytes(stored)
    assert grant.startswith("lgrant_")


def test_a_use_that_is_rolled_back_was_none(house, alice):
    """A change that fails leaves its grant for the next try."""
    grant = issue(house, alice)
    with pytest.raises(ZeroDivisionError), house.store.transaction() as tx:
        house.authenticators.authorize(tx, house.caller, alice, ACT, grant)
        _ = 1 / 0
    authorize(house, alice, grant)


def test_the_registering_client_may_act_before_the_first_login(house):
    """Within 24 hours, and to the last second of them, it needs no grant for any act."""
    account = house.register(username="alice")
    for act in (ACT, "revoke:authenticator"):
        authorize(house, account, act=act)
    house.clock.advance(hours=24, seconds=-1)
    authorize(house, account)
    house.clock.advance(seconds=1)
    assert refusal(house, account) == "grant_required"


def test_the_short_right_ends_with_the_first_login(house):
    """From the first login on a grant is needed, however fresh the account is."""
    account = house.register(username="alice")
    authorize(house, account)
    with house.store.transaction() as tx:
        house.accounts.completed_login(tx, account)
        account = house.accounts.get(tx, account.id)
    assert refusal(house, account) == "grant_required"


def test_the_short_right_is_the_registering_clients_alone(house):
    """Another client needs a grant from the beginning."""
    account = house.register(username="alice")
    assert refusal(house, account, caller=OTHER) == "grant_required"


def test_a_bad_grant_is_refused_even_with_the_short_right(house):
    """Who shows a grant is held to it."""
    account = house.register(username="alice")
    assert refusal(house, account, "lgrant_forged") == "grant_invalid"
    authorize(house, account)


def test_a_missing_grant_names_the_act(house, alice):
    """The refusal tells what the flow must be begun for."""
    with pytest.raises(Forbidden) as refused:
        authorize(house, alice)
    assert refused.value.extra == {"act": ACT}
    assert ACT in refused.value.detail


def test_the_issue_of_a_grant_is_logged_without_it(house, alice):
    """The log knows for whom and for what, and not the grant."""
    grant = issue(house, alice)
    with house.store.transaction(read=True) as tx:
        rows = tx.execute(text("SELECT kind, actor, data FROM audit_leaf")).all()
    issued = [row for row in rows if row.kind == "grant.issued"]
    assert len(issued) == 1
    assert issued[0].actor == str(house.caller.client)
    assert grant not in repr(rows)


def test_a_fresh_account_of_a_moved_clock_has_no_right(house):
    """An account is fresh by its own time of registration."""
    account = house.register(username="alice")
    house.clock.advance(days=2)
    young = house.register(username="bob")
    assert young.created_at - account.created_at == timedelta(days=2)
    assert refusal(house, account) == "grant_required"
    authorize(house, young)
