"""Lamina as a target: this checkout, or another revision of it with the same packages."""

import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Final

from benchmarks.http.acts import SCOPES, Acts, Person
from benchmarks.http.connection import Connection
from benchmarks.http.target import Lacking, Operation, Room

HERE: Final = Path(__file__).parents[2]
ROLE: Final = "lamina"
WORKERS: Final = 2
_MAKERS: Final = 4
_READY: Final = 180.0
_HIGHEST: Final = "100000000"
_COMMAND: Final = (sys.executable, "-m", "service.cli")
_Say = Callable[[str], None]


def environment(room: Room, checkout: Path, port: int) -> dict[str, str]:
    """Return the settings of a service in production, on the servers of a room.

    Bounds per minute are raised: the load comes from one client.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAMINA_")}
    url = room.postgres("lamina", ROLE).replace("postgresql://", "postgresql+psycopg://")
    found = kept | {
        "PYTHONPATH": str(checkout),
        "TMPDIR": str(room.folder),
        "LAMINA_ISSUER": "https://id.example.com",
        "LAMINA_BIND": f"127.0.0.1:{port}",
        "LAMINA_WORKERS": str(WORKERS),
        "LAMINA_DATABASE_URL": url,
        "LAMINA_REDIS_URL": room.redis(),
        "LAMINA_ROOT_KEY": f"file:{room.folder / 'keys'}",
        "LAMINA_FACE_MODELS": str(room.folder / "models"),
    }
    listed = _run(found, room.folder, "config", "--json")
    for name in names(json.loads(listed)):
        if name.startswith("LAMINA_MAX_") and name.endswith("_PER_MINUTE"):
            found[name] = _HIGHEST
    return found


def names(listed: object) -> list[str]:
    """Return the names of settings in what `lamina config --json` prints, of any revision."""
    if isinstance(listed, dict):
        own = [name for name in listed if str(name).startswith("LAMINA_")]
        return own + [name for value in listed.values() for name in names(value)]
    if isinstance(listed, list):
        return [name for value in listed for name in names(value)]
    return [listed] if isinstance(listed, str) and listed.startswith("LAMINA_") else []


def make_client(found: Mapping[str, str], folder: Path) -> Acts:
    """Make keys, the schema and a first-party client by the commands; return what it does."""
    _run(found, folder, "keys", "init")
    _run(found, folder, "db", "upgrade")
    scopes = [part for scope in SCOPES for part in ("--scope", scope)]
    made = json.loads(
        _run(found, folder, "clients", "create", "bench", *scopes, "--first-party", "--json")
    )
    return Acts(made["client_id"], made["client_secret"])


def make_persons(acts: Acts, port: int, count: int, say: _Say) -> None:
    """Register persons over HTTP, several at once."""
    own = threading.local()

    def make(number: int) -> Person:
        if not hasattr(own, "connection"):
            own.connection = Connection(port)
            acts.enter(own.connection)
        person = acts.make(own.connection, number)
        if (number + 1) % 50 == 0:
            say(f"{number + 1} of {count} persons")
        return person

    with ThreadPoolExecutor(_MAKERS) as pool:
        acts.persons.extend(pool.map(make, range(count)))


class LaminaTarget:
    """A build of ours, served by `lamina serve` and `lamina worker`.

    Args:
        revision: A revision of this repository; empty for the files that are here.
        say: Shows progress.

    Raises:
        Lacking: There is no such revision.
    """

    def __init__(self, revision: str, say: _Say) -> None:
        known = git("rev-parse", "--short", f"{revision or 'HEAD'}^{{commit}}")
        if revision and not known:
            raise Lacking(f"BASE={revision}: there is no such revision here")
        self.name = f"lamina@{revision}" if revision else "lamina"
        self.database: str | None = "lamina"
        self.role = ROLE
        self.port = 0
        self.operations: Mapping[str, Operation] = {}
        self._revision = revision
        self._say = say
        self._server = 0
        self._worker = 0
        self._acts: Acts | None = None
        self.about: Mapping[str, str] = {
            "revision": known + ("+" if not revision and git("status", "--porcelain") else ""),
            "served by": f"lamina serve (granian, {WORKERS} workers), lamina worker",
            "hash": "Argon2id, 19 MiB, t=2, p=1",
            "limits": "bounds per minute raised; /oauth2/* called from many addresses of 127/8",
        }

    def start(self, room: Room, persons: int) -> None:
        """Start it and make the persons."""
        checkout = unpacked(self._revision, room.folder / "checkout") if self._revision else HERE
        self.port = room.port()
        found = environment(room, checkout, self.port)
        self._acts = make_client(found, room.folder)
        self._server = room.spawn([*_COMMAND, "serve"], found)
        # Its own role: what it asks of the database is no part of a request.
        by_worker = room.postgres("lamina", "worker").replace("postgresql:", "postgresql+psycopg:")
        self._worker = room.spawn([*_COMMAND, "worker"], found | {"LAMINA_DATABASE_URL": by_worker})
        room.answers(self.port, "/readyz", _READY)
        make_persons(self._acts, self.port, persons, self._tell)
        self.operations = self._acts.operations

    def enter(self, connection: Connection) -> None:
        """Give a connection an access token of the client."""
        if self._acts is not None:
            self._acts.enter(connection)

    def processes(self) -> Sequence[int]:
        """Return the server."""
        return (self._server,)

    def others(self) -> Mapping[str, Sequence[int]]:
        """Return the worker."""
        return {"worker": (self._worker,)}

    def stop(self) -> None:
        """Do nothing: all of it is in the room."""

    def _tell(self, line: str) -> None:
        self._say(f"{self.name}: {line}")


def unpacked(revision: str, place: Path) -> Path:
    """Unpack the files of a revision into a folder; raises Lacking for an unknown one."""
    done = subprocess.run(["git", "archive", revision], cwd=HERE, capture_output=True, check=False)
    if done.returncode:
        raise Lacking(f"BASE={revision}: {done.stderr.decode('utf-8', 'replace').strip()}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(place, filter="data")
    return place


def git(*arguments: str) -> str:
    """Return what git says of this checkout; empty where it is none."""
    done = subprocess.run(
        ["git", *arguments], cwd=HERE, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _run(found: Mapping[str, str], folder: Path, *arguments: str) -> bytes:
    done = subprocess.run(
        [*_COMMAND, *arguments], env=dict(found), cwd=folder, capture_output=True, check=False
    )
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip()
        raise Lacking(f"lamina {' '.join(arguments[:2])}: {told}")
    return done.stdout
