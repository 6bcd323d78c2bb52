"""The scopes that a client can hold, what a client is, and how long what it replaced counts."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

SCOPES: Final = frozenset(
    {
        "subjects:read", "subjects:write", "subjects:erase", "subjects:export",
        "authenticators:write",
        "consents:write", "sessions:write", "suspensions:write", "flows:write", "risk:read",
        "face:score", "behavior:read", "behavior:write", "transactions:write",
        "transactions:read", "policy:read", "signals:write", "receipts:read", "audit:read",
        "introspect",
    }
)  # fmt: skip
SECRET_PREFIX: Final = "lsec_"  # noqa: S105 - a readable prefix, so that scanners find leaks
LONGEST_NAME: Final = 120
LONGEST_OVERLAP: Final = timedelta(days=30)
"""How long a secret or key set that was replaced may count at most."""


def overlaps(until: datetime | None, now: datetime) -> bool:
    """Tell whether what was replaced still counts; a time too far ahead is no time of ours."""
    return until is not None and now < until <= now + LONGEST_OVERLAP


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client, without its secret."""

    id: UUID
    name: str
    scopes: frozenset[str]
    first_party: bool
    asserts_context: bool
    segments: tuple[str, ...]
    jwks: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class NewClient:
    """What an operator says of a client to be."""

    name: str
    scopes: tuple[str, ...]
    first_party: bool = False
    asserts_context: bool = False
    segments: tuple[str, ...] = ("default",)
    jwks: dict[str, Any] | None = None
