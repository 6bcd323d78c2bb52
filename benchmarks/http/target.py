"""What the HTTP benchmark asks of a service that it measures, ours or another project's.

A target is made once, started once in a room of its own, measured in turns with the others, and
stopped. The runner pauses idle targets by SIGSTOP, so a target must bear that its processes stand
still for minutes: a supervisor that ends silent workers needs a long timeout.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from benchmarks.http.connection import Connection

PASSWORD: Final = "correct horse battery staple"
"""The password of every person."""
OPERATIONS: Final = (
    "login",
    "password",
    "totp",
    "introspect",
    "client_credentials",
    "refresh",
    "sessions",
    "healthz",
)
"""The names of operations, in the order of the table."""


class Lacking(Exception):
    """Something that a target needs is not installed or did not start; says what to do."""


class Wrong(Exception):
    """An answer is not the one that proves the operation; says which, without secrets."""


@dataclass(frozen=True)
class Operation:
    """One thing that is measured over a keep-alive connection.

    Attributes:
        run: Does it once for a person, given what was prepared, and checks every answer. Returns
            what the next run on this connection gets, where `lasting`. Raises Wrong.
        prepare: Makes what a run needs, outside the measured time; must be pickled. Raises Wrong.
        lasting: True: each connection has one person and one preparation, for many runs and for
            several slices, prepared again after four minutes. False: each run has a person of its
            own, and a preparation of its own.
        code: Whether a run, or its preparation, uses the person's TOTP code of this moment. The
            runner then takes each person at most once in a step of 30 s.
    """

    run: Callable[[Connection, int, Any], Any]
    prepare: Callable[[Connection, int], Any] | None = None
    lasting: bool = False
    code: bool = False


class Room(Protocol):
    """The place of one target: a folder, servers and ports that nothing else uses."""

    @property
    def folder(self) -> Path:
        """An empty folder, removed at the end."""

    def postgres(self, database: str, role: str = "postgres") -> str:
        """Return `postgresql://ROLE@127.0.0.1:PORT/DATABASE`, on a server of this room alone.

        The first call starts the server. Creates role (a superuser) and database if they are not
        there. Statements are counted by role: a background worker gets its own.
        """

    def redis(self) -> str:
        """Return `redis://127.0.0.1:PORT/0`; the first call starts a server of this room alone."""

    def port(self) -> int:
        """Return a free port of 127.0.0.1."""

    def spawn(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None
    ) -> int:
        """Start a process that is ended with the room; return its id.

        Its output goes to a file in the room, shown if the target fails to start.
        """

    def answers(self, port: int, path: str, seconds: float = 60) -> None:
        """Wait until GET of a path gives 200; raises Lacking, also if a spawned process ended."""


class Target(Protocol):
    """A service that is measured."""

    name: str
    """Such as "lamina", "lamina@4db2cae" or "privacyidea"."""
    about: Mapping[str, str]
    """What the output says of it: version, workers, hash, what is not equal to the others."""
    database: str | None
    """Name of its database of PostgreSQL in its room, None without one; read after `start`."""
    role: str
    """Role of PostgreSQL that the server itself uses; read after `start`."""
    port: int
    """Where it is served on 127.0.0.1; read after `start`."""
    operations: Mapping[str, Operation]
    """What it can do, by the names of OPERATIONS; read after `start`."""

    def start(self, room: Room, persons: int) -> None:
        """Start the servers and make persons 0 to N - 1, each with PASSWORD and TOTP.

        Installs nothing. Raises Lacking if something is missing, Wrong if an answer is.
        """

    def enter(self, connection: Connection) -> None:
        """Make a new connection ready, outside the measured time: its token in `headers`, say."""

    def processes(self) -> Sequence[int]:
        """Return the root processes of the server; their descendants are counted with them."""

    def others(self) -> Mapping[str, Sequence[int]]:
        """Return root processes beside the server by name, such as {"worker": [...]}."""

    def stop(self) -> None:
        """Drop what is outside the room; its processes, servers and folder end by themselves."""
