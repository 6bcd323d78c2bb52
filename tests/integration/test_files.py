"""What is made on the disk can be read by its owner only; commits are on it when they return."""

import os
import stat
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from service.domain.errors import SetupError
from service.keys.ledger import Ledger
from service.store import files, migrate
from service.store.engine import make_engine


@contextmanager
def umask(value):
    """Work under a umask."""
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def wide(request):
    """Whatever the shell that starts it lets others do."""
    with umask(request.param):
        yield


def rights(place):
    """Return the rights of every file in a directory."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}


@pytest.mark.usefixtures("wide")
def test_a_new_database_is_its_owners_alone(tmp_path):
    """The file and those that SQLite keeps beside it, whatever the umask."""
    engine = make_engine(f"sqlite:///{tmp_path / 'lamina.db'}")
    migrate.upgrade(engine)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 FROM alembic_version"))
        found = rights(tmp_path)
    assert found.keys() >= {"lamina.db", "lamina.db-wal", "lamina.db-shm"}
    assert set(found.values()) == {0o600}
    engine.dispose()


def test_the_rights_of_others_to_an_old_database_are_taken_away(tmp_path):
    """An earlier release left 0644: the first connection mends it, beside files too."""
    path = tmp_path / "lamina.db"
    engine = make_engine(f"sqlite:///{path}")
    migrate.upgrade(engine)
    connection = engine.connect()
    for file in tmp_path.iterdir():
        file.chmod(0o666)
    again = make_engine(f"sqlite:///{path}")
    assert migrate.current(again) == migrate.HEAD
    assert len(rights(tmp_path)) == 3
    assert set(rights(tmp_path).values()) == {0o600}
    connection.close()
    for made in (engine, again):
        made.dispose()


def test_a_database_whose_rights_cannot_be_mended_is_refused(tmp_path, monkeypatch):
    """It belongs to somebody else: the start stops and names the file."""
    path = tmp_path / "lamina.db"
    path.touch()
    path.chmod(0o644)

    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(type(path), "chmod", refused)
    engine = make_engine(f"sqlite:///{path}")
    with pytest.raises(SetupError) as stopped:
        migrate.current(engine)
    assert stopped.value.code == "unsafe_file"
    assert "chmod 600 lamina.db" in stopped.value.detail


def test_a_database_in_memory_has_no_file():
    """Nothing is made beside it."""
    for url in ("sqlite://", "sqlite:///:memory:"):
        engine = make_engine(url)
        assert files.path_of(engine) is None
        engine.dispose()


@pytest.mark.usefixtures("wide")
def test_the_ledger_is_its_owners_alone(tmp_path):
    """A new one, and one that others could read."""
    ledger = Ledger(tmp_path / "ledger", b"k" * 32)
    ledger.append([{"kind": "erased"}])
    assert rights(tmp_path) == {"ledger": 0o600}
    (tmp_path / "ledger").chmod(0o644)
    assert len(ledger.entries()) == 1
    assert rights(tmp_path) == {"ledger": 0o600}


def test_a_commit_waits_for_the_disk(tmp_path):
    """FULL: what is forgotten after a power cut could be used again, such as a code."""
    engine = make_engine(f"sqlite:///{tmp_path / 'lamina.db'}")
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    engine.dispose()
