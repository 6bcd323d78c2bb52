"""Every operation that changes something of a subject, against itself and against every other."""

import itertools
from collections import Counter

import pytest

from service.app import create_app
from tests.races.acts import Operation
from tests.races.checks import mark, state, violations
from tests.races.people import Person
from tests.races.table import ACTS, MUTATING, NOT_OF_A_SUBJECT, requests

AT_ONCE = 20
IN_ORDER = 6
"""How many one after the other meet every limit that twenty at once meet."""
FEATURES = sorted({act.feature for act in ACTS.values()})


def operations(app):
    """Return what the app serves that changes something."""
    return {
        Operation(method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in rule.methods & MUTATING
    }


def test_every_operation_that_changes_a_subject_races(service):
    """A new route has a builder in `tests/races/table.py`, or a reason why it needs none."""
    built = {act.operation for act in ACTS.values()}
    without = {
        item
        for item in operations(create_app(service.container))
        if item not in built and not item.path.startswith(tuple(NOT_OF_A_SUBJECT))
    }
    assert without == set()
    gone = {item for item in built if item.method in MUTATING} - operations(service.app)
    assert gone == set(), "builders of operations that are no more"


def heard(answers):
    """Return which answers came to which act, without those that no order needs to give.

    Attempts count as failed until they are checked, so that more than are free at once must wait;
    and who acts in a flow as another moves it on is told so.
    """
    return {
        (item.name, item.status, item.code)
        for item in answers
        if item.status != 429 and item.code != "flow_moved"
    }


def orders(names, batch):
    """Return the same requests in several orders: by turns, one act first, one of one act first."""
    yield batch
    for first in names:
        mine = [item for item in batch if item.name == first]
        rest = [item for item in batch if item.name != first]
        yield mine + rest
        yield mine[:1] + rest + mine[1:]


def in_order(arena, names, only=None):
    """Do the same one after the other, in several orders; return answers and states that came.

    With `only`, everything is made ready and these acts alone are done.
    """
    answers, states = set(), set()
    for number in range(2 * len(names) + 1):
        person = Person(arena.world, IN_ORDER)
        batch = list(orders(names, requests(person, *names)))[number]
        batch = [item for item in batch if only is None or item.name in only]
        answers |= heard([arena.world.ask(item) for item in batch])
        states.add(mark(state(arena.world, person)))
    return answers, states


def race(arena, names):
    """Run one round; return the rules that it broke, what was heard, what it led to, and who acted.

    An act all of whose requests had to wait has not happened.
    """
    person = Person(arena.world, AT_ONCE)
    answers = arena.pair.race(requests(person, *names))
    broken = violations(arena.world, person, answers)
    acted = tuple(
        name for name in names if any(item.name == name and item.status != 429 for item in answers)
    )
    return broken, heard(answers), mark(state(arena.world, person)), acted


def pairs_of(feature):
    """Return the acts of a feature by twos, each with itself too."""
    names = [name for name, act in ACTS.items() if act.feature == feature]
    return list(itertools.combinations_with_replacement(names, 2))


def one_name(pair):
    """Return the names of a pair, one for an act against itself."""
    return tuple(dict.fromkeys(pair))


@pytest.mark.slow
@pytest.mark.parametrize("feature", FEATURES)
def test_the_acts_of_a_feature_race(arena, feature):
    """Twenty of each of two acts at once break no rule, and nobody hears of a fault."""
    broken = {}
    for pair in pairs_of(feature):
        found, *_ = race(arena, one_name(pair))
        if found:
            broken[pair] = found
    assert broken == {}


@pytest.mark.slow
def test_all_pairs_race_as_in_some_order(arena, long):
    """Every act against every other: answers and outcome are such as some order gives."""
    if not long:
        pytest.skip("the long form: make races")
    counts, broken = Counter(), {}
    for pair in itertools.combinations_with_replacement(ACTS, 2):
        names = one_name(pair)
        answers, states = in_order(arena, names)
        found, said, led_to, acted = race(arena, names)
        counts["pairs"] += 1
        counts["requests"] += AT_ONCE * len(names)
        found += [f"heard {item}" for item in sorted(said - answers)]
        if led_to not in states and acted != names:
            states |= in_order(arena, names, acted)[1]
        if led_to not in states:
            found.append(f"led to {led_to}")
        if counts["pairs"] % 50 == 0:
            print(dict(counts), flush=True)  # noqa: T201 - an hour of work shows how far it is
        if found:
            broken[pair] = found
            counts["violations"] += len(found)
            print(f"{' / '.join(names)}: {found}")  # noqa: T201 - as below
    for name in ("pairs", "requests", "violations"):
        print(f"{name}: {counts[name]}")  # noqa: T201 - `make races` shows it
    assert broken == {}
