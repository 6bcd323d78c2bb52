"""Commands of Lamina as processes of their own, of which not each imports the service anew.

Importing takes most commands longer than what they do. A process of tests has one helper that has
imported the service and forks: each child gets arguments, environment, directory and streams, has
a memory of its own, ends by itself and can be killed. With `CI` or `LAMINA_TEST_DEEP`, and where a
system has no `pidfd_open`, each command begins as an operator's does.

Run as `python -m tests.starts SOCKET` this is the helper, which ends with its standard input.
"""

import atexit
import functools
import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path

from tests.depth import DEEP

ROOT = Path(__file__).parents[1]
FORKS = not DEEP and hasattr(os, "pidfd_open")
MAIN = 'from service.cli import main\nmain(prog_name="lamina")\n'
# What a command imports only when it is used; the module of the server opens a database.
APART = ("service.wsgi",)
BESIDE = ("granian", "granian.http", "granian.server", "httpx", "rich.console")
_LENGTH = 8


def start(environment, *arguments, before="", cwd=None):
    """Start a command in a session of its own; return it with pipes of text, as `Popen` is.

    Args:
        environment: All of it.
        arguments: Those of `lamina`.
        before: Code to run first.
        cwd: Its directory; None: that of the tests.
    """
    import subprocess

    if FORKS:
        return _Forked(environment, arguments, before, cwd)
    code = ["-c", before + MAIN] if before else ["-m", "service.cli"]
    return subprocess.Popen(
        [sys.executable, *code, *arguments],
        env={"PYTHONPATH": str(ROOT)} | dict(environment),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(environment, *arguments, timeout=300, **more):
    """Run a command to its end; return code and outputs, as `subprocess.run` does."""
    import subprocess

    process = start(environment, *arguments, **more)
    try:
        outputs = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, *outputs)


def program(path):
    """Write the command `lamina` to a file; it takes its environment from whoever runs it."""
    if FORKS:
        # Without site-packages: it hands over what it was given, signals too, and waits.
        lines = f"""#!{sys.executable} -IS
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.starts import stand_for
stand_for({helper()!r}, sys.argv[1:])
"""
    else:
        lines = f'#!/bin/sh\nexec "{sys.executable}" -m service.cli "$@"\n'
    path.write_text(lines)
    path.chmod(0o700)


def begins_others(path):
    """Return code that lets a command begin others by such a program, as the demo does."""
    return f"import sys\nsys.executable = {str(path)!r}\n" if FORKS else ""


def hand_over(place, environment, arguments, before, cwd, streams):
    """Let the helper begin a command; return a file that tells its number and, later, its end."""
    asked = json.dumps([list(arguments), dict(environment), before, str(cwd)]).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        socket.send_fds(connection, [len(asked).to_bytes(_LENGTH, "big")], streams)
        connection.sendall(asked)
        return connection.makefile("r", 1)


def stand_for(place, arguments):
    """Let the helper begin a command, hand signals on to it, and end as it does."""
    if arguments[:2] == ["-m", "service.cli"]:
        del arguments[:2]
    asked = hand_over(place, os.environ, arguments, "", Path.cwd(), (0, 1, 2))
    number = int(asked.readline())
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda told, _frame: os.kill(number, told))
    code = result(asked)
    sys.exit(code if code >= 0 else 128 - code)


def result(asked):
    """Wait for the end of a command; return its exit code, or less than 0 for a signal."""
    with asked:
        return os.waitstatus_to_exitcode(int(asked.readline()))


