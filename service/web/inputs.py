"""Validated input: pydantic models whose faults become pointers, never echoes of what came in."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.domain.errors import BadInput, Fault

M = TypeVar("M", bound=BaseModel)


def pointer(location: tuple[int | str, ...]) -> str:
    """Return the JSON pointer (RFC 6901) of a place in the input."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def parse(model: type[M], values: object, at: str = "") -> M:
    """Return the validated model.

    Raises:
        BadInput: One fault per thing to mend, with its pointer; no value is repeated.
    """
    if not isinstance(values, Mapping):
        raise BadInput(Fault(at or "", "object_type", "must be a JSON object"))
    try:
        return model.model_validate(dict(values), strict=False)
    except ValidationError as error:
        faults = [_fault(item, at) for item in error.errors(include_url=False, include_input=False)]
        raise BadInput(*faults[:20]) from None


def _fault(item: Any, at: str) -> Fault:  # noqa: ANN401 - pydantic's ErrorDetails
    kind = str(item["type"])
    # Messages of custom checks are ours; pydantic's own name the limit, never the input.
    message = str(item["msg"]).removeprefix("Value error, ")
    return Fault(at + pointer(item["loc"]), kind, message)
