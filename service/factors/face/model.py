"""Capture challenges, and the checks of frames before the engine reads them."""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, NamedTuple, NotRequired, cast

from pydantic import BaseModel, ConfigDict, Field

from biometrics.face.active import LEAST_FRAMES, MOST_FRAMES, ORDERS, Gesture
from biometrics.face.frames import Frame, transcript
from biometrics.face.jpeg import behind
from biometrics.face.marks import BYTES, repeated
from crypto import opaque
from service.authenticators.views import CaptureChallenge, FrameLimits
from service.domain.clock import rfc3339
from service.domain.errors import BadInput, Fault, VerificationFailed

STILLS: Final = 5
LARGEST_STILL: Final = 2 * 1024 * 1024
LARGEST_FRAME: Final = 352 * 1024
"""Of a capture: the maximum number of frames of this size fits into one request in base64."""
ENROLLED_FRAMES: Final = 3
MOST_CHALLENGES: Final = 10
"""Per enrollment, as many as a flow has attempts: no one may redraw until a wanted one comes."""
CAPTURE_LIFE: Final = timedelta(seconds=15)
STILL_LIFE: Final = timedelta(minutes=2)
CLOCK_SLACK: Final = timedelta(milliseconds=500)
REMEMBERED: Final = 20 * MOST_FRAMES
_MEMORY: Final = b"\x01"
_LONGEST_TEXT: Final = (LARGEST_STILL + 2) // 3 * 4
NOT_ASKED: Final = "not_asked"
"""Why pictures without a challenge show no liveness: no movement was requested."""


class Mode(StrEnum):
    """The strictness of the liveness check."""

    OFF = "off"
    PASSIVE = "passive"
    ACTIVE = "active"

    def weaker_than(self, other: "Mode") -> bool:
        """Return whether another mode is stricter."""
        order = list(Mode)
        return order.index(self) < order.index(other)


def strictest(modes: Iterable[Mode], default: Mode) -> Mode:
    """Return the strictest mode; the default if there is none."""
    return max(modes, key=list(Mode).index, default=default)


class InputFrame(BaseModel):
    """A picture (JPEG, PNG or WebP in base64) and when it was taken, in ms."""

    model_config = ConfigDict(extra="forbid")

    t: Annotated[float, Field(ge=0, le=600_000, allow_inf_nan=False)]
    image: Annotated[str, Field(max_length=_LONGEST_TEXT)]


class FaceInput(BaseModel):
    """The input of the action; without frames it requests a new challenge."""

    model_config = ConfigDict(extra="forbid")

    challenge_id: Annotated[str, Field(min_length=1, max_length=64)]
    frames: Annotated[list[InputFrame], Field(max_length=MOST_FRAMES)]


class Capture(NamedTuple):
    """The validated input, with its pictures decoded."""

    challenge_id: str
    frames: list[Frame]


class PendingChallenge(CaptureChallenge):
    """The stored verifier of a pending face: its challenge, and how many it had."""

    segment: NotRequired[str]
    drawn: NotRequired[int]


def issued(challenge: Mapping[str, object]) -> CaptureChallenge:
    """Return the challenge of a flow as `new_challenge` issued it; it is stored sealed."""
    return cast("CaptureChallenge", challenge)


def new_challenge(now: datetime, mode: Mode, least: int = 1) -> CaptureChallenge:
    """Return a new challenge; only an active one commands gestures.

    Args:
        now: The issue time; a capture must arrive within the challenge's life, by the same clock.
        mode: The strictness of the liveness check.
        least: The minimum number of frames if no gestures are commanded.
    """
    active = mode is Mode.ACTIVE
    frames: FrameLimits = (
        {"min": LEAST_FRAMES, "max": MOST_FRAMES, "max_bytes": LARGEST_FRAME}
        if active
        else {"min": least, "max": STILLS, "max_bytes": LARGEST_STILL}
    )
    return {
        "challenge_id": opaque.random_bytes(16).hex(),
        "mode": mode.value,
        "gestures": [gesture.value for gesture in _draw()] if active else [],
        "frames": frames,
        "issued_at": now.isoformat(),
        "expires_at": rfc3339(now + (CAPTURE_LIFE if active else STILL_LIFE)),
    }


def _draw() -> tuple[Gesture, ...]:
    # 64 bits over 96 orders: the bias is below 1e-17.
    return ORDERS[int.from_bytes(opaque.random_bytes(8), "big") % len(ORDERS)]


