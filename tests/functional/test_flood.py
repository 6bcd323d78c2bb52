"""The short form of `make flood`, or a quarter of it: each flood is answered, memory stays."""

import pytest

from benchmarks import flood
from tests.depth import DEEP
from tests.starts import program


@pytest.mark.slow
def test_what_is_cheap_to_send_is_cheap_to_take(tmp_path):
    """Every answer is one that must be given, health is told meanwhile, memory grows little."""
    program(tmp_path / "lamina")
    found = flood.run(quick=True, part=1 if DEEP else 4, lamina=(str(tmp_path / "lamina"),))
    assert len(found) > 9
    assert [(one.name, one.answers, one.unanswered) for one in found if not one.held] == []
    grown = {one.name: one.memory for one in found if one.memory > flood.MOST_MEMORY}
    assert grown == {}
