"""Identifiers of an older normal form are renewed, whatever stands beside them."""

import pytest
from sqlalchemy import select, text

from service.accounts.actions.claims import Claims
from service.accounts.model import NORMAL_FORM
from service.accounts.store.subjects import Subject, SubjectIndex

# The theta of capitals: a name in lower case, and none in the case in which it is written.
STUCK = "\u03f4eta"
FOUND = "\u03b8eta"


def aged(container, *names):
    """Register people by name and address, as a version of before would have."""
    made = [container.register(username=name, email=f"{name}@example.com").id for name in names]
    with container.store.transaction() as tx:
        for row in tx.scalars(select(SubjectIndex)):
            row.form = 1
    return made


def renewed(container, passes=3):
    """Run the task for a while; return how many digests are of an older form still."""
    for _ in range(passes):
        with container.store.transaction() as tx:
            container.accounts.renew(tx, container.clock.now())
    with container.store.transaction(read=True) as tx:
        query = text("SELECT count(*) FROM subject_index WHERE form < :form")
        return tx.execute(query, {"form": NORMAL_FORM}).scalar()


def found(container, typed):
    """Return whom an identifier leads to."""
    with container.store.transaction(read=True) as tx:
        account = container.accounts.find(tx, typed).account
        return account and account.id


def spoiled(container, subjects):
    """Make names that do not open."""
    with container.store.transaction() as tx:
        for subject in subjects:
            row = tx.get(Subject, subject)
            whole = bytes(row.sealed_username)
            tx.execute(
                text("UPDATE subject SET username = :bad WHERE username = :whole"),
                {"bad": whole[:-1] + bytes([whole[-1] ^ 1]), "whole": whole},
            )


def test_a_name_that_is_taken_no_more_stays_as_it_is_and_leads_to_its_owner(container):
    """It has a normal form, and none to be shown in: it holds up nobody, and is renewed too."""
    first, *_ = aged(container, "one", "two", "three")
    with container.store.transaction() as tx:
        tx.get(Subject, first).username = STUCK
    assert renewed(container) == 0
    assert found(container, STUCK) == found(container, FOUND) == first
    assert found(container, "two")
    with container.store.transaction(read=True) as tx:
        assert container.accounts.view(tx, first)["identifiers"]["username"] == STUCK


@pytest.mark.parametrize("page", [1, 2, 200])
def test_what_does_not_open_holds_up_no_other_nor_fills_the_page(container, monkeypatch, page):
    """However many there are: each pass goes on behind them, and tries them again the next time."""
    monkeypatch.setitem(Claims.renew.__globals__, "_PAGE", page)
    names = [f"name{number}" for number in range(6)]
    people = aged(container, *names)
    spoiled(container, sorted(people)[:3])
    assert renewed(container, passes=20) == 3
    assert all(found(container, name) for name in names)
