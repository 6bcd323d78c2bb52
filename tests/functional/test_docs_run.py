"""Every block of commands in README and docs/operations.md is run as it stands there."""

import json
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest

from service.cli import main
from tests.databases import database_url
from tests.depth import DEEP
from tests.lacking import lacks
from tests.starts import program

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "docs/operations.md", "docs/settings.md")
PLACE = "postgresql+psycopg://lamina@db/lamina"
MINE = {"lamina", "export", "id", "secret", "token", "subject", "get", "call", "code"}
NOT_HERE = {
    "docker": "it needs a daemon",
    "make": "it builds an environment of its own; the targets are checked to exist",
}
SHIM = """#!{python} -IS
import os, sys
argv = [{program!r}, *sys.argv[1:]]
if sys.argv[1:2] not in (["serve"], ["worker"]):
    os.execv(argv[0], argv)
import subprocess, time
# A service goes on until the test ends it; the next command comes when it says that it runs.
log = open(sys.argv[1] + ".log", "wb")
process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
with open({pids!r}, "a") as file:
    file.write(f"{{process.pid}}\\n")
deadline = time.monotonic() + 90
while time.monotonic() < deadline and process.poll() is None:
    text = open(log.name).read()
    if "lamina: serving" in text or "lamina: working" in text:
        sys.exit(0)
    time.sleep(0.1)
sys.exit(open(log.name).read())
"""
pytestmark = pytest.mark.slow


def blocks(name):
    """Return the kind and text of every fenced block of commands."""
    text = (ROOT / name).read_text("utf-8")
    found = re.findall(r"^```(\S*)([^\n]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(more.strip(), body) for kind, more, body in found if kind in {"sh", "bash"}]


def spans(name):
    """Return every command in running text and tables."""
    text = (ROOT / name).read_text("utf-8")
    text = " ".join(re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL).split())
    return sorted(set(re.findall(r"`(lamina [^`]+)`", text)))


