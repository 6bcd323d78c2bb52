"""What `lamina serve` says before it serves, and when it does not begin at all."""

import errno
import os
import socket

import httpx
import pytest

from service.cli import serve
from service.domain.errors import LaminaError
from service.settings import Settings
from tests.functional.test_cli import lamina, ready, spawn  # noqa: F401 - fixtures
from tests.lacking import lacks
from tests.starts import run

SQLITE = "sqlite:///x.db"
POSTGRES = "postgresql+psycopg://lamina@db/lamina"


@pytest.fixture(params=["127.0.0.1", "::1"])
def taken(request):
    """An address on which another program listens, willing to share it, as the server is."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            other.bind((request.param, 0))
        except OSError:
            lacks("IPv6", "let it have ::1", optional=True)
        other.listen()
        name = f"[{request.param}]" if ":" in request.param else request.param
        yield f"{name}:{other.getsockname()[1]}"


def test_a_taken_port_is_told_before_anything_is_served(ready, taken):  # noqa: F811 - a fixture
    """One line names the address and the setting, and the exit code is 1."""
    process = spawn(ready.environment | {"LAMINA_BIND": taken}, "serve")
    output, errors = process.communicate(timeout=60)
    told = f"lamina: {taken} is in use; stop the process that listens there or set LAMINA_BIND\n"
    assert (process.returncode, output, errors) == (1, "", told)


@pytest.mark.parametrize(
    ("bind", "says"),
    [
        ("192.0.2.1:8000", "192.0.2.1:8000 is not an address of this machine; set LAMINA_BIND"),
        ("nowhere.invalid:8000", "nowhere.invalid:8000 cannot be listened on ("),
        ("127.0.0.1:65536", "127.0.0.1:65536 exceeds the highest port; set LAMINA_BIND"),
    ],
)
def test_an_address_of_another_machine_is_told(bind, says):
    """The line says what is wrong with it."""
    with pytest.raises(LaminaError) as refused:
        serve._listening(bind)
    assert refused.value.detail.startswith(says)
    assert "LAMINA_BIND" in refused.value.detail


def test_a_port_of_the_system_is_told(monkeypatch):
    """Who may not bind it reads which ports are free to all."""

    def bind(_self, _address):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", bind)
    with pytest.raises(LaminaError) as refused:
        serve._listening("127.0.0.1:80")
    assert "needs privileges; set LAMINA_BIND" in refused.value.detail


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "::1"])
def test_every_form_of_an_address_gives_one_that_the_server_takes(name):
    """A name is looked up, and brackets go."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    host, found = serve._listening(f"{name}:{port}")
    assert (host in {"127.0.0.1", "::1"}, found) == (True, port)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["localhost", "[::1]"])
def test_it_serves_on_every_form_of_an_address(ready, name):  # noqa: F811 - a fixture
    """A server answers there; a second one tells that the port is taken, and ends."""
    with socket.socket(socket.AF_INET6 if "::" in name else socket.AF_INET) as probe:
        try:
            probe.bind((name.strip("[]"), 0))
        except OSError:
            lacks("IPv6", "let it have ::1", optional=True)
        bind = f"{name}:{probe.getsockname()[1]}"
    environment = ready.environment | {"LAMINA_BIND": bind, "LAMINA_ISSUER": f"http://{bind}"}
    first = spawn(environment, "serve")
    try:
        # Its last line before it listens.
        while "serving" not in first.stderr.readline():
            assert first.poll() is None
        with httpx.Client(transport=httpx.HTTPTransport(retries=10), timeout=60) as client:
            assert client.get(f"http://{bind}/healthz").status_code == 200
        second = spawn(environment, "serve")
        told = f"lamina: {bind} is in use; stop the process that listens there or set LAMINA_BIND\n"
        assert (*second.communicate(timeout=60), second.returncode) == ("", told, 1)
    finally:
        first.terminate()
        first.communicate(timeout=60)
    assert first.returncode == 0


@pytest.mark.parametrize(
    ("changes", "workers", "says"),
    [
        ({}, 1, []),
        ({}, 2, ["without LAMINA_REDIS_URL"]),
        ({"redis_url": "redis://u:canary@127.0.0.1:1/0"}, 2, ["Redis does not answer"]),
        ({"database_url": POSTGRES}, 1, ["background work needs `lamina worker` too"]),
    ],
)
def test_what_a_server_needs_beside_it_is_told_once(changes, workers, says):
    """Redis that is away and the worker have a line each; no password is in it."""
    lines = serve._beside(Settings(**{"mode": "development"} | changes), workers)
    assert [line[: len(said)] for line, said in zip(lines, says, strict=True)] == says
    assert "canary" not in "".join(lines)


@pytest.mark.parametrize("ahead", [0, 1])
def test_metrics_do_not_take_the_port_of_the_api(settings, ahead):
    """Each worker takes a port: the API's is none of them; one line says so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "LAMINA_MODE": "development",
        "LAMINA_DATABASE_URL": settings.database_url,
        "LAMINA_ROOT_KEY": settings.root_key,
        "LAMINA_BIND": f"127.0.0.1:{port}",
        "LAMINA_METRICS_BIND": f"127.0.0.1:{port - ahead}",
    }
    done = run(environment, "serve", "--workers", "2")
    assert done.returncode == 1
    assert "one of them that of LAMINA_BIND; set LAMINA_METRICS_BIND" in done.stderr
    assert "Traceback" not in done.stderr
