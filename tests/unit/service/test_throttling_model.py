"""How long to wait after how many failures (SP 800-63B-4 section 3.2.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.throttling.model import Counter, delay, free, limit


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        (0, 0),
        (1, 0),
        (4, 0),
        (5, 30),
        (6, 60),
        (7, 120),
        (8, 240),
        (9, 480),
        (10, 960),
        (11, 1920),
        (12, 3600),
        (13, 3600),
        (99, 3600),
    ],
)
def test_the_wait_doubles_to_an_hour(failures, seconds):
    """Four failures are free; the fifth waits 30 seconds, and each further one twice as long."""
    assert delay(failures) == seconds


@given(st.integers(0, 10**9))
def test_a_further_failure_never_waits_less(failures):
    """The wait only grows, and never beyond an hour."""
    assert 0 <= delay(failures) <= delay(failures + 1) <= 3600


def test_a_counter_is_off_at_its_limit():
    """100 failures in a row end a factor, and 50 end a biometric."""
    assert limit(Counter.KNOWLEDGE) == limit(Counter.OTHER) == 100
    assert limit(Counter.FACE) == 50


def test_a_face_that_was_told_to_move_has_twice_as_many():
    """Ten free and a hundred in all, until the row holds one that was not."""
    assert (limit(Counter.LIVE_FACE), free(Counter.LIVE_FACE, strict=False)) == (100, 10)
    assert free(Counter.LIVE_FACE, strict=True) == free(Counter.FACE, strict=True) == 5
    assert [delay(failures, 10) for failures in (9, 10, 11, 99)] == [0, 30, 60, 3600]
    assert Counter.LIVE_FACE.column == Counter.FACE.column == "face"