class Deployment:
    """A deployment in a directory of its own, with the command on the path."""

    def __init__(self, directory, url):
        self.directory = directory
        self.pids = directory / "pids"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        shim, itself = directory / "bin" / "lamina", directory / "itself"
        program(itself)
        shim.parent.mkdir()
        words = {"python": sys.executable, "program": str(itself), "pids": str(self.pids)}
        shim.write_text(SHIM.format(**words))
        shim.chmod(stat.S_IRWXU)
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("LAMINA_")
        } | {
            "PATH": f"{shim.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "LAMINA_DATABASE_URL": url,
            "LAMINA_FACE_ENGINE": "off",
            "LAMINA_LOG_LEVEL": "error",
            "LAMINA_BIND": f"127.0.0.1:{self.port}",
            "LAMINA_MODE": "development",
            "LAMINA_LEDGER": f"file:{directory}/lamina.db.ledger",
        }

    def run(self, script, **more):
        """Run a block; every command of it must succeed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.directory,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout

    def start(self):
        """Let a server and a worker run, and wait until the doctor sees both."""
        sqlite = self.environment["LAMINA_DATABASE_URL"].startswith("sqlite")
        self.run("lamina serve" if sqlite else "lamina serve\nlamina worker")
        fresh = 0
        for _ in range(60):
            told = self.run("lamina doctor --json || true; sleep 1")
            rows = {row["check"]: row for row in json.loads(told)}
            age = re.search(r"heartbeat is (\d+) s old", rows["worker"]["told"])
            # The lease of one that was ended counts for a while: it must be renewed meanwhile.
            fresh = fresh + 1 if age and int(age[1]) <= 2 and rows["serving"]["ok"] else 0
            if fresh == 2:
                return
        raise AssertionError(told)

    def stop(self):
        """End what was started, by its id."""
        for line in self.pids.read_text().split() if self.pids.exists() else ():
            try:
                os.killpg(int(line), 15)
                _gone(int(line))
            except ProcessLookupError:
                continue
        self.pids.unlink(missing_ok=True)


def _gone(pid):
    import time

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.killpg(pid, 9)


@pytest.fixture(params=["sqlite", "postgresql"])
def deployment(request, tmp_path):
    """A deployment with keys, schema and a client, of which nothing runs yet."""
    with database_url(request.param, tmp_path) as url:
        made = Deployment(tmp_path, url)
        yield made
        made.stop()


def missing(body):
    """Return what a block needs that is not here, or that is not run here."""
    words = set()
    for line in body.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\|\||[|;]", line):
            name = (part.split() or [""])[0]
            if re.fullmatch(r"[a-z][\w-]*", name):
                words.add(name)
    return sorted(it for it in words - MINE if it in NOT_HERE or not _known(it))


def _known(name):
    shell = subprocess.run(
        ["bash", "-c", f"type -t {shlex.quote(name)}"], check=False, capture_output=True
    )
    return shell.returncode == 0


def commands(*, postgres):
    """Return the blocks of the runbook for one kind of database, those without commands aside."""
    found = []
    for kind, body in blocks("docs/operations.md"):
        file = "lamina.db " in body or kind == "sqlite"
        if (kind == "postgresql") <= postgres and not (file and postgres):
            found.append(body)
    return found


def test_the_blocks_of_the_runbook_run(deployment, record_property):
    """In their order, on SQLite and PostgreSQL; what is not run here is named, and why."""
    postgres = "postgresql" in deployment.environment["LAMINA_DATABASE_URL"]
    deployment.run("lamina keys init\nlamina db upgrade\nlamina clients create shop --scope all")
    # The ledger begins with the first start.
    deployment.start()
    ran, not_run = [], []
    for body in commands(postgres=postgres):
        if lacking := missing(body):
            not_run.append((lacking, body))
            continue
        restoring = "pg_restore" in body or "lamina.db.new" in body
        if restoring:
            deployment.stop()
        deployment.run(body)
        if restoring:
            deployment.start()
        ran.append(body)
        if "--out export.json" in body:
            # What a restored backup does not know of.
            made = json.loads(deployment.run("lamina clients create other --json"))
            deployment.run(f"lamina clients revoke {made['client_id']}")
    record_property("not_run", not_run)
    assert {name for lacking, _ in not_run for name in lacking} <= {
        "docker",
        "pg_dump",
        "pg_restore",
    }
    assert len(ran) >= 8
    listed = json.loads(deployment.run("lamina clients list --json"))
    assert [row["name"] for row in listed] == ["shop"]


def test_the_start_of_the_readme_runs_in_production(tmp_path):
    """With an issuer in https, on PostgreSQL, as it stands there but for the place."""
    (body,) = [body for kind, body in blocks("README.md") if kind == "postgresql"]
    assert PLACE in body
    with database_url("postgresql", tmp_path) as url:
        made = Deployment(tmp_path, url)
        try:
            made.run(body.replace(PLACE, url).replace(" &", " "), LAMINA_MODE="production")
            assert "1" in made.run("lamina clients list --json | grep -c shop")
        finally:
            made.stop()


def test_the_calls_of_the_readme_work(tmp_path):
    """A person is registered, enrolls TOTP and signs in, by the very lines of the README."""
    if lacking := [name for name in ("bash", "curl") if not shutil.which(name)]:
        lacks(" and ".join(lacking), "install it, so that the lines of the README run")
    made = Deployment(tmp_path, f"sqlite:///{tmp_path}/lamina.db")
    issuer = f"http://localhost:{made.port}"
    made.environment["LAMINA_ISSUER"] = issuer
    body = "\n".join(body for kind, body in blocks("README.md") if not kind)
    body = body.replace("http://localhost:8000", issuer).replace(".venv/bin/python", sys.executable)
    if not DEEP:
        assert "sleep 30" in body
        body = body.replace("sleep 30", "sleep $((30 - $(date +%s) % 30))")  # for the next code
    try:
        made.run(
            "mkdir var; lamina keys init; lamina db upgrade\n"
            "lamina clients create dev --scope all --first-party --json > var/client.json"
        )
        made.start()
        made.run(body)
    finally:
        made.stop()
    tokens = json.loads((tmp_path / "var" / "tokens.json").read_text())
    assert tokens["access_token"], tokens


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_in_running_text_is_one(name):
    """The path leads to a command and each option is one that it takes."""
    found = spans(name)
    assert found
    for span in found:
        words, command = shlex.split(span.replace("…", "")), main
        words.pop(0)
        while words and isinstance(command, click.Group) and not words[0].startswith("-"):
            child = command.get_command(click.Context(command), words[0])
            assert child is not None, span
            command, words = child, words[1:]
        known = {option for it in command.params for option in it.opts} | {"--help", "--version"}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= known, span


def test_every_target_of_make_that_is_told_exists():
    """Documents name targets of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    more = ("CONTRIBUTING.md", "DEVELOPERS.md", "docs/benchmarks.md", "docs/testing.md")
    for name in (*DOCUMENTS, *more):
        text = (ROOT / name).read_text("utf-8")
        told = set(re.findall(r"(?:^|`|OUNT |0 )make ([a-z][a-z-]*)", text, re.MULTILINE))
        assert told <= targets, told - targets
