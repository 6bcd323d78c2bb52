"""`lamina demo`: the real service, called over HTTP as by a client service."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

import click

from service.cli.base import command, json_option, lab, show
from service.domain.errors import SetupError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from service.cli.mailbox import Mailbox

_START_SECONDS: Final = 120
_STOP_SECONDS: Final = 20


class _Step(TypedDict):
    """A step of the demo, and how it went."""

    step: str
    seen: str
    ms: float
    passed: bool


@click.command()
@json_option
@command
def demo(*, as_json: bool) -> None:
    """Create keys and a database, start the service, and sign in with every kind of factor.

    Then show refused requests and the stored ciphertexts. Everything happens in a temporary
    directory. Exit code 0 only if every step succeeded.

    Example: lamina demo
    """
    from rich.console import Console

    from service.cli.mailbox import mailbox

    rows: list[_Step] = []
    console = Console(stderr=as_json)
    with tempfile.TemporaryDirectory(prefix="lamina-demo-") as place, mailbox() as mail:
        passed = _run(Path(place), rows, console, mail)
    if as_json:
        show({"passed": passed, "steps": rows}, as_json=True)
    else:
        console.print(_table(rows))
    if not passed:
        raise SetupError("demo_failed", f"the step {rows[-1]['step']!r} failed")


def _run(place: Path, rows: list[_Step], console: "Console", mail: "Mailbox") -> bool:
    """Run all steps until one fails; return whether all passed."""
    import httpx
    import orjson

    with lab():
        from lab.demo import Scenario, Unexpected

    environment = _environment(place, mail.port)

    def step(name: str, act: Callable[[], str]) -> bool:
        started = time.perf_counter()
        with console.status(name):
            try:
                seen = act()
                passed = True
            except (Unexpected, SetupError, httpx.HTTPError) as error:
                seen = getattr(error, "detail", str(error))
                passed = False
        spent = round((time.perf_counter() - started) * 1000, 1)
        rows.append({"step": name, "seen": seen, "ms": spent, "passed": passed})
        return passed

    made: dict[str, str] = {}

    def client() -> str:
        flags = ("clients", "create", "demo", "--scope", "all", "--first-party", "--json")
        made.update(orjson.loads(_lamina(environment, *flags)))
        return f"client {made['client_id'][:8]}…, its secret shown once"

    prepared = (
        ("Create root key files", lambda: _lamina(environment, "keys", "init")),
        ("Migrate SQLite", lambda: _lamina(environment, "db", "upgrade")),
        ("Register a client service", client),
    )
    if not all(step(name, act) for name, act in prepared):
        return False
    with _server(place, environment) as (url, server):
        if not step("Start the service", lambda: _wait(url, server)):
            return False
        with httpx.Client(base_url=url, timeout=60) as http:
            scenario = Scenario(
                http=http,
                client_id=made["client_id"],
                secret=made["client_secret"],
                database=place / "lamina.db",
                letters=mail.letters,
            )
            return all(step(name, act) for name, act in scenario.steps())


def _environment(place: Path, mail: int) -> dict[str, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    inherited = {name: value for name, value in _inherited() if not name.startswith("LAMINA_")}
    return inherited | {
        "LAMINA_MODE": "development",
        "LAMINA_DATABASE_URL": f"sqlite:///{place / 'lamina.db'}",
        "LAMINA_ROOT_KEY": f"file:{place / 'keys'}",
        "LAMINA_BIND": f"127.0.0.1:{port}",
        "LAMINA_ISSUER": f"http://localhost:{port}",
        "LAMINA_LOG_LEVEL": "warning",
        "LAMINA_SMTP_URL": f"smtp://127.0.0.1:{mail}?tls=off",
        "LAMINA_SMTP_FROM": "no-reply@lamina.example",
    }


def _inherited() -> list[tuple[str, str]]:
    return list(os.environ.items())  # noqa: TID251 - handed on to the processes it starts, not read


def _lamina(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - this very program
        [sys.executable, "-m", "service.cli", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SetupError("command_failed", (done.stderr or done.stdout).strip())
    return done.stdout.strip()


@contextmanager
def _server(
    place: Path, environment: dict[str, str]
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run `lamina serve` and stop it afterwards; yield its URL and its process."""
    with (place / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve"], env=environment, stdout=log, stderr=log
        )
        try:
            yield f"http://{environment['LAMINA_BIND']}", process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(url: str, server: "subprocess.Popen[bytes]") -> str:
    import httpx

    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=20).status_code == httpx.codes.OK:
                return f"ready on {url}"
        except httpx.HTTPError:
            time.sleep(0.1)
    if server.poll() is not None:
        raise SetupError("not_ready", f"the service ended with exit code {server.returncode}")
    raise SetupError("not_ready", f"the service was not ready within {_START_SECONDS} s")


def _table(rows: list[_Step]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name, justify in (("", "left"), ("step", "left"), ("ms", "right"), ("seen", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]  # rich's literal
    for row in rows:
        mark = "[green]ok[/]" if row["passed"] else "[red]FAILED[/]"
        table.add_row(mark, row["step"], f"{row['ms']:.0f}", row["seen"])
    return table
