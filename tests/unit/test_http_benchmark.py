"""The parts of the HTTP benchmark that need no load: figures, processes, connections, turns."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.http import figures, load, procs, registry, turns
from benchmarks.http.connection import Broken, Connection
from benchmarks.http.figures import Found, Round
from benchmarks.http.lamina import LaminaTarget, names
from benchmarks.http.target import OPERATIONS, Lacking, Operation

ROUND = Round(
    requests=10,
    rate=20.0,
    p50=1.0,
    p95=2.0,
    p99=3.0,
    server=4.0,
    postgres=2.0,
    redis=0.5,
    others={"worker": 1.5},
    client=0.1,
    statements=7.0,
    commits=1.0,
    wal=2048.0,
    stored=1024.0,
)


@contextmanager
def answering(*answers):
    """Serve one connection: each request gets the next answer, in pieces; the last one closes."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            taken, address = server.accept()
            heard.append(address[0])
            with taken:
                for answer in answers:
                    heard.append(taken.recv(65_536))
                    for piece in answer:
                        taken.sendall(piece)
                        time.sleep(0.01)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], heard
        thread.join()


def test_a_connection_stays_open_and_reads_any_framing():
    """Lengths, chunks and answers in pieces are read; each request is written at once."""
    sized = (
        b"HTTP/1.1 201 Created\r\nContent-Le",
        b'ngth: 7\r\nSet-Cookie: a=b; Path=/\r\n\r\n{"x":1}',
    )
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n",
    )
    early = (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",)
    with answering(sized, chunked, early) as (port, heard):
        connection = Connection(port, "127.0.0.9")
        connection.headers["X-Own"] = "1"
        first = connection.post("/a", {"k": "v"})
        assert (first.status, first.json(), first.cookies()) == (201, {"x": 1}, {"a": "b"})
        assert connection.get("/b").body == b"abcde"
        assert connection.form("/c", {"a": "b c"}).status == 204
        with pytest.raises((Broken, ConnectionError)):
            connection.get("/d")
    assert heard[0] == "127.0.0.9"
    assert heard[1].startswith(b"POST /a HTTP/1.1\r\n")
    assert b"X-Own: 1\r\n" in heard[1]
    assert heard[1].endswith(b'\r\n\r\n{"k":"v"}')
    assert b"Content-Length" not in heard[2]
    assert heard[3].endswith(b"\r\n\r\na=b+c")


def test_what_is_no_answer_is_refused():
    """A status line that is none breaks the connection, rather than a later request."""
    with answering((b"hello\r\n\r\n",)) as (port, _), pytest.raises(Broken):
        Connection(port).get("/")


def test_quantiles_are_values_that_were_seen():
    """The share that is asked for is reached, by no more than one value."""
    values = [float(number) for number in range(100, 0, -1)]
    assert [figures.quantile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [
        50,
        95,
        99,
        100,
    ]
    assert figures.quantile([7.0], 0.5) == 7.0


def test_medians_are_over_rounds_and_absent_figures_stay_absent():
    """Of what the database grew by, the mean over requests: it grows by pages."""
    rounds = [ROUND, replace(ROUND, rate=30.0, stored=0.0, requests=30), replace(ROUND, rate=22.0)]
    found = figures.medians(rounds)
    assert found["rate"] == 22.0
    assert found["others"] == {"worker": 1.5}
    assert found["stored"] == pytest.approx(2 * 1024 * 10 / 50)
    none = figures.medians([replace(ROUND, postgres=None, stored=None, others={})])
    assert (none["postgres"], none["stored"], none["others"]) == (None, None, {})
    assert ROUND.whole == 8.0


def test_ratios_are_of_the_same_round():
    """A machine that is slow in one round is slow for both."""
    ours = [replace(ROUND, server=value) for value in (1.0, 10.0, 2.0)]
    theirs = [replace(ROUND, server=value) for value in (2.0, 20.0, 4.0)]
    assert figures.ratio(ours, theirs, lambda one: one.server) == 0.5
    assert figures.ratio(ours, [replace(ROUND, server=0.0)], lambda one: one.server) is None


def example():
    """Return what was found of two targets, of which one cannot do everything."""
    ours = Found("lamina", {"hash": "x"}, {"login": [ROUND], "totp": [ROUND, ROUND]})
    ours.memory = [("server", procs.Memory("serve", 100.0, 90.0, None))]
    other = Found("other", {}, {"login": [replace(ROUND, server=8.0)]}, {"totp": "totp: 500"})
    return [ours, other]


def test_the_table_has_a_line_for_each_target_of_an_operation():
    """Ratios stand beside the other target; an operation that failed says why."""
    lines = figures.table(example())
    words = [line.split() for line in lines]
    assert words[0][:3] == ["operation", "target", "req/s"]
    assert [line[:2] for line in words[1:]] == [
        ["login", "lamina"],
        ["login", "other"],
        ["totp", "lamina"],
        ["totp", "other"],
    ]
    assert words[1][-3:] == ["-", "-", "-"]
    assert words[2][-3:] == ["1.00", "0.50", "0.67"]
    assert lines[4].endswith("WRONG: totp: 500")
    told = "\n".join(figures.remarks(example()))
    assert "RSS   100  PSS    90  USS     - MiB" in told


def test_the_document_is_json_with_medians_ratios_and_every_round():
    """Whoever compares two runs later needs the rounds themselves."""
    found = json.loads(json.dumps(figures.document(example(), {"date": "2026-11-30"})))
    assert (found["date"], found["first"]) == ("2026-11-30", "lamina")
    login = found["targets"]["other"]["operations"]["login"]
    assert login["first_over_this"] == {"rate": 1.0, "server": 0.5, "whole": pytest.approx(8 / 12)}
    assert login["medians"]["server"] == 8.0
    assert login["rounds"][0]["others"] == {"worker": 1.5}
    assert found["targets"]["other"]["wrong"] == {"totp": "totp: 500"}
    assert found["targets"]["lamina"]["memory"][0]["pss"] == 90.0


FAMILY = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
print(child.pid, flush=True)
while True: time.sleep(1)
"""


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]


def test_a_tree_is_counted_paused_and_ended_with_its_children():
    """What a child uses is its root's; one that ignores SIGTERM is ended nevertheless."""
    root = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True)
    child = int(root.stdout.readline())
    root.stdout.close()
    assert procs.tree([root.pid]) == [root.pid, child]
    before = procs.cpu([root.pid])
    deadline = time.monotonic() + 30
    while procs.cpu([root.pid]) <= before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert procs.cpu([root.pid]) > before
    seen = procs.memory(child)
    assert 0 < seen.uss <= seen.pss <= seen.rss
    procs.pause([root.pid])
    deadline = time.monotonic() + 30
    while (state(root.pid), state(child)) != ("T", "T") and time.monotonic() < deadline:
        time.sleep(0.01)
    still = procs.cpu([root.pid])
    time.sleep(0.1)
    assert procs.cpu([root.pid]) == still
    procs.end(root.pid, seconds=0.2)
    root.returncode = -signal.SIGKILL
    assert not procs.runs(root.pid)
    assert not procs.runs(child)
    assert procs.memory(child).rss is None


def test_nobody_uses_two_codes_in_one_step():
    """Who has waited longest comes first; where all have a code of this step, it waits."""
    clock = [1000.0]
    waited = []

    def wait(seconds):
        waited.append(seconds)
        clock[0] += seconds

    persons = load.Persons(3, lambda: clock[0], wait)
    # All have confirmed their TOTP by a code of step 33, which ends at 1020.
    assert persons.take(3, code=False) == [0, 1, 2]
    assert waited == []
    first = persons.take(2, code=True)
    assert (first, waited) == ([0, 1], [20.5])
    persons.used(first, code=True)
    assert persons.take(1, code=True) == [2]
    assert persons.take(2, code=True) == [2, 0]
    assert waited == [20.5, 30.0]
    with pytest.raises(ValueError, match="4 persons"):
        persons.take(4, code=False)


def test_addresses_differ():
    """Each is of loopback, and none comes twice in a run."""
    several = {load.address(number) for number in range(0, 1 << 22, 97)}
    assert len(several) == len(range(0, 1 << 22, 97))
    assert all(one.startswith("127.") for one in several)


class Serving:
    """A target in this process: what its operations do is counted in files."""

    name = "serving"

    def __init__(self, port):
        self.port = port

    def enter(self, connection):
        connection.headers["X-In"] = "1"


def job(operation, persons, **changed):
    values = {"kept": None, "connections": 2, "seconds": 0.2} | changed
    return load.Job(target=Serving(1), operation=operation, persons=persons, **values)


def test_each_person_is_used_once_where_a_run_has_its_own():
    """The slice ends when nobody is left, long before its time."""
    began = []
    made = load.run(
        job(Operation(lambda _at, _who, _kept: None), list(range(20)), seconds=60),
        lambda: began.append("start"),
        lambda: began.append("end"),
    )
    assert (len(made.waits), made.done, began) == (20, 20, ["start", "end"])
    assert made.seconds < 60


def test_what_is_prepared_for_one_run_serves_that_run():
    """Each preparation reaches the run of its person."""

    def check(_at, who, kept):
        if kept != f"for {who}":
            raise load.Wrong(f"{who} got what was {kept}")

    operation = Operation(check, lambda _at, who: f"for {who}")
    made = load.run(job(operation, list(range(7)), seconds=60), list, list)
    assert (len(made.waits), made.done) == (7, 7)


def test_a_lasting_preparation_is_handed_from_run_to_run_and_slice_to_slice():
    """Its value is what the last run returned; the first slice alone prepares."""
    operation = Operation(
        lambda at, _who, kept: kept + int(at.headers["X-In"]),
        lambda _at, who: who * 1000,
        lasting=True,
    )
    made = load.run(job(operation, [1, 2]), list, list)
    assert sum(made.kept) - 3000 == len(made.waits) > 2
    again = load.run(job(operation, [1, 2], kept=made.kept), list, list)
    assert sum(again.kept) - sum(made.kept) == len(again.waits)


def test_an_ended_slice_says_nothing_of_signals(capfd):
    """Connections that are still starting are ended by their parent, by no handler of its own."""

    def raising(*_):
        raise SystemExit(143)

    on = [True]
    # As if the parent ended it in the moment in which it is made.
    os.register_at_fork(after_in_child=lambda: on[0] and os.kill(os.getpid(), signal.SIGTERM))
    kept = signal.signal(signal.SIGTERM, raising)
    try:
        with pytest.raises(load.Wrong, match="a connection ended"):
            load.run(job(Operation(lambda *_: None), [0, 1]), list, list)
    finally:
        on[0] = False
        signal.signal(signal.SIGTERM, kept)
    assert capfd.readouterr().err == ""


def test_a_wrong_answer_ends_the_slice():
    """It is told with what was wrong, and every connection ends."""

    def check(_at, who, _kept):
        raise load.Wrong(f"sign-in of {who}: 500")

    with pytest.raises(load.Wrong, match=r"^sign-in of 0: 500$"):
        load.run(job(Operation(check), [0], connections=1), list, list)
    with pytest.raises(load.Wrong, match="ConnectionRefusedError"):
        load.run(job(Operation(lambda at, _who, _kept: at.get("/")), [0]), list, list)
    assert procs.tree([os.getpid()])[0] == os.getpid()


def test_operations_without_a_code_come_first():
    """At the start all persons have just used one."""
    target = Serving(1)
    target.operations = {
        name: Operation(lambda *_: None, code=name in {"login", "totp"}) for name in OPERATIONS
    }
    seat = turns.Seat(target, None, None, None)
    found = turns.order(OPERATIONS, [seat])
    assert found[-2:] == ["login", "totp"]
    assert sorted(found) == sorted(OPERATIONS)


def test_only_whole_installations_of_peers_count(tmp_path):
    """One that was interrupted has no mark."""
    for name in ("better-auth", "privacyidea"):
        (tmp_path / name).mkdir()
    (tmp_path / "better-auth" / registry.MARK).touch()
    assert registry.installed(tmp_path) == ["better-auth"]


def test_an_unknown_base_is_refused_before_anything_starts():
    """The line says what the caller gave."""
    with pytest.raises(Lacking, match="BASE=no-such-revision"):
        LaminaTarget("no-such-revision", print)


def test_settings_are_read_from_what_any_revision_lists():
    """Be it a list of objects or an object by name."""
    listed = [{"setting": "LAMINA_MAX_CALLS_PER_MINUTE", "value": 1}]
    assert names(listed) == ["LAMINA_MAX_CALLS_PER_MINUTE"]
    assert names({"LAMINA_BIND": "x", "more": {"LAMINA_MODE": 1}}) == ["LAMINA_BIND", "LAMINA_MODE"]
