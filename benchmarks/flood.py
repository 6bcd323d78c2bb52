"""Cheap requests that would cost much, against a real server: memory, health meanwhile, answers.

    python -m benchmarks.flood [--quick] [--out FILE]

Starts `lamina serve` with one worker on a free port and a database of its own, sends one flood
after the other while /healthz is asked all the time, prints a table, and ends by itself. The exit
code is 1 where memory grows by more than 64 MiB, the 99th percentile of /healthz is more than
200 ms (100 ms beside slow senders), or an answer is none of those that the flood must get.
"""

import argparse
import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

MEGA = 1024 * 1024
MOST_MEMORY = 64.0
MOST_P99 = 100.0
MOST_WAIT = 200.0
_HEAD = "{} {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{}\r\n"
_JSON = "application/json"
_OK = 200
_LAMINA = (sys.executable, "-m", "service.cli")


@dataclass
class Found:
    """What one flood did."""

    name: str
    answers: dict[str, int]
    expected: list[int]
    memory: float = 0.0
    p99: float = 0.0
    longest: float = 0.0
    asked: int = 0
    unanswered: int = 0

    @property
    def held(self) -> bool:
        """Whether every answer is one that must be given, and health was told all the time."""
        return set(self.answers) <= set(map(str, self.expected)) and not self.unanswered

    @property
    def quick(self) -> bool:
        """Whether memory and waits are within their bars."""
        most = MOST_P99 if self.name.startswith("slow") else MOST_WAIT
        return self.memory <= MOST_MEMORY and self.p99 <= most


