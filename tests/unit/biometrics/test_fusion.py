"""Ratios add, good ones excuse two nats at most, and what is missing is never good news."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.risk.fusion import MOST_OFFSET, Availability, Share, bounded, fuse

LLRS = st.floats(-20, 20)
SHARES = st.lists(st.builds(Share, st.just("s"), LLRS, st.booleans()), max_size=6)


@pytest.mark.parametrize(
    ("shares", "total", "excused"),
    [
        ([], 0.0, 0.0),
        ([Share("a", 9.0)], 0.0, 0.0),
        ([Share("a", -3.0), Share("b", -1.0)], -4.0, 0.0),
        ([Share("a", -3.0), Share("b", 1.5)], -1.5, 1.5),
        ([Share("a", -3.0), Share("b", 5.0), Share("c", 5.0)], -1.0, 2.0),
        ([Share("a", -1.0), Share("b", 5.0)], 0.0, 1.0),
        ([Share("a", -3.0, hard=True), Share("b", 5.0)], -3.0, 0.0),
        ([Share("a", -3.0, hard=True), Share("b", -1.0), Share("c", 5.0)], -3.0, 1.0),
    ],
)
def test_the_sum_by_examples(shares, total, excused):
    """Bad news adds up; good news makes up for two nats of soft bad news and no more."""
    found = fuse(shares)
    assert (found.total, found.excused) == pytest.approx((total, excused))
    assert found.hard == any(share.hard for share in shares)


@given(SHARES, LLRS.filter(lambda value: value <= 0), st.booleans())
def test_one_more_bad_signal_never_raises_the_sum(shares, llr, hard):
    """More evidence of risk lowers the sum or leaves it."""
    assert fuse([*shares, Share("w", llr, hard)]).total <= fuse(shares).total + 1e-9


@given(SHARES)
def test_nothing_good_counts_beyond_an_excuse(shares):
    """The sum is never above 0, and at most two nats above what speaks against."""
    found = fuse(shares)
    against = sum(min(share.llr, 0.0) for share in shares)
    assert found.total <= 1e-9
    assert found.total <= against + MOST_OFFSET + 1e-9


@given(st.floats(), st.sampled_from(list(Availability)))
def test_a_ratio_is_within_its_bounds_whatever_was_said(llr, seen):
    """No number at all and every fault is the worst; the missing says nothing good."""
    found = bounded(llr, -6.0, seen)
    assert found >= -6.0
    if seen is Availability.FAULT or not math.isfinite(llr):
        assert found == -6.0
    elif seen in {Availability.NOT_OFFERED, Availability.NO_HISTORY}:
        assert found == 0.0
    elif seen is Availability.WITHHELD:
        assert found <= 0.0
    else:
        assert found == max(-6.0, llr)
