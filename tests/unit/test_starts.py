"""Commands that are forked do what commands that begin anew do."""

import json
import os
import signal
import subprocess

import pytest

from tests import starts

SAY = "import json, os, sys\nprint(json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]))\n"
WAIT = "import sys, time\nprint('waiting', flush=True)\ntime.sleep(600)\n"


@pytest.fixture(params=[True, False])
def forks(request, monkeypatch):
    """Each way of starting."""
    if request.param and not hasattr(os, "pidfd_open"):
        pytest.skip("this system has no pidfd_open")
    monkeypatch.setattr(starts, "FORKS", request.param)
    return request.param


def test_a_command_gets_what_it_was_given(forks, tmp_path):
    """Its directory, its environment and its arguments, and nothing of a command before it."""
    for word in ("one", "two"):
        done = starts.run({word: "x"}, "--version", word, before=SAY, cwd=tmp_path)
        where, environment, arguments = json.loads(done.stdout.splitlines()[0])
        assert (where, arguments) == (str(tmp_path), ["--version", word])
        assert environment[word] == "x"
        assert {"one", "two", "PATH"} & set(environment) == {word}


@pytest.mark.parametrize(
    ("before", "arguments", "code", "said"),
    [
        ("", ["--version"], 0, ""),
        ("", ["nothing"], 2, "No such command"),
        ("raise SystemExit('ended')\n", [], 1, "ended\n"),
        ("raise SystemExit(7)\n", [], 7, ""),
        ("1 / 0\n", [], 1, "ZeroDivisionError"),
        ("import atexit\natexit.register(lambda: print('end'))\nraise SystemExit\n", [], 0, ""),
    ],
)
def test_a_command_ends_as_it_would(forks, before, arguments, code, said):
    """Exit code and errors, also where it raises; what was registered for the end is done."""
    done = starts.run(os.environ, *arguments, before=before)
    assert (done.returncode, said in done.stderr) == (code, True), done
    assert ("end\n" in done.stdout) == ("atexit" in before)


def test_a_command_is_killed_where_it_stands(forks):
    """The signal is told, and a timeout leaves it running until then."""
    process = starts.start(os.environ, before=WAIT)
    assert process.stdout.readline() == "waiting\n"
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.01)
    process.kill()
    process.communicate()
    assert process.returncode == process.poll() == -signal.SIGKILL


def test_a_program_stands_for_the_command(forks, tmp_path):
    """Outputs and exit code are those of the command; a signal reaches it."""
    place = tmp_path / "lamina"
    starts.program(place)
    environment = os.environ | {"PYTHONPATH": str(starts.ROOT)}
    done = subprocess.run([place, "nothing"], env=environment, capture_output=True, check=False)
    assert (done.returncode, b"No such command" in done.stderr) == (2, True)
    keys = environment | {"LAMINA_MODE": "development", "LAMINA_ROOT_KEY": f"file:{tmp_path}/keys"}
    subprocess.run([place, "keys", "init"], env=keys, capture_output=True, check=True)
    keys |= {"LAMINA_DATABASE_URL": f"sqlite:///{tmp_path}/lamina.db", "LAMINA_FACE_ENGINE": "off"}
    with subprocess.Popen([place, "worker"], env=keys, stderr=subprocess.PIPE) as worker:
        assert worker.stderr.readline() == b"lamina: working\n"
        worker.terminate()
    assert worker.returncode == 0
