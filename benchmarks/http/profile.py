"""Profile the hot path of one operation in process, on PostgreSQL and Redis.

Prints the functions with the most time, by themselves and with what they call, and the SQL
statements of one run. The clock stands still but for a step of TOTP between runs, which nothing
has to wait for. Times are of the wall clock, with waiting for the servers, and cProfile slows
calls: they are shares of a run, not its cost.

Example: python -m benchmarks.http.profile totp --runs 50
"""

import argparse
import cProfile
import io
import pstats
import sys
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from benchmarks.http.acts import Acts
from benchmarks.http.connection import Answer, Connection
from benchmarks.http.lamina import HERE, ROLE, environment, make_client
from benchmarks.http.room import OwnRoom
from benchmarks.http.target import OPERATIONS, Lacking, Wrong
from service.app import create_app, open_container
from service.domain.clock import FrozenClock
from service.settings import load

_STEP: Final = 30
_WARM: Final = 5
_SHOWN: Final = 40
_WIDE: Final = 160


class InProcess(Connection):
    """A connection to an application in this process, profiled while `profile` is set."""

    def __init__(self, app: Any) -> None:  # noqa: ANN401 - any WSGI application
        super().__init__(0)
        self._app = app
        self.profile: cProfile.Profile | None = None

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Call the application and return its answer."""
        # The request is built before the profiler starts: a client is not the application.
        sent = Headers({**self.headers, **(headers or {})})
        builder = EnvironBuilder(path, method=method, data=body, headers=sent)
        environ = builder.get_environ()
        with self.profile or nullcontext():
            parts, status, told = run_wsgi_app(self._app, environ)
            content = b"".join(parts)
        head = f"HTTP/1.1 {status}\r\n" + "".join(f"{name}: {it}\r\n" for name, it in told)
        return Answer(int(status[:3]), head.encode("latin-1"), content)


class House:
    """A service in this process, and a person.

    Args:
        room: Where its servers and keys are.
    """

    def __init__(self, room: OwnRoom) -> None:
        self.room = room
        self.clock = FrozenClock(datetime(2026, 11, 24, tzinfo=UTC))
        found = environment(room, HERE, room.port()) | {"LAMINA_LOG_LEVEL": "error"}
        made = make_client(found, room.folder)
        own = {name: value for name, value in found.items() if name.startswith("LAMINA_")}
        self.container = open_container(load(own, room.folder / "none"), self.clock)
        self.at = InProcess(create_app(self.container))
        self.acts = Acts(made.client, made.secret, lambda: self.clock.now().timestamp())
        self._savepoints = 0
        # PostgreSQL counts a savepoint that a driver has prepared once, not at each run.
        event.listen(self.container.store.engine, "savepoint", self._note_savepoint)
        self.acts.enter(self.at)
        self.acts.persons.append(self.acts.make(self.at, 0))

    def run(self, name: str, runs: int, profile: cProfile.Profile | None) -> dict[str, float]:
        """Do an operation several times; return how often each statement came in one run."""
        operation = self.acts.operations[name]
        kept = None
        counts: dict[str, int] = {}
        for number in range(runs):
            self.clock.advance(seconds=_STEP)
            # Tokens of the client and of the person last five minutes.
            self.acts.enter(self.at)
            if operation.prepare is not None and (not operation.lasting or number % _WARM == 0):
                kept = operation.prepare(self.at, 0)
            elif operation.prepare is None:
                # What a process reads again once in some seconds is no part of a run.
                self.acts.operations["password"].run(self.at, 0, None)
            before = self.room.statements("lamina", ROLE)
            nested = self._savepoints
            self.at.profile = profile
            result = operation.run(self.at, 0, kept)
            self.at.profile = None
            kept = result if operation.lasting else None
            for query, count in self.room.statements("lamina", ROLE).items():
                if "SAVEPOINT" not in query:
                    counts[query] = counts.get(query, 0) + count - before.get(query, 0)
            for query in ("SAVEPOINT", "RELEASE SAVEPOINT"):
                counts[query] = counts.get(query, 0) + self._savepoints - nested
        return {query: count / runs for query, count in counts.items() if count}

    def _note_savepoint(self, *_about: object) -> None:
        self._savepoints += 1

    def close(self) -> None:
        """Close what holds connections."""
        self.container.store.engine.dispose()


def report(profile: cProfile.Profile, runs: int, statements: Mapping[str, float]) -> list[str]:
    """Return the lines that are printed."""
    lines = []
    for order, title in (("cumulative", "with what they call"), ("tottime", "by themselves")):
        text = io.StringIO()
        found = pstats.Stats(profile, stream=text).sort_stats(order)
        found.print_stats(_SHOWN)
        lines += [f"Functions {title}, of {runs} runs:"]
        lines += [line.replace(f"{HERE}/", "") for line in text.getvalue().splitlines() if line]
        lines.append("")
    total = sum(statements.values())
    lines.append(f"Statements of one run: {total:.1f}, transaction control included")
    for query, count in sorted(statements.items(), key=lambda item: -item[1]):
        lines.append(f"{count:6.2f}  {' '.join(query.split())[:_WIDE]}")
    return lines


def main() -> int:
    """Profile and print; return the exit code."""
    text, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.http.profile",
        description=text,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("operation", choices=OPERATIONS)
    parser.add_argument("--runs", type=int, default=50, help="runs that are profiled (50)")
    options = parser.parse_args()
    top = Path(tempfile.mkdtemp(prefix="lamina-profile-"))
    top.chmod(0o711)
    room = OwnRoom(top / "room")
    try:
        house = House(room)
        house.run(options.operation, _WARM, None)
        profile = cProfile.Profile()
        statements = house.run(options.operation, options.runs, profile)
        house.close()
    except (Lacking, Wrong) as error:
        print(f"profile: {error}", file=sys.stderr)
        return 2
    finally:
        room.close()
        top.rmdir()
    print("\n".join(report(profile, options.runs, statements)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
