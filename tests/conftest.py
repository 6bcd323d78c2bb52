"""Fixtures that every test may use."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parent / "vectors"


@pytest.fixture
def vectors() -> Callable[[str], Any]:
    """Return a reader of the frozen vectors of crypto."""
    return lambda name: json.loads((VECTORS / "crypto" / f"{name}.json").read_text("utf-8"))
