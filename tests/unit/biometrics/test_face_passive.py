"""Passive cues speak against a face, a little; a distance is worth what was counted."""

import math
from itertools import pairwise

import cv2
import numpy as np
import pytest

from biometrics.face import MATCH_THRESHOLD, passive
from biometrics.face.active import Gesture
from biometrics.face.calibration import GRID, calibrated, upper
from biometrics.face.images import decode
from lab.face import portraits, synthetic

ORDER = (Gesture.LEFT, Gesture.UP, Gesture.CLOSER)
GENUINE = {"fine": 0.01, "shine": 0.0, "color": 25.0}


def printed(picture):
    """Return a picture as a print of it looks: blurred, of less contrast and color."""
    soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), picture.shape[1] / 640 * 1.2)
    soft = 60 + soft * (150 / 255)
    grey = soft.mean(axis=2, keepdims=True)
    return np.clip(grey + (soft - grey) * 0.3, 0, 255).astype(np.uint8)


def against(engine, picture):
    """Return what speaks against the face in a picture."""
    return passive.judge(engine.measure(picture).cues)


@pytest.mark.parametrize("portrait", [portraits.collins, portraits.hopper])
def test_a_print_is_spoken_against_and_its_original_is_not(engine, portrait):
    """The colors of ink are fewer; that is one nat, which is the most."""
    picture = decode(portrait())
    assert against(engine, picture) == {}
    found = against(engine, printed(picture))
    assert (list(found), passive.llr(found)) == (["faded"], -1.0)


def test_a_clean_flat_photograph_is_not_told_from_a_head(engine):
    """Of the same pixels no cue can tell: to find flatness is the task of active liveness."""
    rng = np.random.default_rng(4)
    for head in (synthetic.collins(), synthetic.collins().flat()):
        taken = synthetic.record(head, synthetic.honest(ORDER, rng), rng)
        for frame in taken[:2]:
            assert against(engine, decode(frame.image)) == {}


def test_cues_never_speak_for_a_face():
    """The best of all cues is worth nothing, and the worst of all one nat."""
    assert passive.llr(passive.judge(GENUINE)) == 0
    assert passive.llr(passive.judge({})) == 0
    worst = passive.judge({"fine": 0.0, "shine": 1.0, "color": 0.0})
    assert (sum(worst.values()), passive.llr(worst)) == (-1.5, passive.WORST)


@pytest.mark.parametrize("cue", ["shine", "color"])
def test_a_cue_that_is_no_number_counts_against(cue):
    """A NaN is not a pass."""
    assert passive.llr(passive.judge(GENUINE | {cue: math.nan})) < 0


def test_frames_are_judged_by_their_mean():
    """One dull frame among several is no finding; no frame has no cues."""
    dull = GENUINE | {"color": 5.0}
    assert passive.judge(passive.mean([GENUINE, GENUINE, dull])) == {}
    assert "faded" in passive.judge(passive.mean([dull, dull]))
    assert passive.mean([]) == {}


@pytest.mark.parametrize(("frames", "trials"), [(1, 2648), (2, 1068), (3, 706), (7, 706)])
def test_no_stranger_was_seen_at_a_distance_that_matches(frames, trials):
    """So the bound is that of none seen: three over the number of comparisons."""
    found = calibrated(MATCH_THRESHOLD, frames)
    assert (found.seen, found.trials) == (0, trials)
    assert found.upper == pytest.approx(3 / trials, rel=0.01)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_greater_distance_never_proves_more(frames):
    """The bound grows with the distance; between two of the grid the worse one counts."""
    bounds = [calibrated(distance, frames).upper for distance in np.arange(0, 0.6, 0.005)]
    assert all(one <= other for one, other in pairwise(bounds))
    assert calibrated(GRID[2] + 1e-9, frames) == calibrated(GRID[3], frames)
    for far in (0.41, 2.0, math.inf, math.nan):
        assert calibrated(far, frames).upper == 1.0


def test_the_bound_is_that_of_clopper_and_pearson():
    """Against values of their table, and where nothing was tried."""
    assert upper(0, 100) == pytest.approx(0.02951, abs=1e-5)
    assert upper(5, 100) == pytest.approx(0.10225, abs=1e-4)
    assert (upper(3, 3), upper(0, 0)) == (1.0, None)
