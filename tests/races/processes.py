"""Two processes of the service that get their requests at the same moment."""

import hashlib
import multiprocessing
import threading
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from biometrics.face.model import DLIB
from biometrics.face.sequence import Frontal
from crypto.hashing import PasswordHasher
from service.app import Container, create_app, open_container
from service.domain.clock import FrozenClock
from service.domain.errors import LaminaError
from service.factors.face.model import Mode
from tests.functional.conftest import PATIENCE, START

BEYOND = frozenset({"policy:write"})
"""What only operators may, and no client: here everybody may."""
WAIT = 120
_context = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Request:
    """One request, or one act on the host where `method` is `HOST`."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    form: bool = False
    name: str = ""


class Answer(NamedTuple):
    """What was answered to a request."""

    name: str
    status: int
    body: Any

    @property
    def code(self):
        """Return the code of a problem; empty for an answer that is none."""
        body = self.body if isinstance(self.body, dict) else {}
        return str(body.get("code") or body.get("error") or "")


class Camera:
    """An engine that sees one person in every picture, at once."""

    def available(self):
        """Tell that faces can be checked."""
        return True

    def stills(self, frames, policy):
        """Read pictures: nearly the same vector for each."""
        return [self._read(frame) for frame in frames]

    def capture(self, frames, gestures, policy):
        """Read a capture in the same way."""
        return self.stills(frames, policy)

    def _read(self, frame):
        seed = int.from_bytes(hashlib.sha256(frame.image).digest()[:4], "big")
        vector = np.full(DLIB.size, 1.0) + np.random.default_rng(seed).normal(0, 0.01, DLIB.size)
        return Frontal(
            vector=(vector / np.linalg.norm(vector)).astype(np.float32),
            quality=1.0,
            cues={},
            model=DLIB,
        )


def open_service(settings, ahead=timedelta()) -> tuple[Container, Any]:
    """Open one process's house and app; faces are read by a camera that costs nothing."""
    container = open_container(
        settings, FrozenClock(START + ahead), PasswordHasher.unsafe_for_tests()
    )
    # A machine that stalls is no signal that is too slow. It is this house's own: the process
    # that races tests goes on with others, which set the budget.
    container.login._dependencies.signals._limits = SimpleNamespace(signal_budget_ms=PATIENCE)
    container.face._reader, container.face._mode = Camera(), Mode.OFF
    told = container.tokens.authorize

    def authorize(token):
        caller = told(token)
        return replace(caller, scopes=caller.scopes | BEYOND)

    container.tokens.authorize = authorize
    return container, create_app(container)


def ask(container, app, request: Request, number=0) -> Answer:
    """Answer one request."""
    if request.method == "HOST":
        return _on_host(container, request)
    # Each from an address of its own: the edge limits are not what is tested.
    address = {"REMOTE_ADDR": f"2001:db8::{number:x}"}
    body = {"data" if request.form else "json": request.body}
    answer = app.test_client().open(
        request.path,
        method=request.method,
        headers=request.headers,
        environ_base=address,
        **(body if request.body is not None else {}),
    )
    return Answer(request.name, answer.status_code, answer.get_json(silent=True))


def _on_host(container, request: Request) -> Answer:
    subject, until = request.body, container.clock.now() + timedelta(days=365)
    try:
        with container.store.transaction() as tx:
            container.shredding.hold(tx, subject, until=until, reason="a duty", actor="cli")
    except LaminaError as refused:
        return Answer(request.name, 409, {"code": refused.code})
    return Answer(request.name, 200, None)


def _work(settings, pipe, together) -> None:
    container, app = open_service(settings)
    pipe.send("ready")
    while (batch := pipe.recv()) is not None:
        ahead, requests = batch
        container.clock._now = START + ahead
        answers = [None] * len(requests)
        # Every thread of both processes waits at its own barrier, the processes at one.
        local = threading.Barrier(len(requests) + 1)

        def act(number, requests=requests, answers=answers, local=local):
            local.wait(WAIT)
            try:
                answers[number] = ask(container, app, requests[number], number)
            except Exception as error:  # noqa: BLE001 - told to the parent as what it is
                answers[number] = Answer(requests[number].name, 500, {"code": repr(error)})

        threads = [threading.Thread(target=act, args=(number,)) for number in range(len(requests))]
        for thread in threads:
            thread.start()
        together.wait(WAIT)
        local.wait(WAIT)
        for thread in threads:
            thread.join()
        pipe.send(answers)
    container.store.engine.dispose()


class Pair:
    """The two processes."""

    def __init__(self, settings) -> None:
        self._together = _context.Barrier(2)
        self._ends = []
        for _ in range(2):
            mine, theirs = _context.Pipe()
            process = _context.Process(
                target=_work, args=(settings, theirs, self._together), daemon=True
            )
            process.start()
            self._ends.append((process, mine))
        for _, pipe in self._ends:
            assert pipe.recv() == "ready"

    def race(self, requests, ahead=timedelta()) -> list[Answer]:
        """Send every other request to the one process and the rest to the other; all at once."""
        parts = [requests[0::2], requests[1::2]]
        for (_, pipe), part in zip(self._ends, parts, strict=True):
            pipe.send((ahead, part))
        answers = []
        for _, pipe in self._ends:
            assert pipe.poll(WAIT), "a process does not answer"
            answers += pipe.recv()
        return answers

    def close(self) -> None:
        """End both."""
        for process, pipe in self._ends:
            pipe.send(None)
            process.join(WAIT)
