"""Grants: leave for one act, of one client, for one subject, once, within five minutes."""

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import text

from service.domain.caller import Caller
from service.domain.errors import Forbidden

ACT = "enroll:totp"
OTHER = Caller(client=uuid.UUID(int=6), scopes=frozenset())


@pytest.fixture
def alice(container):
    """Return a subject that has signed in before, so that a grant is needed."""
    account = container.register(username="alice")
    with container.store.transaction() as tx:
        container.accounts.completed_login(tx, account)
        return container.accounts.get(tx, account.id)


def issue(container, account, act=ACT):
    """Return a grant."""
    with container.store.transaction() as tx:
        return container.authenticators.grants.issue(
            tx, account.id, client=container.caller.client, act=act
        )


def authorize(container, account, grant="", act=ACT, caller=None):
    """Ask to be let through."""
    with container.store.transaction() as tx:
        container.authenticators.grants.authorize(
            tx, caller or container.caller, account, act=act, grant=grant
        )


def refusal(container, *arguments, **named):
    """Return the code of the refusal."""
    with pytest.raises(Forbidden) as refused:
        authorize(container, *arguments, **named)
    return refused.value.code


def test_a_grant_lets_through_once(container, alice):
    """The second use of the same grant is refused."""
    grant = issue(container, alice)
    authorize(container, alice, grant)
    for _ in range(2):
        assert refusal(container, alice, grant) == "grant_invalid"


def test_a_grant_is_bound_to_subject_act_and_client(container, alice):
    """For another subject, act or client it is refused, and stays good for its own."""
    bob = container.register(username="bob")
    grant = issue(container, alice)
    assert refusal(container, bob, grant) == "grant_invalid"
    assert refusal(container, alice, grant, act="revoke:authenticator") == "grant_invalid"
    assert refusal(container, alice, grant, caller=OTHER) == "grant_invalid"
    authorize(container, alice, grant)


def test_a_grant_lives_five_minutes(container, alice):
    """To the last second it lets through; from then on it is refused, and then forgotten."""
    for seconds, good in ((299, True), (300, False)):
        grant = issue(container, alice)
        container.clock.advance(seconds=seconds)
        if good:
            authorize(container, alice, grant)
        else:
            assert refusal(container, alice, grant) == "grant_invalid"
    with container.store.transaction() as tx:
        assert container.authenticators.grants.drop_expired(tx, container.clock.now()) == 2
        assert container.authenticators.grants.drop_expired(tx, container.clock.now()) == 0


def test_a_forged_grant_is_refused(container, alice):
    """Another text, another case and a cut grant are no grants; the digest alone is stored."""
    grant = issue(container, alice)
    for forged in ("x", grant[:-1], grant.swapcase(), grant + "x", grant.removeprefix("lgrant_")):
        assert refusal(container, alice, forged) == "grant_invalid"
    with container.store.transaction(read=True) as tx:
        stored = tx.execute(text('SELECT digest FROM "grant"')).scalar()
        assert grant.encode() not in bytes(stored)
    assert grant.startswith("lgrant_")


def test_a_use_that_is_rolled_back_was_none(container, alice):
    """A change that fails leaves its grant for the next try."""
    grant = issue(container, alice)
    with pytest.raises(ZeroDivisionError), container.store.transaction() as tx:
        container.authenticators.grants.authorize(tx, container.caller, alice, act=ACT, grant=grant)
        _ = 1 / 0
    authorize(container, alice, grant)


def test_the_registering_client_may_act_before_the_first_login(container):
    """Within 24 hours, and to the last second of them, it needs no grant for any act."""
    account = container.register(username="alice")
    for act in (ACT, "revoke:authenticator"):
        authorize(container, account, act=act)
    container.clock.advance(hours=24, seconds=-1)
    authorize(container, account)
    container.clock.advance(seconds=1)
    assert refusal(container, account) == "grant_required"


def test_the_short_right_ends_with_the_first_login(container):
    """From the first login on a grant is needed, however fresh the account is."""
    account = container.register(username="alice")
    authorize(container, account)
    with container.store.transaction() as tx:
        container.accounts.completed_login(tx, account)
        account = container.accounts.get(tx, account.id)
    assert refusal(container, account) == "grant_required"


def test_the_short_right_is_the_registering_clients_alone(container):
    """Another client needs a grant from the beginning."""
    account = container.register(username="alice")
    assert refusal(container, account, caller=OTHER) == "grant_required"


def test_a_bad_grant_is_refused_even_with_the_short_right(container):
    """Who shows a grant is held to it."""
    account = container.register(username="alice")
    assert refusal(container, account, "lgrant_forged") == "grant_invalid"
    authorize(container, account)


def test_a_missing_grant_names_the_act(container, alice):
    """The refusal tells what the flow must be begun for."""
    with pytest.raises(Forbidden) as refused:
        authorize(container, alice)
    assert refused.value.extra == {"act": ACT}
    assert ACT in refused.value.detail


def test_the_issue_of_a_grant_is_logged_without_it(container, alice):
    """The log knows for whom and for what, and not the grant."""
    grant = issue(container, alice)
    with container.store.transaction(read=True) as tx:
        rows = tx.execute(text("SELECT kind, actor, data FROM audit_leaf")).all()
    issued = [row for row in rows if row.kind == "grant.issued"]
    assert len(issued) == 1
    assert issued[0].actor == str(container.caller.client)
    assert grant not in repr(rows)


def test_a_fresh_account_of_a_moved_clock_has_no_right(container):
    """An account is fresh by its own time of registration."""
    account = container.register(username="alice")
    container.clock.advance(days=2)
    young = container.register(username="bob")
    assert young.created_at - account.created_at == timedelta(days=2)
    assert refusal(container, account) == "grant_required"
    authorize(container, young)
