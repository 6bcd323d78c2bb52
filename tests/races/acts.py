"""The registry of acts: ways to use an operation that changes something of a subject."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tests.races.people import Person
from tests.races.processes import Request


class Operation(NamedTuple):
    """A method and a path as the table of routes has them."""

    method: str
    path: str


Build = Callable[[Person], Callable[[], Request]]
"""Makes what the requests need, for one person; then one request after the other."""


@dataclass(frozen=True)
class Act:
    """One way to use an operation.

    Args:
        feature: Acts of one feature race in the short form.
        most: How many of any number at once may succeed; None for all.
        guesses: Of which guesses at one limit it is, where a refusal was a check; else empty.
    """

    name: str
    operation: Operation
    feature: str
    build: Build
    most: int | None = None
    guesses: str = ""


ACTS: dict[str, Act] = {}


def act(method, path, feature, name, **more):
    """Register the builder of an act."""

    def registered(build):
        ACTS[name] = Act(name, Operation(method, path), feature, build, **more)
        return build

    return registered


def _always(make):
    """Return a builder that needs nothing made before."""
    return lambda person: lambda: make(person)


def simple(method, path, feature, name, make, **more):
    """Register an act that needs nothing made before."""
    ACTS[name] = Act(name, Operation(method, path), feature, _always(make), **more)
