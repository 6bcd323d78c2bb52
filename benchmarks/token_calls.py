"""What calls with tokens cost beside another checkout of the project, round by round.

    python -m benchmarks.token_calls DIR [--rounds N] [--url URL] [--out FILE]
    python -m benchmarks.token_calls --profile CALL [--url URL]

Two processes, one for each checkout, make each call by turns, so that a slow moment of the machine
meets both. Prints the CPU milliseconds of the application for each call, its statements, and the
ratio; DIR is a clone at the commit to compare with, and runs with the packages of this one.
"""

import argparse
import base64
import cProfile
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pyotp
from sqlalchemy import create_engine, event, make_url
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.app import create_app, open_container
from service.clients.model import SCOPES, NewClient
from service.domain.clock import FrozenClock
from service.settings import Settings
from service.store import migrate
from service.store.engine import make_engine
from service.tokens.model import FLOW_GRANT

_PASSWORD = "a long enough pass phrase"
_WARM = 3
_EACH = 20
"""Calls of a kind in a round, whose mean counts: one alone is near the tick of the clock."""
# How fast a process is depends on where its memory came to lie: each makes a part of the rounds.
_PART = 20


class Calls:
    """One person with a session, and the client that asks about it."""

    def __init__(self, place: Path, url: str) -> None:
        FileRoot.init(place / "keys", KEY_CLASSES)
        settings = Settings(
            mode="development",
            database_url=url or f"sqlite:///{place / 'lamina.db'}",
            redis_url=os.environ.get("LAMINA_TEST_REDIS_URL", ""),
            root_key=f"file:{place / 'keys'}",
            max_calls_per_minute=1_000_000,
            face_engine="off",
        )
        migrate.upgrade(make_engine(settings.database_url))
        self.clock = FrozenClock(datetime(2026, 11, 24, tzinfo=UTC))
        self.container = open_container(settings, self.clock)
        self.app = create_app(self.container)
        with self.container.store.transaction() as tx:
            new = NewClient(name="bench", scopes=tuple(SCOPES), first_party=True)
            client, secret = self.container.clients.create(tx, new)
        basic = base64.b64encode(f"{client.id}:{secret}".encode()).decode()
        self.basic = {"Authorization": f"Basic {basic}"}
        self._addresses = count(1)
        token = self._form("token", grant_type="client_credentials")["access_token"]
        self.bearer = {"Authorization": f"Bearer {token}"}
        self._sign_in()

    def _count(self, *_of: object) -> None:
        self.asked += 1

    def _sign_in(self) -> None:
        body = {"identifiers": {"username": "bench"}, "password": _PASSWORD}
        self.subject = self._json("/v1/subjects", body)["id"]
        path = f"/v1/subjects/{self.subject}/authenticators"
        added = self._json(path, {"type": "totp"})
        totp = pyotp.TOTP(added["secret"])
        now = int(self.clock.now().timestamp())
        self._json(f"{path}/{added['id']}/confirm", {"code": totp.at(now - 30)})
        act = {"name": "password", "input": {"password": _PASSWORD}}
        flow = self._json("/v1/flows", {"kind": "login", "identifier": "bench", "action": act})
        proof = {"Flow-Token": flow["flow_token"]}
        done = self._json(f"/v1/flows/{flow['id']}/actions/totp", {"code": totp.at(now)}, **proof)
        answer = self._form("token", grant_type=FLOW_GRANT, code=done["completion_code"])
        self.access, self.latest = answer["access_token"], answer["refresh_token"]

    def _json(self, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        given = Headers(self.bearer | headers)
        return self._run(EnvironBuilder(path, method="POST", json=body, headers=given))[0]

    def _form(self, path: str, **form: str) -> dict[str, Any]:
        given = Headers(self.basic)
        return self._run(
            EnvironBuilder(f"/oauth2/{path}", method="POST", data=form, headers=given)
        )[0]

    def _get(self, path: str) -> dict[str, Any]:
        return self._run(EnvironBuilder(path, headers=Headers(self.bearer)))[0]

    def _run(self, builder: EnvironBuilder) -> tuple[dict[str, Any], float]:
        environ = builder.get_environ()
        # Each from another address, as limits by address are not what is measured.
        number = next(self._addresses)
        environ["REMOTE_ADDR"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        started = time.process_time()
        answer, status, _ = run_wsgi_app(self.app, environ)
        content = b"".join(answer)
        self.spent = (time.process_time() - started) * 1000
        if status[:1] != "2":
            raise SystemExit(f"{environ['PATH_INFO']}: {status} {content.decode()}")
        value: dict[str, Any] = json.loads(content)
        return value, self.spent

    def introspection(self) -> None:
        """Introspect the access token of the person."""
        if not self._form("introspect", token=self.access)["active"]:
            raise SystemExit("the token is not active")

    def introspection_refresh(self) -> None:
        """Introspect the refresh token of the person."""
        if not self._form("introspect", token=self.latest)["active"]:
            raise SystemExit("the refresh token is not active")

    def client_credentials(self) -> None:
        """Take a token of the client itself."""
        self._form("token", grant_type="client_credentials")

    def refresh(self) -> None:
        """Exchange the refresh token for the next one."""
        answer = self._form("token", grant_type="refresh_token", refresh_token=self.latest)
        self.latest = answer["refresh_token"]

    def sessions(self) -> None:
        """List the sessions of the person."""
        if len(self._get(f"/v1/subjects/{self.subject}/sessions")["items"]) != 1:
            raise SystemExit("there is no session")

    def scopes(self) -> None:
        """Ask an authorized route that reads one row: what is left is mostly its caller."""
        self._get(f"/v1/subjects/{self.subject}/suspensions")

    def healthz(self) -> None:
        """Ask a route that reads nothing: what every request costs."""
        self._get("/healthz")

    def round(self) -> dict[str, tuple[float, float]]:
        """Make every call; return the CPU milliseconds and the statements of each."""
        found: dict[str, tuple[float, float]] = {}
        for name in NAMES:
            call: Callable[[], None] = getattr(self, name)
            spent = 0.0
            for _ in range(_EACH):
                call()
                spent += self.spent
            found[name] = spent / _EACH, self._statements(call)
        return found

    def _statements(self, call: Callable[[], None]) -> int:
        # Apart from what is timed: a listener costs time, too.
        engine = self.container.store.engine
        self.asked = 0
        event.listen(engine, "before_cursor_execute", self._count)
        try:
            call()
        finally:
            event.remove(engine, "before_cursor_execute", self._count)
        return self.asked


NAMES = (
    "introspection",
    "introspection_refresh",
    "client_credentials",
    "refresh",
    "sessions",
    "scopes",
    "healthz",
)


class _Side:
    """A process that makes the calls with the code of one checkout."""

    def __init__(self, checkout: Path, url: str) -> None:
        # This very file runs on both sides: the other checkout may not have it.
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).resolve()), "--serve", "--url", url],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def round(self) -> dict[str, tuple[float, float]]:
        """Make every call; return the CPU milliseconds and the statements of each."""
        given, told = self.process.stdin, self.process.stdout
        if given is None or told is None:
            raise SystemExit("the process has no pipes")
        given.write("\n")
        given.flush()
        line = told.readline()
        if not line:
            raise SystemExit(f"the calls ended with exit code {self.process.wait()}")
        found: dict[str, tuple[float, float]] = json.loads(line)
        return found

    def close(self) -> None:
        """End the process."""
        self.process.communicate(timeout=30)


