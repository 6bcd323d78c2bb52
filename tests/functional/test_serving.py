"""The real server: slow senders stop nobody, work at hand is finished, workers are replaced."""

import os
import signal
import socket
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from tests.functional.test_cli import spawn

SLOW = b"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
HALF = (
    b"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\ngrant"
)
pytestmark = pytest.mark.slow


class Server:
    """`lamina serve` with a port of its own."""

    def __init__(self, tmp_path, *arguments, **settings):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        FileRoot.init(tmp_path / "keys", KEY_CLASSES)
        self.environment = {
            "LAMINA_MODE": "development",
            "LAMINA_DATABASE_URL": f"sqlite:///{tmp_path / 'lamina.db'}",
            "LAMINA_ROOT_KEY": f"file:{tmp_path / 'keys'}",
            "LAMINA_FACE_ENGINE": "off",
            "LAMINA_LOG_LEVEL": "error",
            "LAMINA_BIND": f"127.0.0.1:{self.port}",
            "LAMINA_ISSUER": f"http://localhost:{self.port}",
        } | settings
        self.process = spawn(self.environment, "serve", *arguments)
        self.wait()

    def get(self, path="/healthz"):
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=120)

    def wait(self):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                return self.get()
            except httpx.HTTPError:
                time.sleep(0.1)
        raise AssertionError("the server did not answer")

    def open(self, text):
        connection = socket.create_connection(("127.0.0.1", self.port), 120)
        connection.sendall(text)
        return connection

    def has_read(self, connection):
        """Tell whether the server has taken all that a connection has sent."""
        ours = (f":{self.port:04X}", f":{connection.getsockname()[1]:04X}")
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_ = line.split()
            if (local[-5:], remote[-5:]) == ours:
                return int(queues.split(":")[1], 16) == 0
        return False

    def listens(self):
        """Tell whether somebody new may come."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def workers(self):
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in task.read_text().split()]

    def end(self):
        """End it in any state; a worker that outlives its parent would keep the pipes open."""
        if self.process.poll() is None:
            workers = self.workers()
            self.process.kill()
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()


def until(holds):
    """Wait until something holds."""
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with one worker, ended in any case."""
    made = Server(tmp_path_factory.mktemp("serving"))
    yield made
    made.end()


def test_three_hundred_slow_bodies_stop_nobody(server):
    """Others are answered meanwhile; each slow one is ended with 408."""
    with ExitStack() as stack:
        slow = [stack.enter_context(server.open(SLOW)) for _ in range(300)]
        assert [server.get().status_code for _ in range(50)] == [200] * 50
        for connection in slow:
            connection.settimeout(120)
        assert {connection.recv(12) for connection in slow} == {b"HTTP/1.1 408"}


def test_what_is_at_hand_is_finished(tmp_path):
    """A request whose body is under way when SIGTERM comes is answered before the end."""
    server = Server(tmp_path)
    with server.open(HALF) as connection:
        until(lambda: server.has_read(connection))
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not server.listens())
        connection.sendall(b"_type=x")
        connection.settimeout(120)
        answer = connection.recv(12)
    code = server.process.wait(timeout=120)
    server.end()
    assert (answer, code) == (b"HTTP/1.1 401", 0)


def test_a_dead_worker_is_replaced(server):
    """The server goes on after its worker was killed."""
    before = server.workers()
    os.kill(before[-1], signal.SIGKILL)
    until(lambda: set(server.workers()) - set(before))
    assert server.wait().status_code == 200


def test_a_connection_without_a_request_ends(server):
    """Nothing, half of the headers, and HTTP/2 are closed; an idle one as well."""
    texts = (
        b"",
        b"GET /healthz HTTP/1.1\r\nX",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    with ExitStack() as stack:
        opened = [stack.enter_context(server.open(text)) for text in texts]
        ended = []
        for connection in opened:
            connection.settimeout(120)
            while connection.recv(4096):
                pass
            ended.append(connection)
    assert len(ended) == len(texts)


def test_how_attempts_end_is_told_on_the_private_address_alone(tmp_path):
    """Each worker answers there with all that it counts; a stranger reads no outcome."""
    with two_ports() as port:
        server = Server(tmp_path, "--workers", "2", LAMINA_METRICS_BIND=f"127.0.0.1:{port}")
        try:
            shown = [exposed(port + number) for number in (0, 1)]
            some = exposed(port, "?name[]=lamina_rows_differ")
            public = server.get("/metrics").text
        finally:
            server.end()
    for text in shown:
        assert families(text) >= OUTCOMES | families(public)
    assert families(public) & OUTCOMES == set()
    assert families(some) == {"lamina_rows_differ"}


@contextmanager
def two_ports():
    """Return the first of two ports that nobody else is given meanwhile."""
    while True:
        with ExitStack() as held:
            first = held.enter_context(reserved(0)).getsockname()[1]
            try:
                held.enter_context(reserved(first + 1))
            except OSError:
                continue
            yield first
            return


def reserved(port):
    """Return a socket that listens to nobody: another may listen on its port."""
    made = socket.socket()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
    except OSError:
        made.close()
        raise
    return made


def exposed(port, query=""):
    """Return what a worker shows as soon as it has started: another may answer before it."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/metrics{query}", timeout=120).text
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


OUTCOMES = {"lamina_factor_attempts", "lamina_flows", "lamina_http_requests", "lamina_token_grants"}


def families(text):
    """Return the names of what a page of metrics shows."""
    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    # When a label was first used: a worker that has answered nothing yet has no such family.
    return {name.removesuffix("_total") for name in types if not name.endswith("_created")}
