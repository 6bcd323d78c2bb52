"""Read frames sent as multipart/form-data from the stream, in memory, never into a file.

Werkzeug's form parser writes large parts to temporary files; its decoder alone does not. The
result equals that of the JSON form, so that one validation serves both.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Final

from pydantic.json_schema import JsonSchemaValue
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from service.domain.errors import BadInput, Fault, Malformed
from service.web import strict_json

MEDIA_TYPE: Final = "multipart/form-data"
MOST_PICTURES: Final = 28
LARGEST_PICTURE: Final = 2 * 1024 * 1024
_PICTURE: Final = "frames"
_LONGEST_TEXT: Final = {"challenge_id": 64, "times": 2048}
_CHUNK: Final = 16 * 1024
_HELD: Final = 4 * _CHUNK
"""Maximum undecoded bytes in memory: headers, or data before the first part."""
_LONGEST_BOUNDARY: Final = 70


@dataclass(slots=True)
class _Part:
    """A part that is being received."""

    name: str
    content: bytearray = field(default_factory=bytearray, repr=False)


@dataclass(frozen=True, slots=True)
class Form:
    """The values as in JSON, and a digest that does not depend on the boundary."""

    values: dict[str, object] = field(repr=False)
    digest: bytes = field(repr=False)


def schema(json_form: JsonSchemaValue) -> JsonSchemaValue:
    """Return the OpenAPI schema of the form, from the JSON schema of its body."""
    known = json_form.get("properties", {"challenge_id": {}, _PICTURE: {}})
    picture = {
        "type": "string",
        "format": "binary",
        "description": f"JPEG, PNG or WebP of at most {LARGEST_PICTURE} bytes.",
    }
    most = known[_PICTURE].get("maxItems", MOST_PICTURES)
    parts = {
        "challenge_id": {"type": "string", "maxLength": _LONGEST_TEXT["challenge_id"]},
        "times": {"type": "string", "description": "JSON array: ms of each frame, in order."},
        _PICTURE: {"type": "array", "maxItems": most, "items": picture},
    }
    return {
        "type": "object",
        "required": ["times", _PICTURE],
        "additionalProperties": False,
        "properties": {name: parts[name] for name in parts if name in known or name == "times"},
    }


def read(stream: IO[bytes], content_type: str) -> Form:
    """Read a form.

    Args:
        stream: The body; reading it may raise an error if it is too large.
        content_type: The header, with the boundary.

    Raises:
        BadInput: The form is incomplete, a part is unknown or repeated, there are too many or too
            large pictures, or not one time for each; nothing after the fault is read.
    """
    texts: dict[str, str] = {}
    pictures: list[bytes] = []
    for part in _parts(stream, _boundary(content_type), pictures):
        if part.name == _PICTURE:
            pictures.append(bytes(part.content))
            continue
        if part.name in texts:
            raise _wrong(f"/{part.name}", "duplicate_member", "comes twice")
        texts[part.name] = _text(part)
    return _form(texts, pictures)


def _form(texts: dict[str, str], pictures: list[bytes]) -> Form:
    times = _times(texts.pop("times", None), len(pictures))
    hashed = hashlib.sha256(repr((sorted(texts.items()), times)).encode())
    frames: list[dict[str, object]] = []
    while pictures:
        # Each picture is freed once encoded: keeping both would take twice the size of the body.
        picture = pictures.pop(0)
        hashed.update(hashlib.sha256(picture).digest())
        frames.append({"t": times[len(frames)], "image": base64.b64encode(picture).decode()})
    return Form({**texts, _PICTURE: frames}, hashed.digest())


def _times(text: str | None, count: int) -> list[object]:
    try:
        times = strict_json.loads((text or "").encode())
    except (Malformed, BadInput):
        times = None
    if not isinstance(times, list) or len(times) != count:
        detail = f"must be a JSON array with the time of each of the {count} frames"
        raise _wrong("/times", "frame_times", detail)
    return times


def _parts(stream: IO[bytes], boundary: bytes, pictures: list[bytes]) -> Iterator[_Part]:
    """Yield complete parts; a part is rejected as soon as it is too large or one too many."""
    part: _Part | None = None
    for event in _events(stream, boundary):
        if isinstance(event, Field | File):
            part = _Part(event.name or "")
            _check_name(part.name, len(pictures))
        elif isinstance(event, Data) and part is not None:
            part.content += event.data
            _check_size(part, len(pictures))
            if not event.more_data:
                yield part


def _events(stream: IO[bytes], boundary: bytes) -> Iterator[Event]:
    decoder = MultipartDecoder(boundary, _HELD)
    event: Event = NeedData()
    while not isinstance(event, Epilogue):
        try:
            event = decoder.next_event()
            if isinstance(event, NeedData):
                decoder.receive_data(stream.read(_CHUNK) or None)
        except ValueError:
            raise _malformed("is no whole multipart/form-data") from None
        except RequestEntityTooLarge:
            if len(decoder.buffer) + _CHUNK <= _HELD:
                raise
            raise _malformed("holds too much outside of its parts") from None
        yield event


def _boundary(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary or len(boundary) > _LONGEST_BOUNDARY or not boundary.isascii():
        raise _malformed("needs a boundary of 1 to 70 ASCII characters in Content-Type")
    return boundary.encode()


def _check_name(name: str, count: int) -> None:
    if name == _PICTURE:
        if count == MOST_PICTURES:
            raise _wrong("/frames", "too_long", f"takes at most {MOST_PICTURES} frames")
    elif name not in _LONGEST_TEXT:
        known = ", ".join((*_LONGEST_TEXT, _PICTURE))
        raise _wrong("", "extra_forbidden", f"a part has a name other than {known}")


def _check_size(part: _Part, count: int) -> None:
    if part.name == _PICTURE:
        if len(part.content) > LARGEST_PICTURE:
            detail = f"Send a picture of at most {LARGEST_PICTURE // 1024} KiB."
            raise _wrong(f"/frames/{count}/image", "image_too_large", detail)
    elif len(part.content) > _LONGEST_TEXT[part.name]:
        detail = f"must have at most {_LONGEST_TEXT[part.name]} bytes"
        raise _wrong(f"/{part.name}", "string_too_long", detail)


def _text(part: _Part) -> str:
    try:
        text = part.content.decode()
    except UnicodeDecodeError:
        raise _wrong(f"/{part.name}", "string_unicode", "must be UTF-8 text") from None
    if "\0" in text:
        raise _wrong(f"/{part.name}", "string_nul", "must not hold NUL")
    return text


def _malformed(detail: str) -> BadInput:
    return _wrong("", "malformed_multipart", f"the body {detail}")


def _wrong(pointer: str, code: str, detail: str) -> BadInput:
    return BadInput(Fault(pointer, code, detail))
