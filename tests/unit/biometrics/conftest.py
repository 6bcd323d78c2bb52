"""The face engine, opened once, and people who type."""

import pytest

from biometrics.face import FaceEngine
from lab.behavior import synthetic_typing
from tests.unit.biometrics.typing_samples import KEYS, LAYOUT


@pytest.fixture(scope="session")
def engine(face_cache):
    """The face engine over the installed weights."""
    return FaceEngine.open(face_cache)


@pytest.fixture(scope="module")
def typists():
    """Return 130 samples of each of eight people."""
    return [LAYOUT.expand(rows) for rows in synthetic_typing.people(8, KEYS, samples=130, seed=3)]
