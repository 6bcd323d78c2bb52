"""Overload of a real server: introspection beside passwords, and three times what it can.

    python -m benchmarks.overload [--against DIR] [--seconds N] [--rounds N] [--url URL]
                                  [--out FILE]

Starts `lamina serve` with two workers, on SQLite or on databases of its own at URL, and measures

- how long an introspection takes, alone and beside 80 clients that sign in by password, and
- with password logins offered at three times the rate that was reached (each on a connection of its
  own, at fixed times, by clients that leave after 5 s): how many succeed, as a share of that rate,
  and how long the others waited for their 503.

With `--against` the same is done with the checkout in DIR, in turn.
"""

import argparse
import asyncio
import base64
import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyotp
from sqlalchemy import create_engine, make_url, text

CLIENTS = 80
TIMES = 3
LEAVES = 5.0
PASSWORD = "correct horse battery"
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_REFUSED = 503


@dataclass
class Answer:
    """A response, with the seconds that it took."""

    status: int
    seconds: float
    body: bytes = field(default=b"", repr=False)

    @property
    def json(self) -> dict[str, object]:
        """Return the JSON body."""
        found = json.loads(self.body or b"{}")
        return dict(found)


class Connection:
    """A connection that stays open from request to request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(
        self, path: str, given: str | Mapping[str, object], authorization: str, more: str = ""
    ) -> Answer:
        """Send a form, or a JSON object, and return the answer; status 0 if it broke off."""
        begun = time.perf_counter()
        body, kind = (given, _FORM) if isinstance(given, str) else (json.dumps(given), _JSON)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n{more}"
        head += f"Authorization: {authorization}\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write((head + body).encode())
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            sizes = [int(it[15:]) for it in lines if it.startswith(b"content-length:")]
            content = await reader.readexactly(sizes[0] if sizes else 0)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return Answer(0, time.perf_counter() - begun)
        if b"connection: close" in lines:
            self.close()
        return Answer(int(lines[0].split()[1]), time.perf_counter() - begun, content)

    def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Server:
    """The service of a checkout, with a client and people of its own."""

    def __init__(self, tree: Path, place: Path, url: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._tree = tree
        self._environment = os.environ | {
            "LAMINA_MODE": "development",
            "LAMINA_DATABASE_URL": url or f"sqlite:///{place / 'lamina.db'}",
            "LAMINA_ROOT_KEY": f"file:{place / 'keys'}",
            "LAMINA_FACE_ENGINE": "off",
            "LAMINA_LOG_LEVEL": "error",
            "LAMINA_BIND": f"127.0.0.1:{self.port}",
            "LAMINA_ISSUER": f"http://localhost:{self.port}",
            "LAMINA_WORKERS": "2",
            "LAMINA_MAX_FLOWS_PER_MINUTE": "1000000",
            "LAMINA_MAX_FLOWS_PER_IDENTIFIER": "1000000",
        }
        self._run("keys", "init")
        self._run("db", "upgrade")
        made = json.loads(
            self._run("clients", "create", "b", "--scope", "all", "--first-party", "--json")
        )
        pair = f"{made['client_id']}:{made['client_secret']}".encode()
        self.basic = f"Basic {base64.b64encode(pair).decode()}"
        self.bearer = self.token = ""
        self._process = subprocess.Popen(
            self._command("serve"), env=self._environment, cwd=tree, stderr=subprocess.DEVNULL
        )

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "service.cli", *arguments]

    def _run(self, *arguments: str) -> bytes:
        command = self._command(*arguments)
        return subprocess.run(
            command, check=True, stdout=subprocess.PIPE, env=self._environment, cwd=self._tree
        ).stdout

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    async def prepare(self) -> None:
        """Wait for it, register people, and sign one of them in for a token to introspect."""
        connection = Connection(self.port)
        while not (answer := await self._grant(connection)).status:  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.1)
        self.bearer = f"Bearer {answer.json['access_token']}"
        people = []
        for number in range(CLIENTS):
            body = {"identifiers": {"username": f"person{number}"}, "password": PASSWORD}
            people.append((await self._call(connection, "/v1/subjects", body)).json["id"])
        path = f"/v1/subjects/{people[0]}/authenticators"
        made = (await self._call(connection, path, {"type": "totp"})).json
        codes = pyotp.TOTP(str(made["secret"]))
        now = int(time.time())
        body = {"code": codes.at(now - 30)}
        await self._call(connection, f"{path}/{made['id']}/confirm", body)
        flow = (await self.sign_in(0, connection)).json
        act = f"/v1/flows/{flow['id']}/actions/totp"
        done = await self._call(
            connection, act, {"code": codes.at(now)}, f"Flow-Token: {flow['flow_token']}\r\n"
        )
        grant = "grant_type=urn:lamina:params:oauth:grant-type:flow"
        grant += f"&code={done.json['completion_code']}"
        answer = await connection.post("/oauth2/token", grant, self.basic)
        self.token = str(answer.json["access_token"])
        connection.close()

    async def _grant(self, connection: Connection) -> Answer:
        return await connection.post("/oauth2/token", "grant_type=client_credentials", self.basic)

    async def renew(self) -> None:
        """Get another access token of the client."""
        connection = Connection(self.port)
        self.bearer = f"Bearer {(await self._grant(connection)).json['access_token']}"
        connection.close()

    async def _call(
        self, connection: Connection, path: str, body: Mapping[str, object], more: str = ""
    ) -> Answer:
        return await connection.post(path, body, self.bearer, more)

    async def sign_in(self, number: int, connection: Connection) -> Answer:
        """Begin a flow with a password; 403 where the policy asks for more than there is."""
        action = {"name": "password", "input": {"password": PASSWORD}}
        body = {"kind": "login", "identifier": f"person{number % CLIENTS}", "action": action}
        return await self._call(connection, "/v1/flows", body)

    async def introspect(self, connection: Connection) -> Answer:
        """Introspect the token of a session; raises ValueError where it is not active."""
        answer = await connection.post("/oauth2/introspect", f"token={self.token}", self.basic)
        if answer.status != _REFUSED and not answer.json.get("active"):
            raise ValueError(f"the token was not active: {answer}")
        return answer


@dataclass
class Found:
    """What was measured of one server, a list entry for each round."""

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    beside_refused: int = 0
    passwords: list[float] = field(default_factory=list)
    capacity: list[float] = field(default_factory=list)
    goodput: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)


async def repeated(
    seconds: float, act: Callable[[Connection], Awaitable[Answer]], port: int
) -> list[Answer]:
    """Act on one connection again and again; whoever is refused waits for a second."""
    connection = Connection(port)
    found = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        found.append(await act(connection))
        if found[-1].status == _REFUSED:
            await asyncio.sleep(1.0)
    connection.close()
    return found


async def beside(server: Server, found: Found, seconds: float) -> None:
    """Introspect alone, then beside clients that sign in by password."""
    found.alone += [it.seconds for it in await repeated(seconds, server.introspect, server.port)]
    crowd = [
        repeated(seconds, partial(server.sign_in, number), server.port) for number in range(CLIENTS)
    ]
    asked, *logins = await asyncio.gather(repeated(seconds, server.introspect, server.port), *crowd)
    found.beside += [it.seconds for it in asked if it.status != _REFUSED]
    found.beside_refused += sum(it.status == _REFUSED for it in asked)
    done = [it for login in logins for it in login if good(it)]
    found.passwords.append(len(done) / seconds)


async def offered(server: Server, found: Found, seconds: float) -> None:
    """Reach what it can with few clients, then offer three times that."""
    few = [repeated(seconds, partial(server.sign_in, number), server.port) for number in range(12)]
    done = [it for login in await asyncio.gather(*few) for it in login if good(it)]
    capacity = len(done) / seconds
    found.capacity.append(capacity)
    rate = TIMES * capacity
    tasks = []
    begun = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(once(server, number)))
    answers = await asyncio.gather(*tasks)
    span = time.perf_counter() - begun
    found.answers.update("left" if it is None else str(it.status) for it in answers)
    told = [it for it in answers if it is not None]
    found.goodput.append(sum(map(good, told)) / span / capacity)
    found.refused += [it.seconds for it in told if it.status == _REFUSED]


async def once(server: Server, number: int) -> Answer | None:
    """Sign in on a connection of its own; None where the client left before the answer."""
    connection = Connection(server.port)
    try:
        return await asyncio.wait_for(server.sign_in(number, connection), LEAVES)
    except TimeoutError:
        return None
    finally:
        connection.close()


def good(answer: Answer) -> bool:
    """Return whether a password was checked: the flow goes on, or the policy asks for more."""
    return answer.status in {201, 403}


def ms(values: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return sorted(values)[int(len(values) * share)] * 1000 if values else 0.0


def told(found: Found) -> dict[str, float | dict[str, int]]:
    """Return the figures of a server."""
    return {
        "introspection alone p50 ms": ms(found.alone, 0.5),
        "introspection alone p99 ms": ms(found.alone, 0.99),
        "introspection beside p50 ms": ms(found.beside, 0.5),
        "introspection beside p99 ms": ms(found.beside, 0.99),
        "beside / alone p99": ms(found.beside, 0.99) / ms(found.alone, 0.99),
        "introspections refused": found.beside_refused,
        "passwords/s of 80 clients": statistics.median(found.passwords),
        "capacity passwords/s": statistics.median(found.capacity),
        "goodput at 3x, of capacity": statistics.median(found.goodput),
        "503 at 3x p50 ms": ms(found.refused, 0.5),
        "503 at 3x p99 ms": ms(found.refused, 0.99),
        "answers at 3x": dict(found.answers),
    }


@contextmanager
def database(url: str) -> Iterator[str]:
    """Make a database beside that of a URL, and drop it at the end; nothing for SQLite."""
    if not url:
        yield ""
        return
    name = f"lamina_overload_{secrets.token_hex(4)}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


def measure(trees: Mapping[str, Path], wanted: argparse.Namespace) -> dict[str, Found]:
    """Start a server of each checkout, and measure them in turn."""
    found = {name: Found() for name in trees}
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers: dict[str, Server] = {}
        for name, tree in trees.items():
            (place / name).mkdir()
            url = stack.enter_context(database(wanted.url))
            servers[name] = Server(tree, place / name, url)
            stack.callback(servers[name].stop)
            asyncio.run(servers[name].prepare())
        for _ in range(wanted.rounds):
            for name, server in servers.items():
                asyncio.run(server.renew())
                asyncio.run(beside(server, found[name], wanted.seconds))
                asyncio.run(offered(server, found[name], wanted.seconds))
    return found


def main() -> None:
    """Measure one checkout, or two in turn, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url", default="")
    parser.add_argument("--out", type=Path)
    wanted = parser.parse_args()
    trees = {"here": Path(__file__).parents[1]}
    if wanted.against:
        trees["against"] = wanted.against.resolve()
    shown = {name: told(it) for name, it in measure(trees, wanted).items()}
    for name, figures in shown.items():
        print(name)
        for label, value in figures.items():
            print(f"  {label:<32}{value if isinstance(value, dict) else round(value, 2)}")
    if wanted.out:
        wanted.out.write_text(json.dumps(shown, indent=1))


if __name__ == "__main__":
    main()
