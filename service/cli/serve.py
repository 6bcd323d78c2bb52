"""`lamina serve` and `lamina worker`: the long-running processes."""

import errno
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from service.cli.base import command, counted, prepare, settings
from service.domain.clock import SystemClock
from service.domain.errors import LaminaError

if TYPE_CHECKING:
    from service.app import Container
    from service.settings import Settings

_BACKLOG = 1024
_CONNECTIONS = 4096
_HEADER_MS = 10_000
_HEADER_BYTES = 64 * 1024
_OWNER_ONLY = 0o077
_LAST_PORT = 65_535
_TAKEN = {
    errno.EADDRINUSE: "is in use; stop the process that listens there or set {}",
    errno.EACCES: "needs privileges; set {} to a port of 1024 or above",
    errno.EADDRNOTAVAIL: "is not an address of this machine; set {}",
}


@click.command()
@click.option("--workers", type=click.IntRange(1, 256), help="Processes; default: LAMINA_WORKERS.")
@command
def serve(workers: int | None) -> None:
    """Serve the API until SIGTERM, then finish open requests.

    An empty database gets its schema first; an older schema stops the start.

    Example: LAMINA_MODE=development lamina serve
    """
    from service.app import open_container, open_key_store
    from service.settings import hand_down
    from service.telemetry import core_dumps

    core_dumps.forbid()
    os.umask(_OWNER_ONLY)
    found = settings()
    open_key_store(found, SystemClock())
    count = workers or found.workers
    host, port = _listening(found.bind)
    if found.metrics_bind:
        name, _, first = found.metrics_bind.rpartition(":")
        if port in range(int(first), int(first) + count):
            detail = f"{found.metrics_bind} takes a port for each of {counted(count, 'worker')}, "
            detail += "one of them that of LAMINA_BIND; set LAMINA_METRICS_BIND"
            raise LaminaError("port_taken", detail)
        for number in range(int(first), int(first) + count):
            _listening(f"{name}:{number}", "LAMINA_METRICS_BIND")
    prepare(found)
    # Create keys, decoy and schema once here, before several workers need them.
    container = open_container(found)
    _compare(container)
    if differing := container.comparing.lately().count:
        problem = f"{counted(differing, 'row differs', 'rows differ')} from the log"
        click.echo(f"lamina: {problem}; see: lamina audit verify --state", err=True)
    container.store.engine.dispose()
    for line in _beside(found, count):
        click.echo(f"lamina: {line}", err=True)
    with _shared(count) as shared:
        hand_down(count, shared)
        click.echo(f"lamina: serving {found.issuer} on {found.bind}", err=True)
        _serve(host, port, count)


@contextmanager
def _shared(workers: int) -> Iterator[Path | None]:
    """Create the directory in which workers share metrics and turns while they serve."""
    if workers == 1:
        yield None
        return
    try:
        made = tempfile.TemporaryDirectory(prefix="lamina-", ignore_cleanup_errors=True)
    except OSError as error:
        problem = f"no temporary directory ({error.strerror}): /metrics shows one worker at a time,"
        problem += " and each hashes as many passwords as its share of the cores"
        click.echo(f"lamina: {problem}", err=True)
        yield None
        return
    with made as place:
        yield Path(place)


def _serve(host: str, port: int, count: int) -> None:
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    # HTTP/1.1 only: timeouts exist only for its headers and idle connections.
    Granian(
        "service.wsgi:front",
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        workers=count,
        backlog=_BACKLOG,
        backpressure=_connections(),
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(_HEADER_MS, max_buffer_size=_HEADER_BYTES),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=20,
        log_access=False,
        log_level=LogLevels.error,
    ).serve()


def _listening(bind: str, setting: str = "LAMINA_BIND") -> tuple[str, int]:
    """Return the address and port to listen on; raises LaminaError if they are unusable.

    The server shares its port with any process that asks for that, even a second server, and
    notices a port in use only after reporting that it serves, so bind an exclusive socket first.
    """
    name, _, port = bind.rpartition(":")
    if int(port) > _LAST_PORT:
        raise LaminaError("port_taken", f"{bind} exceeds the highest port; set {setting}")
    try:
        found = socket.getaddrinfo(name.strip("[]"), int(port), type=socket.SOCK_STREAM)
        family, *_, address = found[0]
        with socket.socket(family) as probe:
            # Closed connections of an earlier server must not block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        problem = _TAKEN.get(
            error.errno or 0, f"cannot be listened on ({error.strerror}); set {{}}"
        )
        raise LaminaError("port_taken", f"{bind} {problem.format(setting)}") from None
    return str(address[0]), int(port)


def _beside(found: "Settings", workers: int) -> list[str]:
    """Return lines about other services that this server needs, and those unavailable."""
    from service.web import limits

    lines = []
    if workers > 1 and not found.redis_url:
        lines.append("without LAMINA_REDIS_URL each worker enforces its share of edge limits")
    if found.redis_url and not limits.reachable(found.redis_url):
        lines.append("Redis does not answer (LAMINA_REDIS_URL); until it does each worker enforces")
        lines[-1] += " its share of edge limits"
    if not found.sqlite:
        lines.append("background work needs `lamina worker` too")
    return lines


def _connections() -> int:
    """Return how many connections a worker accepts: a slow one costs only a file descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _CONNECTIONS
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(_CONNECTIONS, soft // 2)


@click.command()
@command
def worker() -> None:
    """Run background work until SIGTERM (on SQLite, `serve` does it).

    An empty database gets its schema first; an older schema stops the start.

    Example: LAMINA_DATABASE_URL=postgresql+psycopg://lamina@db/lamina lamina worker
    """
    from service.app import open_container
    from service.telemetry import core_dumps, logs

    core_dumps.forbid()
    os.umask(_OWNER_ONLY)
    found = settings()
    logs.configure(found.log_level)
    prepare(found)
    container = open_container(found)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        container.jobs.stop()
        container.key_admin.jobs.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    _compare(container)
    if found.metrics_bind:
        container.metrics.expose(found.metrics_bind, found.workers, beside=True)
    container.keys.instances.start()
    container.watch.start()
    container.key_admin.jobs.start()
    click.echo("lamina: working", err=True)
    container.jobs.loop()
    container.watch.stop()
    container.keys.instances.stop()
    sys.exit(0)


def _compare(container: "Container") -> None:
    """Compare the database with the ledger, and report the result on stderr."""
    undone = container.erasure.compare()
    if any(undone.values()):
        text = "{erased_again} erasures and {acts_repeated} other acts repeated, {acts_left} could "
        text += "not be, {sessions_ended} sessions ended"
        click.echo(f"lamina: this database was restored: {text.format(**undone)}", err=True)
    with container.store.transaction(read=True) as tx:
        found = container.memory.findings(tx)
    for item in found:
        click.echo("lamina: {what} {state}; {mend}".format(**item), err=True)
