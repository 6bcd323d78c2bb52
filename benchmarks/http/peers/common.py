"""What the peers share: their people, TOTP codes, and how their own programs are run."""

import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyotp

from benchmarks.http.connection import Answer, Connection
from benchmarks.http.registry import FOLDER, MARK
from benchmarks.http.target import PASSWORD, Lacking, Operation, Room, Wrong

APPS: Final = Path(__file__).parent / "apps"
DATABASE: Final = "peer"
ROLE: Final = "peer"
WORKERS: Final = "2"
ARGON2: Final = "Argon2id 19 MiB, t = 2, p = 1"
OK: Final = 200
UNAUTHORIZED: Final = 401
_SHOWN: Final = 2000


def version(peer: str, package: str) -> str:
    """Return the version of a package that the files of a peer pin."""
    for file in ("requirements.in", "package.json"):
        pinned = APPS / peer / file
        if pinned.exists():
            text = pinned.read_text("utf-8")
            found = re.search(rf"{package}(?:\[[a-z,]+\]==|==|\": \")([0-9.]+)", text)
            if found:
                return found[1]
    raise Lacking(f"{peer} pins no {package}")


def name(person: int) -> str:
    """Return the name of a person."""
    return f"person{person}"


def email(person: int) -> str:
    """Return the address of a person."""
    return f"{name(person)}@example.com"


def secret(person: int) -> str:
    """Return the TOTP secret of a person, 20 bytes in base32."""
    return base64.b32encode(hashlib.sha1(name(person).encode()).digest()).decode()  # noqa: S324 - made-up people


def code(person: int) -> str:
    """Return the TOTP code of a person at this moment: RFC 6238 with SHA-1, 30 s and 6 digits."""
    return pyotp.TOTP(secret(person)).now()


def expect(answer: Answer, what: str, *, holds: bool) -> None:
    """Raise Wrong with a status, but no body, unless what proves the answer holds."""
    if not holds:
        raise Wrong(f"{what}: {answer.status} is not the answer that proves it")


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of HTTP's basic authentication."""
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


@dataclass
class Peer:
    """A peer, but for how it is set up, started and asked.

    Attributes:
        name: As in the registry.
        about: What the output says of it.
        operations: What it can do.
        database: Name of its database, None without one.
        role: Role that it uses there.
        port: Where it is served.
        key: A secret that was drawn for this run.
    """

    name: str
    about: Mapping[str, str]
    operations: Mapping[str, Operation]
    database: str | None = DATABASE
    role: str = ROLE
    port: int = 0
    key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    _server: int = 0

    @property
    def home(self) -> Path:
        """The folder in which it is installed; raises Lacking."""
        home = FOLDER / self.name
        if not (home / MARK).is_file():
            raise Lacking(f"{self.name} is not installed: run `make bench-peers PEER={self.name}`")
        return home

    @property
    def app(self) -> Path:
        """The folder of its small application."""
        return APPS / self.name

    def environment(self) -> dict[str, str]:
        """Return what every program of a peer finds in its environment."""
        kept = ("PATH", "HOME", "LANG", "SSL_CERT_FILE")
        environment = {key: os.environ[key] for key in kept if key in os.environ}
        return environment | {
            "PYTHONDONTWRITEBYTECODE": "1",
            "NODE_ENV": "production",
            "PEER_PORT": str(self.port),
            "PEER_SECRET": self.key,
        }

    def people(self, room: Room, persons: int) -> Path:
        """Write the people as JSON for the peer's own seeding program; return the file."""
        file = room.folder / "people.json"
        people = [
            {"name": name(person), "email": email(person), "secret": secret(person)}
            for person in range(persons)
        ]
        file.write_text(json.dumps({"password": PASSWORD, "people": people}), "utf-8")
        return file

    def node(self, room: Room) -> Path:
        """Lay the application beside its packages, where node looks for them; return its folder."""
        packages = self.home / "node_modules"
        place = room.folder / "app"
        shutil.copytree(self.app, place)
        (place / "node_modules").symlink_to(packages)
        return place

    def run(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        """Run a program of the peer to its end; raises Lacking with the end of what it said."""
        ran = subprocess.run(
            command, env=dict(environment), cwd=folder, capture_output=True, check=False
        )
        if ran.returncode:
            said = (ran.stdout + ran.stderr).decode("utf-8", "replace")[-_SHOWN:]
            raise Lacking(f"{self.name}: {Path(command[0]).name} failed; it said:\n{said}")

    def serve(self, room: Room, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the server in the folder of the application."""
        self._server = room.spawn(command, environment, self.app)

    def enter(self, connection: Connection) -> None:
        """Make a new connection ready."""

    def processes(self) -> Sequence[int]:
        """Return the root process of the server."""
        return [self._server]

    def others(self) -> Mapping[str, Sequence[int]]:
        """Return no process: a peer has none beside its server."""
        return {}

    def stop(self) -> None:
        """Leave nothing outside the room."""
