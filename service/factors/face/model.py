"""The challenge of a capture, and what frames must look like before they are read."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from crypto import opaque
from service.domain.clock import rfc3339
from service.domain.errors import BadInput, Fault, VerificationFailed

MOST_FRAMES: Final = 5
LARGEST_FRAME: Final = 2 * 1024 * 1024
CAPTURE_LIFE: Final = timedelta(minutes=2)
_LONGEST_TEXT: Final = (LARGEST_FRAME + 2) // 3 * 4


class Frame(BaseModel):
    """One picture (JPEG, PNG or WebP in base64) and when it was taken, in ms."""

    model_config = ConfigDict(extra="forbid")

    t: Annotated[float, Field(ge=0, le=600_000)]
    image: Annotated[str, Field(max_length=_LONGEST_TEXT)]


class Input(BaseModel):
    """The input of the action."""

    model_config = ConfigDict(extra="forbid")

    challenge_id: Annotated[str, Field(min_length=1, max_length=64)]
    frames: Annotated[list[Frame], Field(min_length=1, max_length=MOST_FRAMES)]


def new_challenge(now: datetime) -> dict[str, Any]:
    """Return a fresh challenge; passive, so that it asks for no gestures."""
    return {
        "challenge_id": opaque.random_bytes(16).hex(),
        "mode": "passive",
        "gestures": [],
        "frames": {"min": 1, "max": MOST_FRAMES, "max_bytes": LARGEST_FRAME},
        "expires_at": rfc3339(now + CAPTURE_LIFE),
    }


def decode(frames: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Return the pictures.

    Raises:
        BadInput: A frame is not base64, comes twice, or was taken before the one it follows.
    """
    pictures: list[bytes] = []
    for number, frame in enumerate(frames):
        try:
            picture = base64.b64decode(frame["image"], validate=True)
        except (binascii.Error, ValueError):
            raise _refuse(number, "not_base64", "must be base64 without line breaks") from None
        if picture in pictures:
            raise _refuse(number, "duplicate_frame", "is the same as an earlier frame")
        if number and frame["t"] <= frames[number - 1]["t"]:
            fault = Fault(f"/frames/{number}/t", "not_ascending", "must be later than before it")
            raise BadInput(fault)
        pictures.append(picture)
    return pictures


def answer(challenge: Mapping[str, Any], challenge_id: str, now: datetime) -> None:
    """Check that a capture answers its challenge in time; raises VerificationFailed."""
    wanted = str(challenge.get("challenge_id", ""))
    if not wanted or not opaque.equal(wanted.encode(), challenge_id.encode()):
        raise VerificationFailed("face_challenge_mismatch")
    if now > datetime.fromisoformat(str(challenge["expires_at"])):
        raise VerificationFailed("face_challenge_expired")


def _refuse(number: int, code: str, detail: str) -> BadInput:
    return BadInput(Fault(f"/frames/{number}/image", code, detail))
