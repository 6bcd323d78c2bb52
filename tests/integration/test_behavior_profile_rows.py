"""Stored profiles: what opens them, what ends them, and two requests at once."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import event, select, update

from crypto.keyring import KEY_CLASSES
from service.domain.assurance import Acr
from service.domain.errors import Conflict
from service.keys.actions import KeyStore
from service.risk.fusion import Availability
from service.signals.behavior import store
from service.signals.behavior.actions.profiles import TypingProfileKey
from service.signals.behavior.features import read
from service.signals.behavior.profile import Kept
from service.signals.behavior.schema import Behavior
from service.signals.behavior.scoring import LOWEST
from service.signals.behavior.store import ProfileKey, ProfileRow
from service.store.engine import Store
from tests.integration.behavior_profiles import (
    FIRST,
    HOME,
    agreed,
    assess,
    codes,
    facts,
    rows,
    teach,
)
from tests.typists import contacts, wire

SECOND = UUID(int=102)


def test_a_profile_opens_only_where_it_was_sealed(container, signal, people):
    """Moved to another person, class of device, signal or password it counts as the worst."""
    subject = agreed(container)
    teach(container, signal, subject, people[0][:8])
    usual = assess(container, signal, subject, people[0][9])
    other = agreed(container, "bob")
    for column, value, who, more in (
        ("subject_id", other, other, {}),
        (
            "device_class",
            "phone",
            subject,
            {"where": replace(HOME, user_agent="Mozilla/5.0 (iPhone; …")},
        ),
        ("password_id", SECOND, subject, {"password": SECOND}),
    ):
        change(container, column, value)
        found = assess(container, signal, who, people[0][9], **more)
        assert (found.llr, codes(found)) == (-6.0, {"profile_unreadable"})
        former = {"subject_id": subject, "device_class": "desktop", "password_id": FIRST}
        change(container, column, former[column])
    assert assess(container, signal, subject, people[0][9]) == usual


def change(container, column, value):
    """Write a column past the program."""
    table = store.ProfileRow.__table__
    with container.store.engine.begin() as connection:
        connection.execute(table.update().values({column: value}))


def test_what_does_not_open_begins_anew_after_aal2(container, signal, people):
    """A damaged row is the worst, a strong login mends it, and nothing else does."""
    subject = agreed(container)
    teach(container, signal, subject, people[0][:8])
    sealed = bytes(rows(container)[0].content)
    change_content(container, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert assess(container, signal, subject, people[0][9]).llr == -6.0
    teach(container, signal, subject, people[0][9:10], level=Acr.AAL1)
    assert assess(container, signal, subject, people[0][9]).llr == -6.0
    teach(container, signal, subject, people[0][9:10])
    assert codes(assess(container, signal, subject, people[0][10])) == {"keystroke_learning"}


def test_a_damaged_profile_of_another_device_is_mended_too_and_takes_no_other_along(
    container, signal, people
):
    """It would speak against every login, and each of them would begin its own profile anew."""
    subject, phone = agreed(container), replace(HOME, user_agent="Mozilla/5.0 (iPhone; …")
    teach(container, signal, subject, people[0][:8], where=phone)
    sealed = bytes(rows(container)[0].content)
    change_content(container, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with container.store.transaction() as tx:
        damaged = store.of_subject(tx, subject)[0].id
        other = Kept.empty(vector(people[0][8]).layout)
        for row in people[0][8:16]:
            other = other.learn(vector(row))
        store.add(
            tx,
            UUID(int=7),
            place=ProfileKey(subject, FIRST, "desktop", "keystroke"),
            now=container.clock.now(),
            samples=8,
            content=other.pack(),
        )
    assert assess(container, signal, subject, people[0][17]).llr == -6.0
    teach(container, signal, subject, people[0][17:18])
    assert {(row.device_class, row.samples) for row in rows(container)} == {("desktop", 9)}
    assert damaged not in {row.id for row in rows(container)}
    assert assess(container, signal, subject, people[0][18]).llr > 0


def vector(row):
    """Return the columns of a sample."""
    return read(Behavior.model_validate(wire(row)))["keystroke"]


def change_content(container, content):
    """Write the sealed bytes past the program."""
    table = store.ProfileRow.__table__
    with container.store.engine.begin() as connection:
        connection.execute(table.update().values({"content": content}))


def test_a_process_without_the_class_counts_the_worst_and_learns_nothing(
    container, models, roots, signal, people
):
    """It can neither read a profile nor spoil one."""
    subject = agreed(container)
    teach(container, signal, subject, people[0][:8])
    before = rows(container)
    key_store = KeyStore(
        {name: roots for name in KEY_CLASSES if name != "behavior"}, container.clock
    )
    blind = Store(container.store.engine, key_store)
    with blind.transaction() as tx:
        key_store.load(tx)
    with blind.transaction() as tx:
        assert signal.assess(tx, facts(container, subject, people[0][9])).llr == -6.0
        signal.learn(tx, facts(container, subject, people[0][9]))
    assert rows(container) == before


def test_another_password_is_another_profile_in_the_same_place(container, signal, people):
    """What was learned of the former one says nothing, and goes with the next strong login."""
    subject = agreed(container)
    teach(container, signal, subject, people[0][:8])
    found = assess(container, signal, subject, people[0][9], password=SECOND)
    assert (found.llr, found.seen) == (0.0, Availability.NO_HISTORY)
    teach(container, signal, subject, people[0][9:11], password=SECOND)
    (row,) = rows(container)
    assert row.samples == 2
    assert codes(assess(container, signal, subject, people[0][12])) == {"keystroke_learning"}


def test_learning_takes_consent_a_password_and_a_sample(container, signal, people):
    """Without one of them nothing is kept; what was kept without a sample is counted as missing."""
    nobody = container.register(username="carol").id
    teach(container, signal, nobody, people[0][:2])
    subject = agreed(container)
    teach(container, signal, subject, people[0][:2], password=None)
    teach(container, signal, subject, people[0][:2], flags={"paste": True})
    teach(container, signal, subject, [None])
    assert rows(container) == []
    teach(container, signal, subject, people[0][:6])
    first = assess(container, signal, subject)
    teach(container, signal, subject, [None] * 3)
    later = assess(container, signal, subject)
    assert first.seen is later.seen is Availability.WITHHELD
    assert first.llr < later.llr < 0
    untyped = replace(facts(container, subject), password=None, shown=("totp",))
    with container.store.transaction() as tx:
        assert signal.assess(tx, untyped).seen is Availability.NOT_OFFERED


def test_touches_that_stay_away_count_against_beside_the_keys(container, signal, people):
    """The keys are scored, and what is left of a usual touch can only count against."""
    subject, phone = agreed(container), replace(HOME, user_agent="Mozilla/5.0 (iPhone; …")
    with container.store.transaction() as tx:
        for number, row in enumerate(people[0][:8]):
            seen = facts(container, subject, row, where=phone, touch=contacts(row, number))
            signal.learn(tx, seen)
    found = assess(container, signal, subject, people[0][9], where=phone)
    assert {"touch_withheld", "keystroke_hold"} <= codes(found)
    assert found.seen is Availability.WITHHELD
    with container.store.transaction() as tx:
        empty = facts(container, subject, where=phone)
        hollow = signal.assess(tx, replace(empty, samples={"password": '{"v": 1}'}))
    nothing = assess(container, signal, subject, where=phone)
    # A sample without keys is one finding, and the same as none at all.
    assert (hollow.llr, codes(hollow)) == (nothing.llr, {"keystroke_withheld"})
    first = next(item for item in found.reasons if item.code == "touch_withheld")
    teach(container, signal, subject, people[0][10:14], where=phone)
    found = assess(container, signal, subject, people[0][20], where=phone)
    later = next(item for item in found.reasons if item.code == "touch_withheld")
    assert first.contribution < later.contribution < 0


def test_a_sample_that_comes_second_joins_the_profile_that_came_first(
    container, behaviors, signal, people, monkeypatch
):
    """When another request makes the first profile meanwhile it is read again and taught."""
    subject = agreed(container)
    add, raced = store.add, []

    def late(tx, row, *, place, **rest):
        if not raced:
            raced.append(place)
            add(tx, UUID(int=7), place=place, **rest)
        return add(tx, row, place=place, **rest)

    monkeypatch.setattr(store, "add", late)
    teach(container, signal, subject, people[0][:1])
    (row,) = rows(container)
    assert row.samples == 2
    assert "behavior_replayed" in codes(assess(container, signal, subject, people[0][0]))
    raced.clear()
    with container.store.transaction() as tx:
        behaviors.delete_for(tx, subject)
        typist = TypingProfileKey(subject, FIRST, "desktop")
        sample = behaviors.parse(wire(people[0][1]), "")
        with pytest.raises(Conflict):
            behaviors.learn(tx, typist, sample, first=True)


def test_an_assessment_costs_one_statement(container, signal, people):
    """With a sample one select beside the reading of its key; where nothing was typed none."""
    subject = agreed(container)
    teach(container, signal, subject, people[0][:8])
    asked = []

    def hear(_connection, _cursor, statement, *_):
        if "behavior" in statement:
            asked.append(statement)

    event.listen(container.store.engine, "before_cursor_execute", hear)
    assess(container, signal, subject, people[0][9])
    assert len(asked) == 1
    asked.clear()
    assess(container, signal, subject)
    assert len(asked) == 1
    asked.clear()
    assess(container, signal, subject, password=None)
    assert asked == []


def test_a_flow_that_asks_again_is_not_scored_again(
    container, behaviors, signal, people, monkeypatch
):
    """The same sample of the same flow and profile; anything else is compared anew."""
    subject = agreed(container)
    teach(container, signal, subject, people[0][:8])
    scored, compare = [], behaviors.compare
    monkeypatch.setattr(behaviors, "compare", lambda *of: scored.append(of) or compare(*of))
    first = assess(container, signal, subject, people[0][9])
    assert assess(container, signal, subject, people[0][9]) == first
    assert len(scored) == 1
    other = assess(container, signal, subject, people[0][10])
    assert (len(scored), other == first) == (2, False)
    teach(container, signal, subject, people[0][10:11])
    assert codes(assess(container, signal, subject, people[0][10])) > {"behavior_replayed"}
    assert len(scored) == 3
    for number in range(300):
        with container.store.transaction() as tx:
            seen = facts(container, subject, people[0][11])
            signal.assess(tx, replace(seen, flow=f"flow-{number}"))
    assert len(signal._recent._cached) == 256


def test_a_profile_that_is_changed_within_a_flow_is_not_vouched_for_by_an_earlier_answer(
    container, signal, people
):
    """One byte of what is stored, and it counts as its worst at the next action."""
    subject = agreed(container)
    teach(container, signal, subject, people[0][:8])
    before = assess(container, signal, subject, people[0][9])
    assert before.enough_history
    rows = ProfileRow.__table__
    with container.store.transaction() as tx:
        stored = tx.execute(select(rows.c.id, rows.c.content)).one()
        changed = stored.content[:-1] + bytes([stored.content[-1] ^ 1])
        tx.execute(update(rows).where(rows.c.id == stored.id).values(content=changed))
    after = assess(container, signal, subject, people[0][9])
    assert after.llr == LOWEST
    assert codes(after) == {"profile_unreadable"}


def test_profiles_are_dropped_after_400_days_and_with_their_person(
    container, behaviors, signal, people
):
    """Retention, and `forget` for consent, erasure and a new password."""
    subject = agreed(container)
    teach(container, signal, subject, people[0][:2])
    with container.store.transaction() as tx:
        assert behaviors.drop_older(tx, container.clock.now() + timedelta(days=399)) == 0
        assert behaviors.drop_older(tx, container.clock.now() + timedelta(days=401)) == 1
    teach(container, signal, subject, people[0][:2])
    with container.store.transaction() as tx:
        assert behaviors.delete_for(tx, subject) == 1
    assert rows(container) == []
