"""The engine, opened once."""

import pytest

from biometrics.face import FaceEngine


@pytest.fixture(scope="session")
def engine(face_cache):
    """The face engine over the installed weights."""
    return FaceEngine.open(face_cache)
