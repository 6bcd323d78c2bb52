"""The engine, opened once."""

import pytest

from biometrics.face import FaceEngine


@pytest.fixture(scope="session")
def face_cache(tmp_path_factory):
    """A directory for converted weights."""
    return tmp_path_factory.mktemp("face")


@pytest.fixture(scope="session")
def engine(face_cache):
    """The face engine over the installed weights."""
    return FaceEngine.open(face_cache)
