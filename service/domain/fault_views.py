"""Faults as responses show them."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.errors import Fault
from service.domain.formats import FaultView


class SetAside(TypedDict, total=False):
    """The member of a response that lists the ignored parts of the input."""

    set_aside: Annotated[
        list[FaultView], Field(description="The parts of the input that were ignored.")
    ]


def set_aside(faults: Sequence[Fault]) -> SetAside:
    """Return the response member that lists the ignored parts of the input."""
    return {"set_aside": views(faults)} if faults else {}


def views(faults: Sequence[Fault]) -> list[FaultView]:
    """Return faults as responses show them."""
    return [
        {"pointer": fault.pointer, "code": fault.code, "detail": fault.detail} for fault in faults
    ]
