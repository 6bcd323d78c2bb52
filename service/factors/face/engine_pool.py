"""The face engine of this process: opened when first needed, a bounded number of readings at once.

Whoever finds the line full, or waits longer than the deadline, is told to come back, rather than
everybody being served more slowly.
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
from service.domain.errors import BadInput, Fault, Unavailable, VerificationFailed
from service.settings import Settings
from service.telemetry import logs

T = TypeVar("T")
WAIT_SECONDS: Final = 3.0
_WAITING_EACH: Final = 8
"""How many may wait for each that is served: at 150 ms each, about as long as the deadline."""
_LATER: Final = 60


def default_cache() -> Path:
    """Return where converted weights are kept when no setting says so."""
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
    """The engine, and the line before it; without an engine no face passes.

    Args:
        open_engine: Opens it; None where faces are off.
        at_once: How many captures are read side by side.
        wait: Seconds after which a waiting one is sent away.
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
        """Tell whether faces can be checked here; opens the engine."""
        return self.get() is not None

    def get(self) -> FaceEngine | None:
        """Return the engine, or None where it is off or cannot be opened."""
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
            BadInput: A picture is not usable; the detail tells the person what to do.
            Unavailable: There is no engine, or the line is too long.
        """
        with self._turn() as engine:
            return [
                _told(number, lambda frame=frame: _still(engine, frame, policy))  # type: ignore[misc]  # mypy infers no type for a lambda's default
                for number, frame in enumerate(frames)
            ]

    def capture(
        self, frames: Sequence[Frame], gestures: Sequence[Gesture], policy: QualityPolicy
    ) -> list[Frontal]:
        """Return the frontal frames of a living person who followed the command.

        Raises:
            BadInput: A picture is not usable; the detail tells the person what to do.
            VerificationFailed: It does not show a living person who did as was told.
            Unavailable: There is no engine, or the line is too long.
        """
        with self._turn() as engine:
            try:
                return _told(None, lambda: read_capture(engine, frames, gestures, policy))
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
                yield engine
            finally:
                self._turns.release()
        finally:
            self._places.release()


def _still(engine: FaceEngine, frame: Frame, policy: QualityPolicy) -> Frontal:
    reading = engine.read(frame.image, policy)
    return Frontal(reading.vector, reading.quality, reading.cues, reading.model, reading.mark)


def _told(number: int | None, read: Callable[[], T]) -> T:
    """Turn a refused frame into a fault that points at it."""
    try:
        return read()
    except FrameRefused as refused:
        at = refused.number if number is None else number
        raise BadInput(Fault(f"/frames/{at}/image", refused.code, refused.advice)) from None


def _overloaded() -> Unavailable:
    return Unavailable("overloaded", "Too many faces are being checked.", 2)
