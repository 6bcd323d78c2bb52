"""Several processes start on a new database at once: all come up, and what is made is made once."""

import os
import signal
import socket
import threading
import time

import httpx
import pytest
from sqlalchemy import func, select

from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.accounts.store.subjects import Subject
from service.authenticators.store.authenticators import AuthenticatorRow
from service.domain.ids import DECOY
from service.keys.model import SigningStatus
from service.keys.store.hierarchy import Kek, SigningKeyRow
from service.store import migrate
from service.store.engine import make_engine
from tests.databases import database_url
from tests.functional.test_cli import spawn

ROUNDS = int(os.environ.get("LAMINA_TEST_STARTS", "1"))
pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request):
    """Where the new databases are."""
    return request.param


class Place:
    """A new database with keys of its own; each process that begins here is ended in any case."""

    def __init__(self, url, directory):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        FileRoot.init(directory / "keys", KEY_CLASSES)
        self.url = url
        self.environment = {
            "LAMINA_MODE": "development",
            "LAMINA_DATABASE_URL": url,
            "LAMINA_FACE_ENGINE": "off",
            "LAMINA_ROOT_KEY": f"file:{directory / 'keys'}",
            "LAMINA_LOG_LEVEL": "error",
            "LAMINA_LEDGER": f"file:{directory / 'ledger'}",
            "LAMINA_BIND": f"127.0.0.1:{self.port}",
            "LAMINA_ISSUER": f"http://localhost:{self.port}",
        }
        self.begun = []

    def begin(self, *arguments):
        """Start a command that says what it does on stderr; somebody must read that."""
        process = spawn(self.environment, *arguments)
        process.lines = []
        process.reader = threading.Thread(
            target=lambda: process.lines.extend(iter(process.stderr.readline, ""))
        )
        process.reader.start()
        self.begun.append(process)
        return process

    def said(self, process, word):
        """Wait until a process says a word, or has ended."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if any(word in line for line in process.lines):
                return
            time.sleep(0.05)
        raise AssertionError(f"{process.args[3:]}: {process.poll()} {''.join(process.lines)}")

    def ready(self):
        """Return what `/readyz` answers first."""
        deadline = time.monotonic() + 120
        while True:
            try:
                return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=120)
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def end(self, *signals):
        """End every process; return their exit codes."""
        for process in self.begun:
            for each in signals:
                process.send_signal(each)
        codes = [process.wait(timeout=120) for process in self.begun]
        for process in self.begun:
            process.reader.join()
            process.stdout.close()
            process.stderr.close()
        return codes

    def told(self):
        """Return everything that was said on stderr."""
        return "".join(line for process in self.begun for line in process.lines)

    def made(self):
        """Return how many there are of what a first start makes."""
        engine = make_engine(self.url)
        counted = {
            "decoys": select(func.count()).where(Subject.id == DECOY),
            "authenticators": select(func.count()).where(AuthenticatorRow.subject_id == DECOY),
            "keys": select(func.count()).select_from(Kek),
            "signing": select(func.count()).where(SigningKeyRow.status == SigningStatus.ACTIVE),
        }
        with engine.connect() as connection:
            found = {name: connection.scalar(query) for name, query in counted.items()}
        engine.dispose()
        return found


ONCE = {"decoys": 1, "authenticators": 3, "keys": len(KEY_CLASSES), "signing": 1}


@pytest.fixture
def places(kind, tmp_path):
    """Return new places, one for each round; whatever still runs there is killed."""
    opened = []

    def rounds():
        for number in range(ROUNDS):
            directory = tmp_path / str(number)
            directory.mkdir()
            with database_url(kind, directory) as url:
                place = Place(url, directory)
                opened.append(place)
                yield place

    yield rounds
    for place in opened:
        for process in place.begun:
            if process.poll() is None:
                process.kill()
                process.wait()


def test_migrations_at_once_all_end_well(places):
    """Three upgrades of an empty database: one migrates, the others find nothing to do."""
    for place in places():
        for _ in range(3):
            place.begin("db", "upgrade")
        assert (place.end(), place.told()) == ([0, 0, 0], "")
        engine = make_engine(place.url)
        assert migrate.current(engine) == migrate.HEAD
        engine.dispose()


def test_a_server_and_a_worker_start_at_once(places):
    """Each would make the schema and the keys: both come up, and end when they are told."""
    for place in places():
        server, worker = place.begin("serve"), place.begin("worker")
        place.said(worker, "working")
        place.said(server, "serving")
        answer = place.ready()
        assert (answer.status_code, answer.json()["status"]) == (200, "ready")
        assert (place.end(signal.SIGTERM), place.made()) == ([0, 0], ONCE)
        assert "Traceback" not in place.told()


def test_four_workers_start_at_once(places):
    """All of them work, with one set of keys."""
    for place in places():
        for worker in [place.begin("worker") for _ in range(4)]:
            place.said(worker, "working")
        assert (place.end(signal.SIGTERM), place.made()) == ([0] * 4, ONCE)
        assert "Traceback" not in place.told()
