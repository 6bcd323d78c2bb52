"""The challenge of a capture, and what frames must look like before they are read."""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from biometrics.face.active import LEAST_FRAMES, MOST_FRAMES, ORDERS, Gesture
from biometrics.face.frames import Frame, transcript
from biometrics.face.jpeg import behind
from biometrics.face.marks import BYTES, repeated
from crypto import opaque
from service.domain.clock import rfc3339
from service.domain.errors import BadInput, Fault, VerificationFailed

STILLS: Final = 5
LARGEST_STILL: Final = 2 * 1024 * 1024
LARGEST_FRAME: Final = 352 * 1024
"""Of a capture: the most frames of this size, in base64, still fit into one request."""
ENROLLED_FRAMES: Final = 3
MOST_CHALLENGES: Final = 10
"""Of one enrollment, as many as a flow has attempts: nobody may draw until a wanted one comes."""
CAPTURE_LIFE: Final = timedelta(seconds=15)
STILL_LIFE: Final = timedelta(minutes=2)
CLOCK_SLACK: Final = timedelta(milliseconds=500)
REMEMBERED: Final = 20 * MOST_FRAMES
_MEMORY: Final = b"\x01"
_LONGEST_TEXT: Final = (LARGEST_STILL + 2) // 3 * 4
NOT_ASKED: Final = "not_asked"
"""Why pictures without a challenge show no life: nobody was told to move."""


class Mode(StrEnum):
    """How hard a face must show that it lives."""

    OFF = "off"
    PASSIVE = "passive"
    ACTIVE = "active"

    def weaker_than(self, other: "Mode") -> bool:
        """Tell whether another asks for more."""
        order = list(Mode)
        return order.index(self) < order.index(other)


def strictest(modes: Iterable[Mode], default: Mode) -> Mode:
    """Return the mode that asks for most; the default where there is none."""
    return max(modes, key=list(Mode).index, default=default)


class InputFrame(BaseModel):
    """One picture (JPEG, PNG or WebP in base64) and when it was taken, in ms."""

    model_config = ConfigDict(extra="forbid")

    t: Annotated[float, Field(ge=0, le=600_000, allow_inf_nan=False)]
    image: Annotated[str, Field(max_length=_LONGEST_TEXT)]


class FaceInput(BaseModel):
    """The input of the action; without frames it asks for a fresh challenge."""

    model_config = ConfigDict(extra="forbid")

    challenge_id: Annotated[str, Field(min_length=1, max_length=64)]
    frames: Annotated[list[InputFrame], Field(max_length=MOST_FRAMES)]


def new_challenge(now: datetime, mode: Mode, least: int = 1) -> dict[str, Any]:
    """Return a fresh challenge; only an active one commands gestures.

    Args:
        now: When it is issued; a capture must arrive before its life is over, by this same clock.
        mode: How hard the face must show that it lives.
        least: The fewest frames where no gestures are commanded.
    """
    active = mode is Mode.ACTIVE
    frames = (
        (LEAST_FRAMES, MOST_FRAMES, LARGEST_FRAME) if active else (least, STILLS, LARGEST_STILL)
    )
    return {
        "challenge_id": opaque.random_bytes(16).hex(),
        "mode": mode.value,
        "gestures": [gesture.value for gesture in _draw()] if active else [],
        "frames": dict(zip(("min", "max", "max_bytes"), frames, strict=True)),
        "issued_at": now.isoformat(),
        "expires_at": rfc3339(now + (CAPTURE_LIFE if active else STILL_LIFE)),
    }


def _draw() -> tuple[Gesture, ...]:
    # 64 bits over 96 orders: the bias is below 1e-17.
    return ORDERS[int.from_bytes(opaque.random_bytes(8), "big") % len(ORDERS)]


