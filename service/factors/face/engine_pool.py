"""The face engine of this process: opened on first use, with bounded concurrency.

A request that finds the queue full, or waits longer than the deadline, is asked to retry later,
so that requests are not all served more slowly.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from biometrics.face import (
    EngineUnavailable,
    FaceEngine,
    FrameRefused,
    LivenessFailed,
    QualityPolicy,
)
from biometrics.face.active import Gesture
from biometrics.face.frames import Frame
from biometrics.face.sequence import Frontal, read_capture
from crypto import cores
from service.domain.errors import BadInput, Fault, Unavailable, VerificationFailed
from service.settings import Settings
from service.telemetry import logs

T = TypeVar("T")
WAIT_SECONDS: Final = 3.0
_WAITING_EACH: Final = 8
"""Queue length per concurrent reading: at 150 ms each, about as long as the deadline."""
_LATER: Final = 60


def default_cache() -> Path:
    """Return the default folder of converted weights."""
    return Path.home() / ".cache" / "lamina" / "face"


def open_engine(settings: Settings) -> FaceEngine:
    """Open the engine that the settings name; raises EngineUnavailable."""
    return FaceEngine.open(
        settings.face_models or default_cache(),
        quick=settings.face_engine == "dlib-int8",
        detector=settings.face_detector,
        embedder=settings.face_embedder,
    )


class EnginePool:
    """The engine and its queue; without an engine no face passes.

    Args:
        open_engine: Opens the engine; None if faces are off.
        at_once: Maximum number of concurrent readings.
        wait: Seconds after which a waiting request is refused.
    """

    def __init__(
        self,
        open_engine: Callable[[], FaceEngine] | None,
        at_once: int,
        wait: float = WAIT_SECONDS,
    ) -> None:
        self._open = open_engine
        self._engine: FaceEngine | None = None
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(at_once)
        self._places = threading.BoundedSemaphore(at_once * (1 + _WAITING_EACH))
        self._wait = wait

    @classmethod
    def of(cls, settings: Settings, at_once: int) -> "EnginePool":
        """Return the engine that the settings name."""
        off = settings.face_engine == "off"
        return cls(None if off else lambda: open_engine(settings), at_once)

    def available(self) -> bool:
        """Return whether faces can be checked in this process; opens the engine."""
        return self.get() is not None

    def get(self) -> FaceEngine | None:
        """Return the engine, or None if it is off or cannot be opened."""
        with self._lock:
            if self._engine is None and self._open is not None:
                try:
                    self._engine = self._open()
                except EngineUnavailable as error:
                    logs.get().error("face_engine_unavailable", error=str(error))
                    self._open = None
            return self._engine

    def stills(self, frames: Sequence[Frame], policy: QualityPolicy) -> list[Frontal]:
        """Return a reading of each picture.

        Raises:
            BadInput: A picture is not usable; the detail advises the person what to do.
            Unavailable: There is no engine, or its queue is too long.
        """
        with self._turn() as engine:
            return [
                _advised(number, lambda frame=frame: _still(engine, frame, policy))  # type: ignore[misc]  # mypy infers no type for a lambda's default
                for number, frame in enumerate(frames)
            ]

    def capture(
        self, frames: Sequence[Frame], gestures: Sequence[Gesture], policy: QualityPolicy
    ) -> list[Frontal]:
        """Return the frontal frames of a live person who followed the command.

        Raises:
            BadInput: A picture is not usable; the detail advises the person what to do.
            VerificationFailed: The capture does not show a live person who followed the command.
            Unavailable: There is no engine, or its queue is too long.
        """
        with self._turn() as engine:
            try:
                return _advised(None, lambda: read_capture(engine, frames, gestures, policy))
            except LivenessFailed as failed:
                raise VerificationFailed(f"face_liveness_{failed.reason}") from None

    @contextmanager
    def _turn(self) -> Iterator[FaceEngine]:
        engine = self.get()
        if engine is None:
            raise Unavailable("face_unavailable", "Faces cannot be checked here.", _LATER)
        if not self._places.acquire(blocking=False):
            raise _overloaded()
        try:
            if not self._turns.acquire(timeout=self._wait):
                raise _overloaded()
            try:
                with cores.anywhere():
                    yield engine
            finally:
                self._turns.release()
        finally:
            self._places.release()


def _still(engine: FaceEngine, frame: Frame, policy: QualityPolicy) -> Frontal:
    reading = engine.read(frame.image, policy)
    return Frontal(
        vector=reading.vector,
        quality=reading.quality,
        cues=reading.cues,
        model=reading.model,
        marks=reading.mark,
    )


def _advised(number: int | None, read: Callable[[], T]) -> T:
    """Convert a refused frame into a fault that points to it."""
    try:
        return read()
    except FrameRefused as refused:
        at = refused.number if number is None else number
        raise BadInput(Fault(f"/frames/{at}/image", refused.code, refused.advice)) from None


def _overloaded() -> Unavailable:
    return Unavailable("overloaded", "Too many faces are being checked.", 2)
