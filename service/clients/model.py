"""The scopes that a client can hold, what a client is, and how long what it replaced counts."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

SCOPES: Final = frozenset(
    {
        "subjects:read",
        "subjects:write",
        "subjects:erase",
        "subjects:export",
        "authenticators:write",
        "consents:write",
        "sessions:write",
        "suspensions:write",
        "flows:write",
        "risk:read",
        "face:score",
        "behavior:read",
        "behavior:write",
        "policy:read",
        "introspect",
    }
)
"""What a client can be given: each is taken by a route, or widens what one answers."""
UNSERVED: Final = frozenset(
    {"transactions:write", "transactions:read", "signals:write", "receipts:read"}
)
"""Names of scopes that no route takes yet: a token that held one would promise what nothing does.

Clients that were given one before go on, and their tokens leave it out.
"""
SECRET_PREFIX: Final = "lsec_"  # noqa: S105 - a readable prefix, so that scanners find leaks
LONGEST_NAME: Final = 120
LONGEST_OVERLAP: Final = timedelta(days=30)
"""How long a secret or key set that was replaced may count at most."""


def overlaps(until: datetime | None, now: datetime) -> bool:
    """Tell whether what was replaced still counts; a time too far ahead is no time of ours."""
    return until is not None and now < until <= now + LONGEST_OVERLAP


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client, without its secret.

    Args:
        scopes: What it may do.
        idle: What it was given that no client can be given any more: it counts for nothing.
    """

    id: UUID
    name: str
    scopes: frozenset[str]
    first_party: bool
    asserts_context: bool
    segments: tuple[str, ...]
    jwks: dict[str, Any] | None
    idle: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NewClient:
    """What an operator says of a client to be."""

    name: str
    scopes: tuple[str, ...]
    first_party: bool = False
    asserts_context: bool = False
    segments: tuple[str, ...] = ("default",)
    jwks: dict[str, Any] | None = None
