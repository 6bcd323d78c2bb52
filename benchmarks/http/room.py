"""The place of one target: a folder, ports, and a PostgreSQL and a Redis of its own.

Servers of its own make the figures exact where a database server is shared with other work: its
whole processor time, log (WAL) and statements are the target's.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from benchmarks.http import procs
from benchmarks.http.connection import Connection
from benchmarks.http.target import Lacking

_OWNER: Final = "postgres"
"""The system's user that PostgreSQL runs as, which refuses to run as root."""
_PATIENCE: Final = 30.0
_SHORT: Final = 0.05
_SHOWN: Final = 2000
_OK: Final = 200
# A checkpoint in one target's turn would be charged to it alone: none falls into a short run.
_OPTIONS: Final = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_preload_libraries=pg_stat_statements",
    "pg_stat_statements.track_utility=on",
    "checkpoint_timeout=1h",
)
_COUNTED: Final = """
SELECT coalesce(sum(calls) FILTER (WHERE NOT control), 0)::bigint,
       coalesce(sum(calls) FILTER (WHERE query ~* '^(COMMIT|END)'), 0)::bigint
FROM (SELECT calls, query, query ~*
             '^(BEGIN|START TRANSACTION|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE)' AS control
      FROM pg_stat_statements JOIN pg_database ON dbid = pg_database.oid
      WHERE datname = %s AND userid = %s::regrole) AS statement
"""
_STATEMENTS: Final = """
SELECT query, sum(calls)::bigint FROM pg_stat_statements
JOIN pg_database ON dbid = pg_database.oid WHERE datname = %s AND userid = %s::regrole
GROUP BY query
"""


@dataclass(frozen=True)
class Counted:
    """What a PostgreSQL has done so far.

    Attributes:
        statements: Statements of one role in one database, without transaction control.
        commits: COMMIT statements among the latter.
        wal: Bytes of log that the server has written.
        stored: Bytes of the database.
    """

    statements: int
    commits: int
    wal: int
    stored: int