@dataclass
class Server:
    """A service of its own."""

    place: Path
    port: int = 0
    metrics: int = 0
    token: str = ""
    process: "subprocess.Popen[bytes] | None" = None
    environment: dict[str, str] = field(default_factory=dict)
    lamina: tuple[str, ...] = _LAMINA
    """What runs the commands that make keys, database and client."""

    def start(self) -> None:
        """Make keys, database and client, and serve."""
        with socket.socket() as probe, socket.socket() as other:
            probe.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            self.port, self.metrics = probe.getsockname()[1], other.getsockname()[1]
        self.environment = os.environ | {
            "LAMINA_MODE": "development",
            "LAMINA_FACE_ENGINE": "off",
            "LAMINA_LOG_LEVEL": "error",
            "LAMINA_DATABASE_URL": f"sqlite:///{self.place / 'lamina.db'}",
            "LAMINA_ROOT_KEY": f"file:{self.place / 'keys'}",
            "LAMINA_WORKERS": "1",
            "LAMINA_BIND": f"127.0.0.1:{self.port}",
            "LAMINA_ISSUER": f"http://localhost:{self.port}",
            "LAMINA_METRICS_BIND": f"127.0.0.1:{self.metrics}",
        }
        self._run("keys", "init")
        self._run("db", "upgrade")
        made = self._run("clients", "create", "flood", "--scope", "all", "--first-party", "--json")
        command = [*_LAMINA, "serve"]
        self.process = subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not self._alive() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.token = self._token(json.loads(made))

    def worker(self) -> int:
        """Return the process that answers."""
        number = self.process.pid if self.process is not None else 0
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        return max(map(int, children))

    def memory(self) -> float:
        """Return the resident memory of the worker in MiB."""
        status = Path(f"/proc/{self.worker()}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)

    def post(self, path: str, body: bytes, *, token: bool = True) -> int:
        """Return the status of an answer; 0 where the connection ended without one."""
        headers = {"Content-Type": _JSON, "Flow-Token": "x"}
        if token:
            headers["Authorization"] = f"Bearer {self.token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request("POST", path, body, headers)
            with connection.getresponse() as answer:
                return answer.status
        except OSError:
            # An early answer to a large body can be lost with the connection.
            return 0
        finally:
            connection.close()

    def get(self, path: str, method: str = "GET", port: int = 0) -> tuple[int, bytes]:
        """Return status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=120)
        try:
            connection.request(method, path)
            with connection.getresponse() as answer:
                return answer.status, answer.read()
        finally:
            connection.close()

    def open(self, text: str) -> socket.socket:
        """Return a connection on which some text was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), 30)
        connection.sendall(text.encode())
        return connection

    def _run(self, *arguments: str) -> bytes:
        command = [*self.lamina, *arguments]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True).stdout

    def _alive(self) -> bool:
        try:
            return self.get("/healthz")[0] == _OK
        except OSError:
            return False

    def _token(self, client: dict[str, str]) -> str:
        pair = f"{client['client_id']}:{client['client_secret']}".encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(
            "POST",
            "/oauth2/token",
            "grant_type=client_credentials",
            {
                "Authorization": f"Basic {base64.b64encode(pair).decode()}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        with connection.getresponse() as answer:
            token = json.loads(answer.read())["access_token"]
        connection.close()
        return str(token)


@contextmanager
def watched(server: Server, found: Found) -> Iterator[None]:
    """Ask /healthz and the memory of the worker all the time."""
    ended = threading.Event()
    waits: list[float] = []
    before = server.memory()
    peak = [before]

    def ask() -> None:
        while not ended.is_set():
            begun = time.perf_counter()
            try:
                found.unanswered += server.get("/healthz")[0] != _OK
            except OSError:
                found.unanswered += 1
            waits.append((time.perf_counter() - begun) * 1000)
            ended.wait(0.02)

    def weigh() -> None:
        while not ended.wait(0.02):
            peak[0] = max(peak[0], server.memory())

    threads = [threading.Thread(target=ask), threading.Thread(target=weigh)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    waits.sort()
    found.asked, found.longest = len(waits), waits[-1]
    found.p99 = waits[int(len(waits) * 0.99)] if len(waits) > 1 else waits[0]
    found.memory = peak[0] - before


def slow(server: Server, text: str, drip: str, *, many: int, seconds: float) -> Counter[str]:
    """Send many requests a byte at a time, and return how each ended."""
    ends: Counter[str] = Counter()
    with ExitStack() as stack:
        opened = [stack.enter_context(server.open(text)) for _ in range(many)]
        deadline = time.monotonic() + seconds
        while opened and time.monotonic() < deadline:
            time.sleep(1.0)
            opened = [one for one in opened if _dripped(one, drip, ends)]
        ends["held"] += len(opened)
    return +ends


def _dripped(connection: socket.socket, drip: str, ends: Counter[str]) -> bool:
    connection.setblocking(False)
    try:
        answer = connection.recv(64)
        ends[answer.split(b" ")[1].decode() if answer else "0"] += 1
    except BlockingIOError:
        try:
            connection.send(drip.encode())
        except OSError:
            ends["0"] += 1
            return False
        return True
    except OSError:
        ends["0"] += 1
    return False


def floods(server: Server, *, quick: bool, part: int = 1) -> Iterator[Found]:
    """Send one flood after the other, or a part of what the form sends."""
    many, large, invented = (60, 4, 500) if quick else (300, 16, 10_000)
    many, large, invented = many // part, large // part, invented // part
    act = "/v1/flows/x/actions/password"
    head = _HEAD.format("POST", "/oauth2/token", "Content-Length: 60000\r\n")
    yield _flood(
        server, "slow bodies", [408], lambda: slow(server, head + "{", " ", many=many, seconds=300)
    )
    if not quick:
        yield from _slower(server, many)
    size = 12 * MEGA
    half = size // 2
    picture = base64.b64encode(b"\xff" * (2 * MEGA - 64))
    bodies = {
        "nested lists": (b"[" + b"[]," * (size // 3 - 64) + b"[]]", 400),
        "depth": (b"[" * size, 400),
        "numbers": (b"[" + b"1," * (half - 64) + b"1]", 400),
        "one string": (b'{"a":"' + b"x" * (size - 64) + b'"}', 413),
        "escapes": (b'{"a":"' + b"\\u0061" * (size // 6 - 64) + b'"}', 413),
        "spaces": (b" " * (size - 2) + b"{}", 413),
        "frames": (
            b'{"frames":[' + b",".join(b'{"t":1,"image":"%s"}' % picture for _ in range(4)) + b"]}",
            404,
        ),
    }
    for name, (body, status) in bodies.items():
        yield _flood(
            server, f"12 MiB: {name}", [0, status, 503], _sent(server, act, body, large, token=True)
        )
    yield _flood(
        server,
        "12 MiB, no token",
        [0, 401],
        _sent(server, act, b"x" * size, 4 * large, token=False),
    )
    small = b"{" + b",".join(b'"%06d":1' % number for number in range(3900)) + b"}"
    yield _flood(
        server,
        "unknown members",
        [422],
        _sent(server, "/v1/subjects", small, 8 * large, token=True),
    )
    yield _flood(server, "invented methods", [404, 405], lambda: _invented(server, invented))


def _slower(server: Server, many: int) -> Iterator[Found]:
    guarded = _HEAD.format("POST", "/v1/flows", "Content-Length: 60000\r\n")
    pieces = _HEAD.format("POST", "/oauth2/token", "Transfer-Encoding: chunked\r\n")
    yield _flood(
        server,
        "slow chunks",
        [408],
        lambda: slow(server, f"{pieces}1\r\n{{\r\n", "1\r\n \r\n", many=many, seconds=30),
    )
    yield _flood(
        server,
        "slow, no token",
        [401],
        lambda: slow(server, guarded + "{", " ", many=many, seconds=30),
    )
    yield _flood(
        server,
        "slow headers",
        [0, 408],
        lambda: slow(server, "GET / HTTP/1.1\r\nX", "a", many=many, seconds=30),
    )


def _sent(
    server: Server, path: str, body: bytes, many: int, *, token: bool
) -> Callable[[], Counter[str]]:
    def send() -> Counter[str]:
        with ThreadPoolExecutor(4) as pool:
            told = pool.map(lambda _: server.post(path, body, token=token), range(many))
            return Counter(str(status) for status in told)

    return send


def _invented(server: Server, many: int) -> Counter[str]:
    before = len(server.get("/metrics", port=server.metrics)[1])
    told: Counter[str] = Counter()
    for number in range(many):
        told[str(server.get(f"/invented/{number}", f"M{number}")[0])] += 1
    if len(server.get("/metrics", port=server.metrics)[1]) - before > 64 * 1024:
        told["metrics grew"] += 1
    return told


def _flood(
    server: Server, name: str, expected: list[int], send: Callable[[], Counter[str]]
) -> Found:
    found = Found(name, {}, expected)
    with watched(server, found):
        found.answers = dict(send())
    return found


def run(*, quick: bool, part: int = 1, lamina: tuple[str, ...] = _LAMINA) -> list[Found]:
    """Return what each flood did."""
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory), lamina=lamina)
        try:
            server.start()
            for number in range(200):
                server.post("/v1/flows", b'{"kind":"login","identifier":"a%d"}' % number)
            return list(floods(server, quick=quick, part=part))
        finally:
            server.stop()


def main() -> int:
    """Print the table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = run(quick=options.quick)
    print(f"{'flood':22}{'memory MiB':>12}{'p99 ms':>9}{'longest':>9}{'asked':>7}  answers")
    for one in found:
        fails = "" if one.held and one.quick else "  FAILS"
        print(
            f"{one.name:22}{one.memory:12.1f}{one.p99:9.1f}{one.longest:9.1f}{one.asked:7}"
            f"  {one.answers}{fails}"
        )
    if options.out:
        options.out.write_text(json.dumps([asdict(one) for one in found], indent=1))
    return 0 if all(one.held and one.quick for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
