"""How closely heads are fitted: by the plan, and for each way to come to a profile."""

from dataclasses import replace

import numpy as np
import pytest

from biometrics.behavior.layout import Layout
from biometrics.behavior.model import ENROLLED, LIVE
from lab.behavior import synthetic_typing
from lab.behavior.training import (
    CAREFUL,
    CLOSE,
    EnrollmentPlan,
    Fitting,
    Plan,
    gather,
    keystroke_plan,
    train,
)

KEYS = 6
LAYOUT = Layout.keystroke(KEYS)
WAYS = tuple(
    EnrollmentPlan(way=way, bucket=10, start=40, end=50, genuine=slice(80, 120))
    for way in (ENROLLED, LIVE)
)
PLAN = Plan(repeats=1, groups=2, session=20, settled=40, enrollments=WAYS)


@pytest.fixture(scope="module")
def rows():
    """Eight people."""
    return [LAYOUT.expand(part) for part in synthetic_typing.people(8, KEYS, samples=120, seed=8)]


@pytest.fixture(scope="module")
def heads(rows):
    """Heads of the same people, the enrolled ones fitted carefully and closely."""
    found = {}
    for name, enrolled in (("careful", Fitting(1e-1, 0)), ("close", Fitting(1e-4, 4))):
        ways = {ENROLLED: enrolled, LIVE: Fitting(1e-2, 0)}
        found[name] = train(
            LAYOUT, people=rows, plan=replace(PLAN, fitting=ways), version="t"
        ).heads
    return found


def test_a_small_ridge_weighs_more(heads):
    """The penalty draws weights towards nothing; products are of as many components as told."""
    careful, close = (heads[name][ENROLLED, 10] for name in ("careful", "close"))
    assert np.abs(close.weights).sum() > 2 * np.abs(careful.weights).sum()
    assert careful.curve.shape == (0, 0)
    assert close.curve.shape == (4, 4)


def test_each_way_is_fitted_by_its_own(heads):
    """Heads of living profiles are the same to the last bit, whatever the enrolled ones are."""
    one, other = (heads[name][LIVE, 10] for name in ("careful", "close"))
    assert np.array_equal(one.weights, other.weights)
    assert (one.slope, one.shift) == (other.slope, other.shift)
    assert not np.array_equal(one.weights, heads["careful"][ENROLLED, 10].weights)


def test_only_a_text_that_was_typed_in_training_is_fitted_closely():
    """A model of any text meets other texts, and a short plan people, of whom it knows less."""
    assert keystroke_plan(400).fitting is CLOSE
    assert keystroke_plan(400, fixed=False).fitting is CAREFUL
    assert Plan().fitting is CAREFUL


def weights(rows, *beside):
    """Return the weights of one head of people and of those beside them."""
    found = train(LAYOUT, people=rows, plan=replace(PLAN, beside=beside), version="t").heads[
        ENROLLED, 10
    ]
    return np.concatenate([found.weights, found.curve.ravel()])


def test_people_beside_weigh_as_much_as_the_own_however_many_sets_they_are(rows):
    """The same people again change nothing; others do, and twice the same others no more."""
    alone = weights(rows)
    assert weights(rows, gather(LAYOUT, rows, PLAN)) == pytest.approx(alone, abs=1e-6)
    text = Layout.keystroke(9)
    typed = [text.expand(part) for part in synthetic_typing.people(9, 9, samples=120, seed=9)]
    others = gather(text, typed, PLAN)
    once = weights(rows, others)
    assert np.abs(once - alone).max() > 0.01
    assert weights(rows, others, others) == pytest.approx(once, abs=1e-6)


def test_a_head_of_one_way_learns_of_the_same_way_only(rows):
    """What stands beside may lack a way or a bucket: that head is as it was."""
    typed = [LAYOUT.expand(part) for part in synthetic_typing.people(8, KEYS, samples=120, seed=3)]
    others = gather(LAYOUT, typed, replace(PLAN, enrollments=WAYS[:1]))
    alone = train(LAYOUT, people=rows, plan=PLAN, version="t").heads
    found = train(LAYOUT, people=rows, plan=replace(PLAN, beside=(others,)), version="t").heads
    assert np.array_equal(found[LIVE, 10].weights, alone[LIVE, 10].weights)
    assert not np.array_equal(found[ENROLLED, 10].weights, alone[ENROLLED, 10].weights)


def test_calibration_is_of_the_own_people(rows):
    """Others who are told apart the other way round make a timid fit, and the own scores mend it.

    Calibrated on everybody the slope would stay near one, and the own ratios too small.
    """
    usual, odd = (gather(LAYOUT, rows, PLAN) for _ in range(2))
    for pile in odd.piles.values():
        pile.genuine[:] = [1 - part for part in pile.genuine]
    found = train(LAYOUT, people=rows, plan=replace(PLAN, beside=(usual, odd)), version="t").heads[
        ENROLLED, 10
    ]
    assert found.slope > 2


def test_another_signal_does_not_stand_beside(rows):
    """Touches have statistics that keys have not."""
    layout = Layout.touch(KEYS)
    touched = [
        layout.expand(synthetic_typing.touches(part[:, : 2 * KEYS - 1], KEYS, seed))
        for seed, part in enumerate(rows)
    ]
    with pytest.raises(ValueError, match="another signal"):
        train(
            LAYOUT,
            people=rows,
            plan=replace(PLAN, beside=(gather(layout, touched, PLAN),)),
            version="t",
        )