class OwnRoom:
    """A room whose processes, servers and files end with `close`.

    Args:
        place: An empty folder that other users may pass through.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._spawned: list[tuple[int, signal.Signals]] = []
        self._postgres = 0
        self._redis = 0
        self._admin: psycopg.Connection[tuple[object, ...]] | None = None
        self.postgres_process = 0
        """Process of PostgreSQL; 0 without one."""
        self.redis_process = 0
        """Process of Redis; 0 without one."""
        self.folder = place / "files"
        place.mkdir(mode=0o711)
        self.folder.mkdir(mode=0o700)

    def port(self) -> int:
        """Return a free port of 127.0.0.1."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            number: int = probe.getsockname()[1]
            return number

    def spawn(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path | None = None,
        *,
        owner: str | None = None,
        sign: signal.Signals = signal.SIGTERM,
    ) -> int:
        """Start a process that is ended with the room; return its id.

        It has a session of its own, so that Ctrl-C reaches the benchmark alone, which ends it.
        """
        with (self._place / f"log-{len(self._spawned)}").open("wb") as log:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=folder or self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=owner,
            )
        # Waited for by `procs.end`: without this, Python warns of each that still runs.
        process.returncode = 0
        self._spawned.append((process.pid, sign))
        return process.pid

    def answers(self, port: int, path: str, seconds: float = 60) -> None:
        """Wait until GET of a path gives 200; raises Lacking, also if a process ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._alive()
            with contextlib.suppress(OSError), closing(Connection(port)) as connection:
                if connection.get(path).status == _OK:
                    return
            time.sleep(_SHORT)
        raise Lacking(f"{path} did not answer with 200 within {seconds:g} s{self._told()}")

    def postgres(self, database: str, role: str = _OWNER) -> str:
        """Return the URL of a database on the room's own PostgreSQL, made where it is missing."""
        admin = self._admin or self._start_postgres()
        names = sql.Identifier(role), sql.Identifier(database)
        if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(names[0]))
        known = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
        if not known.fetchone():
            admin.execute(sql.SQL("CREATE DATABASE {}").format(names[1]))
        return f"postgresql://{role}@127.0.0.1:{self._postgres}/{database}"

    def redis(self) -> str:
        """Return the URL of the room's own Redis."""
        if not self._redis:
            program = shutil.which("redis-server")
            if program is None:
                raise Lacking("redis-server is not installed")
            self._redis = self.port()
            command = [program, "--port", str(self._redis), "--bind", "127.0.0.1"]
            command += ["--save", "", "--appendonly", "no"]
            self.redis_process = self.spawn(command, os.environ)
            self._listens(self._redis)
        return f"redis://127.0.0.1:{self._redis}/0"

    def counted(self, database: str, role: str) -> Counted:
        """Return what PostgreSQL has done so far for one role in one database."""
        admin = self._admin or self._start_postgres()
        statements, commits = self._row(admin.execute(_COUNTED, (database, role)))
        wal, stored = self._row(
            admin.execute(
                "SELECT pg_current_wal_insert_lsn() - '0/0', pg_database_size(%s)", (database,)
            )
        )
        return Counted(statements, commits, wal, stored)

    def statements(self, database: str, role: str) -> dict[str, int]:
        """Return how often each statement was run so far, by its text without values."""
        admin = self._admin or self._start_postgres()
        rows = admin.execute(_STATEMENTS, (database, role)).fetchall()
        return {str(query): int(str(calls)) for query, calls in rows}

    def close(self) -> None:
        """End every process, the youngest first, and remove the files."""
        if self._admin is not None:
            self._admin.close()
        for pid, sign in reversed(self._spawned):
            procs.end(pid, sign)
        self._spawned.clear()
        shutil.rmtree(self._place, ignore_errors=True)

    def _start_postgres(self) -> "psycopg.Connection[tuple[object, ...]]":
        programs = binaries()
        owner = _OWNER if os.geteuid() == 0 else None
        data = self._place / "postgres"
        data.mkdir(mode=0o700)
        if owner is not None:
            shutil.chown(data, owner)
        init = [
            str(programs / "initdb"),
            "-D",
            str(data),
            "-A",
            "trust",
            "-U",
            _OWNER,
            "-E",
            "UTF8",
        ]
        made = subprocess.run(init, user=owner, cwd=data, capture_output=True, check=False)
        if made.returncode:
            raise Lacking(f"initdb: {made.stderr.decode('utf-8', 'replace')[-_SHOWN:]}")
        self._postgres = self.port()
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(self._postgres)]
        for option in _OPTIONS:
            command += ["-c", option]
        self.postgres_process = self.spawn(
            command, os.environ, data, owner=owner, sign=signal.SIGINT
        )
        self._listens(self._postgres)
        url = f"postgresql://{_OWNER}@127.0.0.1:{self._postgres}/postgres"
        self._admin = self._connect(url)
        try:
            self._admin.execute("CREATE EXTENSION pg_stat_statements")
        except psycopg.Error as error:
            raise Lacking(f"pg_stat_statements, of PostgreSQL's contrib: {error}") from None
        return self._admin

    def _connect(self, url: str) -> "psycopg.Connection[tuple[object, ...]]":
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return psycopg.connect(url, autocommit=True)
            except psycopg.OperationalError:
                # It listens some moments before it takes connections.
                if time.monotonic() > deadline:
                    raise Lacking(f"PostgreSQL does not start{self._told()}") from None
                time.sleep(_SHORT)

    def _listens(self, port: int) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            self._alive()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(_SHORT)
        raise Lacking(f"no server listens on port {port}{self._told()}")

    def _alive(self) -> None:
        """Raise Lacking if a spawned process has ended."""
        for number, (pid, _) in enumerate(self._spawned):
            if not procs.runs(pid):
                raise Lacking(f"a process has ended{self._told(number)}")

    def _told(self, number: int = -1) -> str:
        """Return the end of what a spawned process has said, the last one's by default."""
        number = number % max(1, len(self._spawned))
        log = self._place / f"log-{number}"
        text = log.read_text("utf-8", "replace")[-_SHOWN:] if log.exists() else ""
        return f"; it said:\n{text}" if text else ""

    @staticmethod
    def _row(cursor: "psycopg.Cursor[tuple[object, ...]]") -> tuple[int, int]:
        row = cursor.fetchone()
        if row is None:
            raise Lacking("PostgreSQL gave no row")
        first, second = (int(str(value)) for value in row)
        return first, second


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs, the newest one; raises Lacking."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    here = shutil.which("initdb")
    if not found and here is None:
        raise Lacking("initdb is not installed: install the server of PostgreSQL")
    return found[-1].parent if found else Path(str(here)).parent