def serve(url: str) -> None:
    """Make a round of calls for each line that is read."""
    # What a checkout logs is no result.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as place:
        calls = Calls(Path(place), url)
        for _ in sys.stdin:
            print(json.dumps(calls.round()), file=results, flush=True)
        calls.container.store.engine.dispose()


@contextmanager
def databases(server: str, number: int) -> Iterator[list[str]]:
    """Make empty databases on a server; without one, each side has a file."""
    if not server:
        yield [""] * number
        return
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    names = [f"lamina_calls_{os.getpid()}_{one}" for one in range(number)]
    with engine.connect() as connection:
        for name in names:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            yield [make_url(server).set(database=name).render_as_string(False) for name in names]
        finally:
            for name in names:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


_Found = dict[str, list[tuple[float, float]]]


def measure(here: Path, there: Path, rounds: int, server: str = "") -> tuple[_Found, _Found]:
    """Return the CPU milliseconds and statements of each call of each round, here and there."""
    found: tuple[_Found, _Found] = ({}, {})
    for done in range(0, rounds, _PART):
        with databases(server, 2) as urls:
            sides = _Side(here, urls[0]), _Side(there, urls[1])
            try:
                for number in range(min(_PART, rounds - done) + _WARM):
                    # Each goes first in every other round.
                    for turn in (0, 1) if number % 2 else (1, 0):
                        for name, spent in sides[turn].round().items():
                            if number >= _WARM:
                                found[turn].setdefault(name, []).append(spent)
            finally:
                for side in sides:
                    side.close()
        print(f"{min(done + _PART, rounds)} of {rounds} rounds", file=sys.stderr)
    return found


def profile(name: str, server: str) -> None:
    """Print where the time of a call goes."""
    with databases(server, 1) as urls, tempfile.TemporaryDirectory() as place:
        calls = Calls(Path(place), urls[0])
        call: Callable[[], None] = getattr(calls, name)
        for _ in range(50):
            call()
        profiler = cProfile.Profile(time.thread_time)
        profiler.enable()
        for _ in range(300):
            call()
        profiler.disable()
        calls.container.store.engine.dispose()
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(90)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("checkout", type=Path, nargs="?", help="a clone to compare with")
    parser.add_argument("--rounds", type=int, default=40, help="rounds of each (40)")
    parser.add_argument("--url", default="", help="a PostgreSQL server where databases may be made")
    parser.add_argument("--out", type=Path, help="write JSON here")
    parser.add_argument("--profile", choices=NAMES, help="print where the time of a call goes")
    parser.add_argument("--serve", action="store_true", help="make calls for another process")
    options = parser.parse_args()
    if options.serve:
        serve(options.url)
        return
    if options.profile:
        profile(options.profile, options.url)
        return
    here, there = Path(__file__).parents[1], options.checkout.resolve()
    mine, other = measure(here, there, options.rounds, options.url)
    steps = {}
    for name in mine:
        ms, statements = (statistics.median(each) for each in zip(*mine[name], strict=True))
        before, asked = (statistics.median(each) for each in zip(*other[name], strict=True))
        steps[name] = {
            "ms": round(ms, 3),
            "beside_ms": round(before, 3),
            "ratio": round(ms / before, 3),
            "statements": statements,
            "beside_statements": asked,
        }
        print(
            f"{name:22} {ms:7.3f} ms {statements:5.2f} statements   beside {before:7.3f} ms "
            f"{asked:5.2f}   {ms / before:.3f}x"
        )
    # A process for another checkout runs this file, and that checkout may have another `beside`.
    from benchmarks.beside import store  # noqa: PLC0415

    store(options.out, options.rounds, steps)


if __name__ == "__main__":
    main()
