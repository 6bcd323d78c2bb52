"""Databases that a test may kill: a SQLite file, and a PostgreSQL cluster of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.settings import Settings
from service.store import migrate
from service.store.engine import make_engine
from tests.lacking import lacks

USER = "postgres"


@dataclass
class Cluster:
    """A private PostgreSQL, run by an unprivileged user on a socket in its own directory."""

    binaries: Path
    directory: Path

    def run(self, program: str, *arguments: str) -> None:
        """Run one of its programs as the owner of the cluster."""
        user = USER if os.geteuid() == 0 else None
        subprocess.run(
            [self.binaries / program, *arguments],
            user=user,
            check=True,
            cwd=self.directory,
            capture_output=True,
            timeout=60,
        )

    def init(self) -> None:
        """Make the cluster; durability stays on, as killing it is the point."""
        self.run("initdb", "-D", str(self.data), "-A", "trust", "-U", "lamina", "-E", "UTF8")
        self.start()
        self.run("createdb", "-h", str(self.directory), "-U", "lamina", "lamina")

    @property
    def data(self) -> Path:
        """Return the data directory."""
        return self.directory / "data"

    @property
    def url(self) -> str:
        """Return the URL of its database."""
        return f"postgresql+psycopg://lamina@/lamina?host={self.directory}"

    def start(self) -> None:
        """Start it, recovering from whatever came before."""
        options = f"-c listen_addresses='' -k {self.directory}"
        log = str(self.directory / "log")
        self.run("pg_ctl", "-D", str(self.data), "-w", "-o", options, "-l", log, "start")

    def kill(self) -> None:
        """Stop it as a crash would: every process at once, nothing written out."""
        if (self.data / "postmaster.pid").exists():
            self.run("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop")

    def follow(self) -> "Cluster":
        """Start a stand-by of it, to which every commit is written before it counts."""
        other = Cluster(self.binaries, self.directory / "standby")
        other.directory.mkdir(mode=0o755)
        if os.geteuid() == 0:
            shutil.chown(other.directory, USER)
        host = ("-h", str(self.directory), "-U", "lamina")
        self.run("pg_basebackup", *host, "-D", str(other.data), "-R", "-X", "stream", "-c", "fast")
        other.start()
        for statement in (
            "ALTER SYSTEM SET synchronous_standby_names = '*'",
            "SELECT pg_reload_conf()",
        ):
            self.run("psql", *host, "-c", statement)
        return other


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    here = shutil.which("initdb")
    return found[-1].parent if found else Path(here).parent if here else None


@pytest.fixture
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """A private cluster that the test may kill."""
    binaries = _binaries()
    if binaries is None:
        lacks("initdb", "install the server of PostgreSQL, so that one can be killed")
    # Sockets have short paths, and the unprivileged user must reach them.
    directory = Path(f"/tmp/lamina-pg-{os.getpid()}")  # noqa: S108 - removed below
    directory.mkdir(mode=0o755)
    if os.geteuid() == 0:
        shutil.chown(directory, USER)
    made = Cluster(binaries, directory)
    try:
        made.init()
        yield made
        made.kill()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request, tmp_path) -> Settings:
    """Settings on a database that nothing else uses."""
    url = f"sqlite:///{tmp_path / 'lamina.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("cluster").url
    FileRoot.init(tmp_path / "keys", KEY_CLASSES)
    found = Settings(
        mode="development",
        database_url=url,
        root_key=f"file:{tmp_path / 'keys'}",
        log_level="error",
        face_engine="off",
        smtp_url="console:",
        sms_url="console:",
    )
    engine = make_engine(url)
    migrate.upgrade(engine)
    engine.dispose()
    return found
