"""The HTTP benchmark ends what it started: after a run, a failing target, and Ctrl-C."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.http import __main__ as program
from benchmarks.http import procs, room, turns
from benchmarks.http.target import Lacking, Operation, Wrong
from tests.lacking import lacks

ROOT = Path(__file__).parents[2]
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"%d" % sum(range(500_000))
        self.send_response(200 if self.path == "/" else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
IDLE = (sys.executable, "-c", "import time; time.sleep(600)")


def get(path):
    def run(at, _who, _kept):
        if at.get(path).status != 200:
            raise Wrong(f"GET {path}: not 200")

    return Operation(run, lasting=True)


class Small:
    """A target that is served by a process of its own, or fails to start beside one."""

    about = {"served by": "http.server"}  # noqa: RUF012 - a target's own words
    database = None
    role = ""

    def __init__(self, name, failing=""):
        self.name = name
        self.failing = failing
        self.stopped = False
        self.operations = {"healthz": get("/"), "login": get("/lost")}

    def start(self, place, persons):
        self.persons = persons
        self.port = place.port()
        self.server = place.spawn([sys.executable, "-c", SERVER, str(self.port)], os.environ)
        self.worker = place.spawn(IDLE, os.environ)
        place.answers(self.port, "/")
        if self.failing:
            raise Lacking(self.failing)

    def enter(self, connection):
        pass

    def processes(self):
        return (self.server,)

    def others(self):
        return {"worker": (self.worker,)}

    def stop(self):
        self.stopped = True


@pytest.fixture
def _signals():
    """Handlers of signals that are as they were afterwards."""
    kept = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    yield
    for sign, handler in kept.items():
        signal.signal(sign, handler)


def plan():
    return turns.Plan(
        ("login", "healthz"), rounds=2, connections=2, seconds=0.2, most=2, settle=0.3
    )


@pytest.mark.usefixtures("_signals")
def test_each_target_is_measured_and_ended(tmp_path):
    """A wrong answer costs its operation, a target that does not start itself alone."""
    targets = [Small("first"), Small("second", failing="no such program"), Small("third")]
    found, failed = program.run(targets, plan(), tmp_path)
    assert failed == {"second": "no such program"}
    assert [one.name for one in found] == ["first", "third"]
    for one in found:
        assert one.wrong == {"login": "GET /lost: not 200"}
        assert len(one.rounds["healthz"]) == 2
        # Each of two connections asks once at least, however busy the machine is.
        assert all(each.requests >= 2 for each in one.rounds["healthz"])
        assert sum(each.server for each in one.rounds["healthz"]) > 0
        assert all(each.postgres is each.statements is None for each in one.rounds["healthz"])
        assert set(one.rounds["healthz"][0].others) == {"worker"}
        assert [kind for kind, _ in one.memory] == ["server", "worker"]
    assert all(target.stopped for target in targets)
    assert not any(procs.runs(pid) for each in targets for pid in (each.server, each.worker))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_signals")
def test_nothing_is_left_where_the_first_target_fails(tmp_path):
    """There is nothing to compare with: the run ends, with its processes and files."""
    target = Small("first", failing="no such program")
    with pytest.raises(Lacking, match="no such program"):
        program.run([target, Small("second")], plan(), tmp_path)
    assert target.stopped
    assert not procs.runs(target.server)
    assert not procs.runs(target.worker)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_while_it_starts_is_named_with_its_words(tmp_path):
    """Waiting for a minute would say nothing."""
    place = room.OwnRoom(tmp_path / "room")
    place.spawn([sys.executable, "-c", "import sys; sys.exit('no licence found')"], os.environ)
    with pytest.raises(Lacking, match="no licence found"):
        place.answers(place.port(), "/")
    place.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--ops", "login,dance"), "dance is none of login"),
        (("--rounds", "0"), "must be a number from 1 to 256"),
        (("--connections", "many"), "must be a number from 1 to 256"),
        (("--peers", "nothing"), "nothing is none of privacyidea"),
        (("--base", "no-such-revision"), "there is no such revision here"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_starts(options, told):
    """The exit code is that of a usage error, and one line says what may stand there."""
    done = run(*options)
    assert done.returncode == 2
    assert told in done.stderr


def test_help_has_an_example():
    """And says what the exit codes mean."""
    text = run("--help").stdout
    assert "Example: python -m benchmarks.http" in text
    assert "Exit code:" in text


def command(*options):
    return [sys.executable, "-m", "benchmarks.http", *options]


def run(*options, **more):
    return subprocess.run(
        command(*options), cwd=ROOT, capture_output=True, text=True, check=False, **more
    )


@pytest.fixture
def _servers():
    """What the service is measured on."""
    if shutil.which("redis-server") is None:
        lacks("redis-server", "install it, so that one can be measured")
    try:
        room.binaries()
    except Lacking:
        lacks("initdb", "install the server of PostgreSQL, so that one can be measured")


@pytest.fixture
def place():
    """A folder for temporary files that a server of another user may pass through."""
    made = Path(f"/tmp/lamina-bench-test-{os.getpid()}")  # noqa: S108 - removed below
    made.mkdir(mode=0o711)
    yield made
    shutil.rmtree(made)


def left(place):
    """Return the processes whose command or directory names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            text = (entry / "cmdline").read_text("utf-8", "replace") if entry.name.isdigit() else ""
            where = str((entry / "cwd").readlink()) if entry.name.isdigit() else ""
        except OSError:
            continue
        if str(place) in text + where:
            found.append(text)
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("_servers")
def test_the_service_is_measured_on_servers_of_its_own(place):
    """Statements, log and processor time are its own; the document has all of them."""
    out = place / "found.json"
    options = ("--quick", "--rounds", "1", "--ops", "client_credentials,totp", "--out", str(out))
    done = run(*options, env=os.environ | {"TMPDIR": str(place)})
    assert (done.returncode, done.stderr[-2000:] if done.returncode else "") == (0, "")
    found = json.loads(out.read_text("utf-8"))["targets"]["lamina"]
    once = found["operations"]["totp"]["rounds"][0]
    assert once["requests"] == 16
    assert once["statements"] > 1
    assert once["commits"] >= 1
    assert min(once["server"], once["wal"], once["p50"]) > 0
    token = found["operations"]["client_credentials"]["rounds"][0]
    assert token["requests"] > 8
    assert {one["of"] for one in found["memory"]} == {"server", "worker"}
    assert done.stdout.splitlines()[0].split()[:3] == ["operation", "target", "req/s"]
    assert left(place) == []
    assert list(place.iterdir()) == [out]


@pytest.mark.slow
@pytest.mark.usefixtures("_servers")
@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing(place, sign, code):
    """Servers of the database, which have a session of their own, are ended, too."""
    process = subprocess.Popen(
        command("--quick", "--ops", "healthz"),
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(place)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "starting" in process.stderr.readline()
    while not any("postgres" in one for one in left(place)):
        assert process.poll() is None
    process.send_signal(sign)
    process.communicate(timeout=120)
    assert process.returncode == code
    assert left(place) == []
    assert list(place.iterdir()) == []
