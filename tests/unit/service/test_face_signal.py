"""The signal of a verified face: never anything for it, a nat against it at most."""

import math
from datetime import UTC, datetime
from uuid import UUID

import pytest

from service.risk.fusion import Availability
from service.risk.model import UNSAID, SignalFacts
from service.risk.signal import assess_all
from service.signals.face_passive.actions import FacePassiveSignal

CUES = {"fine": 0.01, "shine": 0.0, "color": 25.0}


def assessed(**readings):
    """Return what is settled of a flow with these readings."""
    nobody = UUID(int=0)
    facts = SignalFacts(
        subject=nobody,
        flow="f",
        client=nobody,
        segment="default",
        now=datetime(2026, 11, 24, tzinfo=UTC),
        client_context=UNSAID,
        samples={},
        shown=("face",),
        known_device=False,
        readings=readings,
    )
    return assess_all((FacePassiveSignal(),), None, facts)[0]


def test_without_a_face_it_says_nothing():
    """Never offered is 0, and named."""
    found = assessed()
    assert (found.llr, found.seen) == (0.0, Availability.NOT_OFFERED)
    assert [item.code for item in found.reasons] == ["not_offered"]


def test_what_the_distance_proves_is_told_and_adds_nothing():
    """A bound for people to read, without the distance itself."""
    found = assessed(face=CUES | {"fmr_upper": 0.00113})
    assert found.llr == 0.0
    (reason,) = found.reasons
    assert (reason.code, reason.contribution) == ("face_distance", 0.0)
    assert reason.detail == "of strangers at most 0.11% match at this distance (95 % bound)"


@pytest.mark.parametrize(
    ("changes", "llr", "codes"),
    [
        ({"color": 3.0}, -1.0, ["face_faded"]),
        ({"shine": 0.5}, -0.5, ["face_shine"]),
        ({"color": 3.0, "shine": 0.5}, -1.0, ["face_faded", "face_shine"]),
        ({"color": math.nan}, -1.0, ["face_faded"]),
    ],
)
def test_what_speaks_against_a_face_is_named(changes, llr, codes):
    """Each cue by its name and nats; all of them together within what the signal can prove."""
    found = assessed(face=CUES | changes)
    assert (found.llr, [item.code for item in found.reasons]) == (llr, codes)


def test_readings_that_are_not_whole_count_as_its_worst():
    """A fault never helps."""
    found = assessed(face={"fine": 0.1})
    assert (found.llr, found.seen) == (-1.0, Availability.FAULT)
