"""How closely heads are fitted: by the plan, and for each way to come to a profile."""

from dataclasses import replace

import numpy as np
import pytest

from biometrics.behavior import generator
from biometrics.behavior.layout import Layout
from biometrics.behavior.model import ENROLLED, LIVE
from biometrics.behavior.training import (
    CAREFUL,
    CLOSE,
    Enrollment,
    Fitting,
    Plan,
    keystroke_plan,
    train,
)

KEYS = 6
LAYOUT = Layout.keystroke(KEYS)
WAYS = tuple(Enrollment(way, 10, 40, 50, slice(80, 120)) for way in (ENROLLED, LIVE))
PLAN = Plan(repeats=1, groups=2, session=20, settled=40, enrollments=WAYS)


@pytest.fixture(scope="module")
def heads():
    """Heads of the same people, the enrolled ones fitted carefully and closely."""
    rows = [LAYOUT.expand(part) for part in generator.people(8, KEYS, samples=120, seed=8)]
    found = {}
    for name, enrolled in (("careful", Fitting(1e-1, 0)), ("close", Fitting(1e-4, 4))):
        ways = {ENROLLED: enrolled, LIVE: Fitting(1e-2, 0)}
        found[name] = train(LAYOUT, rows, replace(PLAN, fitting=ways), "t").heads
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