def decode(frames: Sequence[InputFrame]) -> list[Frame]:
    """Decode the frames' images from base64.

    Raises:
        BadInput: A frame is not base64, is repeated, or was not taken after the one before it.
    """
    decoded: list[Frame] = []
    seen: set[bytes] = set()
    for number, frame in enumerate(frames):
        try:
            picture = base64.b64decode(frame.image, validate=True)
        except (binascii.Error, ValueError):
            raise _refuse(number, "not_base64", "must be base64 without line breaks") from None
        digest = hashlib.sha256(picture).digest()
        if digest in seen:
            raise _refuse(number, "duplicate_frame", "is the same as an earlier frame")
        if number and frame.t <= frames[number - 1].t:
            fault = Fault(f"/frames/{number}/t", "not_ascending", "must be after the previous one")
            raise BadInput(fault)
        seen.add(digest)
        decoded.append(Frame(frame.t, picture))
    return decoded


def cut_off(frames: Sequence[Frame]) -> tuple[Fault, ...]:
    """Return faults for data after the end of pictures, such as motion photos and depth maps."""
    counted = ((number, behind(frame.image)) for number, frame in enumerate(frames))
    return tuple(
        Fault(f"/frames/{number}/image", "trailing_data", f"{size} bytes past its end were cut off")
        for number, size in counted
        if size
    )


def answer(
    challenge: Mapping[str, object],
    *,
    challenge_id: str,
    frames: Sequence[Frame],
    now: datetime,
    present: Mode,
) -> tuple[Gesture, ...]:
    """Check that a capture answers its challenge in time; return the commanded gestures.

    Args:
        challenge: The challenge, in the mode in which it was issued.
        challenge_id: The id that the capture names.
        frames: The capture.
        now: The server's time.
        present: The mode of the current policy; a challenge of a weaker mode is void.

    Raises:
        VerificationFailed: It answers another challenge, or its timestamps span more time than
            has passed since the challenge.
        BadInput: It came too late or after the policy became stricter, or it has too few, too
            many or too large frames. No frame is checked, and a new challenge is issued.
    """
    wanted = str(challenge.get("challenge_id", ""))
    if not wanted or not opaque.equal(wanted.encode(), challenge_id.encode()):
        raise VerificationFailed("face_challenge_mismatch")
    asked = issued(challenge)
    if now > datetime.fromisoformat(asked["expires_at"]):
        detail = "was answered too late; answer the new challenge"
        raise BadInput(Fault("/challenge_id", "challenge_expired", detail))
    if Mode(asked["mode"]).weaker_than(present):
        detail = "is weaker than the current policy requires; answer the new challenge"
        raise BadInput(Fault("/challenge_id", "challenge_outdated", detail))
    check_frames(asked["frames"], frames)
    gestures = tuple(Gesture(name) for name in asked["gestures"])
    span = timedelta(milliseconds=frames[-1].t - frames[0].t)
    since = now - datetime.fromisoformat(asked["issued_at"])
    if gestures and span > since + CLOCK_SLACK:
        raise VerificationFailed("face_times")
    return gestures


def check_stills(frames: Sequence[Frame]) -> None:
    """Check pictures that answer no challenge; raises BadInput."""
    check_frames({"min": 1, "max": STILLS, "max_bytes": LARGEST_STILL}, frames)


def check_frames(limits: FrameLimits, frames: Sequence[Frame]) -> None:
    """Check the number and the sizes of the frames; raises BadInput."""
    if not limits["min"] <= len(frames) <= limits["max"]:
        detail = f"takes {limits['min']} to {limits['max']} frames"
        raise BadInput(Fault("/frames", "frame_count", detail))
    for number, frame in enumerate(frames):
        if len(frame.image) > limits["max_bytes"]:
            detail = f"Send a picture of at most {limits['max_bytes'] // 1024} KiB."
            raise _refuse(number, "image_too_large", detail)


def transcribed(challenge: Mapping[str, object], frames: Sequence[Frame]) -> dict[str, str]:
    """Return the audit record of a capture: its challenge and the hash of all frames.

    The hash can confirm disputed frames but cannot reconstruct them.
    """
    nonce = str(challenge.get("challenge_id", ""))
    return {"challenge": nonce, "transcript": transcript(nonce.encode(), frames).hex()}


def remember(memory: bytes, added: bytes) -> bytes:
    """Return the memory of accepted pictures with a capture's added and the oldest dropped.

    Layout, version 1: `u8` version · marks of 24 bytes, the oldest first. An older memory had
    8 bytes of each file's hash and no version; it is discarded, as it does not describe pixels.

    Args:
        memory: The current memory; empty at first.
        added: The marks of the capture.

    Raises:
        VerificationFailed: The capture repeats pictures that were accepted before.
    """
    seen = memory[1:] if memory[:1] == _MEMORY and len(memory) % BYTES == 1 else b""
    if repeated(seen, added):
        raise VerificationFailed("face_replayed")
    return _MEMORY + (seen + added)[-REMEMBERED * BYTES :]


def _refuse(number: int, code: str, detail: str) -> BadInput:
    return BadInput(Fault(f"/frames/{number}/image", code, detail))