class _Forked:
    """A command that the helper began; it has what the tests need of `subprocess.Popen`."""

    def __init__(self, environment, arguments, before, cwd):
        self.args = [sys.executable, "-m", "service.cli", *arguments]
        self.returncode = None
        out, err = os.pipe(), os.pipe()
        with Path(os.devnull).open() as nothing:
            streams = (nothing.fileno(), out[1], err[1])
            self._asked = hand_over(
                helper(), environment, arguments, before, cwd or Path.cwd(), streams
            )
        os.close(out[1])
        os.close(err[1])
        self.stdout, self.stderr = os.fdopen(out[0]), os.fdopen(err[0])
        self.pid = int(self._asked.readline())

    def poll(self):
        """Return the exit code, or None while it runs."""
        return self._ended(0)

    def wait(self, timeout=None):
        """Wait for its end; return the exit code."""
        import subprocess

        if self._ended(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def _ended(self, timeout):
        if self.returncode is None:
            with selectors.DefaultSelector() as waiting:
                waiting.register(self._asked, selectors.EVENT_READ)
                if waiting.select(timeout):
                    self.returncode = result(self._asked)
        return self.returncode

    def send_signal(self, number):
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self):
        """End it where it stands."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=None):
        """Read both outputs to their end and wait; return them."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(2) as pool:
            read = [pool.submit(stream.read) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except BaseException:
                self.kill()
                raise
        self.stdout.close()
        self.stderr.close()
        return tuple(each.result() for each in read)


@functools.cache
def helper():
    """Start the helper of this process of tests; return where it listens."""
    import shutil
    import subprocess
    import tempfile

    directory = tempfile.mkdtemp(prefix="lamina-starts-")
    place = f"{directory}/s"
    clean = {name: it for name, it in os.environ.items() if not name.startswith("LAMINA_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.starts", place],
        cwd=ROOT,
        env=clean,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    @atexit.register
    def end():
        process.stdin.close()
        process.wait()
        process.stdout.close()
        shutil.rmtree(directory, ignore_errors=True)

    assert process.stdout.readline() == b"ready\n"
    return place


def _help(place):
    """Begin what is asked for until the standard input ends; return in a child what to run."""
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as waiting:
        listener.bind(place)
        listener.listen(64)
        waiting.register(listener, selectors.EVENT_READ)
        waiting.register(0, selectors.EVENT_READ)
        print("ready", flush=True)  # noqa: T201 - whoever started it waits for this
        while True:
            for key, _ in waiting.select():
                if key.fileobj == 0:
                    os._exit(0)
                if key.fileobj is not listener:
                    _tell(waiting, key)
                elif asked := _fork(waiting, listener):
                    return asked


def _tell(waiting, key):
    """Tell how a command ended."""
    number, connection = key.data
    waiting.unregister(key.fileobj)
    os.close(key.fileobj)
    _, status = os.waitpid(number, 0)
    with connection:
        try:
            connection.sendall(b"%d\n" % status)
        except OSError:
            return  # whoever asked is gone


def _fork(waiting, listener):
    """Begin a command; return what to run in the child, and None in the helper."""
    connection, _ = listener.accept()
    length, streams, _, _ = socket.recv_fds(connection, _LENGTH, 3)
    with connection.makefile("rb") as file:
        arguments, environment, before, cwd = json.loads(file.read(int.from_bytes(length, "big")))
    number = os.fork()
    if number:
        for stream in streams:
            os.close(stream)
        connection.sendall(b"%d\n" % number)
        waiting.register(os.pidfd_open(number), selectors.EVENT_READ, (number, connection))
        return None
    connection.close()
    for key in list(waiting.get_map().values()):
        if key.data:
            os.close(key.fd)
            key.data[1].close()
    for at, stream in enumerate(streams):
        os.dup2(stream, at)
        os.close(stream)
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["lamina", *arguments]
    return before + MAIN


def _import():
    """Import what commands import, most of them only when they are used."""
    import gc
    import pkgutil
    from importlib import import_module

    import service

    for found in pkgutil.walk_packages(service.__path__, "service."):
        if found.name not in APART and not found.name.endswith("__main__"):
            import_module(found.name)
    for name in BESIDE:
        import_module(name)
    gc.freeze()


def _end(code):
    """End as an interpreter does, but without undoing what libraries did before the fork."""
    import threading

    threading._shutdown()
    atexit._run_exitfuncs()
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(bool(code)))


if __name__ == "__main__":
    _import()
    asked = _help(sys.argv[1])
    try:
        exec(compile(asked, "<lamina>", "exec"), {"__name__": "__main__"})  # noqa: S102 - of a test
    except SystemExit as ended:
        _end(ended.code)
    except BaseException:  # noqa: BLE001 - told as the interpreter tells it
        sys.excepthook(*sys.exc_info())
        _end(1)
    _end(0)
