"""Suspensions: what ends with one, in which order, and in the same transaction."""

import pytest

from service.domain.errors import NotFound


@pytest.fixture
def account(container):
    return container.register(username="alice")


@pytest.fixture
def ended(container):
    """The names of what ended, in order."""
    ended = []
    container.suspensions.end_with(
        lambda _tx, subject: ended.append(("sessions", subject)),
        lambda _tx, subject: ended.append(("recoveries", subject)),
    )
    return ended


def suspend(container, account, capability):
    with container.store.transaction() as tx:
        return container.suspensions.suspend(
            tx, account.id, capability=capability, reason="fraud", actor="op"
        )


def test_a_suspended_login_ends_access_once_and_in_order(container, account, ended):
    assert suspend(container, account, "login")
    assert not suspend(container, account, "login")
    assert ended == [("sessions", account.id), ("recoveries", account.id)]


def test_another_capability_ends_no_access(container, account, ended):
    assert suspend(container, account, "payment")
    assert ended == []


def test_a_suspension_is_undone_where_access_cannot_end(container, account):
    """Neither happens without the other."""

    def fail(_tx, _subject):
        raise RuntimeError("no end")

    container.suspensions.end_with(fail)
    with pytest.raises(RuntimeError, match="no end"):
        suspend(container, account, "login")
    with container.store.transaction() as tx:
        assert container.accounts.known(tx, account.id).may_sign_in
        with pytest.raises(NotFound):
            container.suspensions.lift(tx, account.id, "login", "op")
