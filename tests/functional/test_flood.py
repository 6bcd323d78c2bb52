"""The short form of `make flood`: every flood gets its answers, and memory stays."""

import pytest

from benchmarks import flood


@pytest.mark.slow
def test_what_is_cheap_to_send_is_cheap_to_take():
    """Every answer is one that must be given, health is told meanwhile, memory grows little."""
    found = flood.run(quick=True)
    assert len(found) > 9
    assert [(one.name, one.answers, one.unanswered) for one in found if not one.held] == []
    grown = {one.name: one.memory for one in found if one.memory > flood.MOST_MEMORY}
    assert grown == {}
