"""Challenges of a capture in bulk: in time, late, of another, weaker, longer than time passed."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from biometrics.face.frames import Frame
from biometrics.face.marks import BYTES
from service.domain.errors import BadInput, VerificationFailed
from service.factors.face.model import Mode, answer, new_challenge, remember

EACH = 300
NOW = datetime(2026, 11, 25, tzinfo=UTC)


def capture(rng, span=3000.0):
    """Return twelve frames of random bytes over a span of milliseconds."""
    return [Frame(span * number / 11, rng.bytes(40)) for number in range(12)]


def outcome(challenge, named, frames, now, mode=Mode.ACTIVE):
    """Return `taken`, or why not."""
    try:
        gestures = answer(challenge, challenge_id=named, frames=frames, now=now, present=mode)
    except VerificationFailed as failed:
        return failed.reason
    except BadInput as bad:
        return bad.faults[0].code
    return "taken" if len(gestures) == 3 else "no gestures"


def test_only_the_asked_in_time_are_looked_at():
    """Of 300 each: every one in time is taken; no late, foreign, outdated or stretched one is."""
    rng = np.random.default_rng(15)
    counted = {name: Counter() for name in ("in time", "expired", "foreign", "weaker", "stretched")}
    for _ in range(EACH):
        asked, other = new_challenge(NOW, Mode.ACTIVE), new_challenge(NOW, Mode.ACTIVE)
        weak = new_challenge(NOW, Mode.PASSIVE)
        frames, named = capture(rng), asked["challenge_id"]
        prompt = NOW + timedelta(seconds=float(rng.uniform(3, 15)))
        late = NOW + timedelta(seconds=15 + float(rng.uniform(0.001, 600)))
        soon = NOW + timedelta(seconds=float(rng.uniform(0.1, 2.4)))
        counted["in time"][outcome(asked, named, frames, prompt)] += 1
        counted["expired"][outcome(asked, named, frames, late)] += 1
        counted["foreign"][outcome(other, named, frames, prompt)] += 1
        counted["weaker"][outcome(weak, weak["challenge_id"], frames[:5], prompt)] += 1
        counted["stretched"][outcome(asked, named, frames, soon)] += 1
    assert counted == {
        "in time": {"taken": EACH},
        "expired": {"challenge_expired": EACH},
        "foreign": {"face_challenge_mismatch": EACH},
        "weaker": {"challenge_outdated": EACH},
        "stretched": {"face_times": EACH},
    }


def test_no_accepted_frame_is_taken_again():
    """Of 300 captures each is new once; any frame of an earlier one spoils another."""
    rng = np.random.default_rng(16)
    seen, earlier = b"", b""
    for _ in range(EACH):
        marks = rng.bytes(12 * BYTES)
        if earlier:
            old = int(rng.integers(12)) * BYTES
            mixed = marks[: 5 * BYTES] + earlier[old : old + BYTES] + marks[6 * BYTES :]
            with pytest.raises(VerificationFailed) as refused:
                remember(seen, mixed)
            assert refused.value.reason == "face_replayed"
        seen = remember(seen, marks)
        earlier = marks
    assert len(seen) <= 1 + 560 * BYTES


def test_a_memory_of_files_is_let_go():
    """What was remembered before marks were of pixels says nothing of them, and stops nobody."""
    rng = np.random.default_rng(17)
    marks = rng.bytes(3 * BYTES)
    assert remember(rng.bytes(30 * 8), marks) == b"\x01" + marks
