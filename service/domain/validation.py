"""Input validation: pydantic models with errors as JSON pointers that never echo the input."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import takewhile
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from service.domain.errors import BadInput, Fault, TooLarge

M = TypeVar("M", bound=BaseModel)
_MOST_REPORTED: Final = 20
_MOST_FAULTS: Final = 2000
"""Limit of described faults: describing a fault costs more than finding it."""


def pointer(location: tuple[int | str, ...]) -> str:
    """Return the JSON pointer (RFC 6901) of a location in the input."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def parse(model: type[M], values: object, at: str = "") -> M:
    """Validate input against a model and return the model.

    Raises:
        BadInput: One fault per error, with its pointer; no value is repeated.
    """
    if not isinstance(values, Mapping):
        raise BadInput(Fault(at or "", "object_type", "must be a JSON object"))
    try:
        return model.model_validate(dict(values), strict=False)
    except ValidationError as error:
        if error.error_count() > _MOST_FAULTS:
            detail = f"has more than {_MOST_FAULTS} faults"
            raise BadInput(Fault(at, "too_many_faults", detail)) from None
        known = _members(model)
        found = error.errors(include_url=False, include_input=False)
        faults = [_fault(item, at, known) for item in found]
        raise BadInput(*faults[:_MOST_REPORTED]) from None


def _fault(item: ErrorDetails, at: str, known: frozenset[str]) -> Fault:
    kind = str(item["type"])
    place = tuple(takewhile(lambda part: isinstance(part, int) or part in known, item["loc"]))
    if kind == "extra_forbidden":
        # The name of an unknown member may be a misplaced secret, so the pointer names its parent.
        place = place[: len(item["loc"]) - 1]
        return Fault(at + pointer(place), kind, "has a member that is not known")
    # Messages of custom checks are ours; pydantic's own name the limit, never the input.
    message = str(item["msg"]).removeprefix("Value error, ")
    return Fault(at + pointer(place), kind, message)


@lru_cache(maxsize=256)
def _members(model: type[BaseModel]) -> frozenset[str]:
    """Return the names of all members of a model and of the models inside it."""
    # A member that is refused by name need not be in the schema.
    found: set[str] = set(model.model_fields)
    waiting: list[object] = [model.model_json_schema()]
    while waiting:
        schema = waiting.pop()
        if isinstance(schema, dict):
            found.update(schema.get("properties", {}))
            waiting.extend(schema.values())
        elif isinstance(schema, list):
            waiting.extend(schema)
    return frozenset(found)


def beside_frames(raw: bytes, value: object, most: int) -> None:
    """Raise TooLarge if a body is larger than a limit, not counting the pictures of its frames.

    Raises:
        TooLarge: Escape sequences in a picture count towards the limit.
    """
    if len(raw) - sum(map(len, _pictures(value))) > most:
        raise TooLarge("body_too_large", f"A body may have {most} bytes beside its frames.")


def _pictures(value: object) -> Iterator[str]:
    """Yield the pictures of an action, or of one included in the start of a flow."""
    for holder in (value, _member(_member(value, "action"), "input")):
        frames = _member(holder, "frames")
        for frame in frames if isinstance(frames, list) else ():
            picture = _member(frame, "image")
            if isinstance(picture, str):
                yield picture


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None