def decode(frames: Sequence[Mapping[str, Any]]) -> list[Frame]:
    """Return the frames with their bytes.

    Raises:
        BadInput: A frame is not base64, comes twice, or was taken before the one it follows.
    """
    decoded: list[Frame] = []
    seen: set[bytes] = set()
    for number, frame in enumerate(frames):
        try:
            picture = base64.b64decode(frame["image"], validate=True)
        except (binascii.Error, ValueError):
            raise _refuse(number, "not_base64", "must be base64 without line breaks") from None
        digest = hashlib.sha256(picture).digest()
        if digest in seen:
            raise _refuse(number, "duplicate_frame", "is the same as an earlier frame")
        if number and frame["t"] <= frames[number - 1]["t"]:
            fault = Fault(f"/frames/{number}/t", "not_ascending", "must be later than before it")
            raise BadInput(fault)
        seen.add(digest)
        decoded.append(Frame(frame["t"], picture))
    return decoded


def cut_off(frames: Sequence[Frame]) -> tuple[Fault, ...]:
    """Return what is told of bytes behind pictures: a phone's moving picture, a map of depth."""
    counted = ((number, behind(frame.image)) for number, frame in enumerate(frames))
    return tuple(
        Fault(f"/frames/{number}/image", "trailing_data", f"{size} bytes behind it were cut off")
        for number, size in counted
        if size
    )


def answer(
    challenge: Mapping[str, Any],
    challenge_id: str,
    frames: Sequence[Frame],
    now: datetime,
    present: Mode,
) -> tuple[Gesture, ...]:
    """Check that a capture answers its challenge in time; return the commanded gestures.

    Args:
        challenge: As it was issued, in the mode it was issued with.
        challenge_id: The one that the capture names.
        frames: The capture.
        now: The server's time.
        present: The mode that policy asks for now; a challenge of a weaker one is void.

    Raises:
        VerificationFailed: It answers another challenge, or its times are longer than the time.
        BadInput: It came too late, after the policy began to ask for more, or with too few, too
            many or too large frames: nothing of it is looked at, and a fresh challenge is given.
    """
    wanted = str(challenge.get("challenge_id", ""))
    if not wanted or not opaque.equal(wanted.encode(), challenge_id.encode()):
        raise VerificationFailed("face_challenge_mismatch")
    if now > datetime.fromisoformat(str(challenge["expires_at"])):
        detail = "came too late; answer the fresh challenge"
        raise BadInput(Fault("/challenge_id", "challenge_expired", detail))
    if Mode(challenge["mode"]).weaker_than(present):
        detail = "asks for less than the policy does by now; answer the fresh challenge"
        raise BadInput(Fault("/challenge_id", "challenge_outdated", detail))
    check_frames(challenge["frames"], frames)
    gestures = tuple(Gesture(name) for name in challenge["gestures"])
    span = timedelta(milliseconds=frames[-1].t - frames[0].t)
    issued = datetime.fromisoformat(str(challenge["issued_at"]))
    if gestures and span > now - issued + CLOCK_SLACK:
        raise VerificationFailed("face_times")
    return gestures


def check_stills(frames: Sequence[Frame]) -> None:
    """Check pictures that answer no challenge; raises BadInput."""
    check_frames({"min": 1, "max": STILLS, "max_bytes": LARGEST_STILL}, frames)


def check_frames(limits: Mapping[str, int], frames: Sequence[Frame]) -> None:
    """Check how many frames there are and how large they are; raises BadInput."""
    if not limits["min"] <= len(frames) <= limits["max"]:
        detail = f"takes {limits['min']} to {limits['max']} frames"
        raise BadInput(Fault("/frames", "frame_count", detail))
    for number, frame in enumerate(frames):
        if len(frame.image) > limits["max_bytes"]:
            detail = f"Send a picture of at most {limits['max_bytes'] // 1024} KiB."
            raise _refuse(number, "image_too_large", detail)


def transcribed(challenge: Mapping[str, Any], frames: Sequence[Frame]) -> dict[str, str]:
    """Return what the audit log keeps of a capture: its challenge and the hash of all of it.

    Whoever holds the frames can show that they are those; from the hash nobody makes them.
    """
    nonce = str(challenge.get("challenge_id", ""))
    return {"challenge": nonce, "transcript": transcript(nonce.encode(), frames).hex()}


def remember(memory: bytes, added: bytes) -> bytes:
    """Return the memory of accepted pictures with those of a capture, without the oldest.

    Layout, version 1: `u8` version · marks of 24 bytes, the oldest first. A memory of before had
    8 bytes of each file's hash and no version; it is let go, as it says nothing of pixels.

    Args:
        memory: What is remembered; empty at first.
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
