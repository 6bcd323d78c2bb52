"""Fixtures that every test may use."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.databases import Migrated

VECTORS = Path(__file__).parent / "vectors"


@pytest.fixture
def vectors() -> Callable[[str], Any]:
    """Return a reader of the frozen vectors of crypto."""
    return lambda name: json.loads((VECTORS / "crypto" / f"{name}.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory) -> Iterator["Migrated"]:
    """Databases with today's schema and no row in it."""
    from tests.databases import Migrated  # the whole service, which most unit tests never need

    kept = Migrated(tmp_path_factory.mktemp("migrated"))
    yield kept
    kept.close()
