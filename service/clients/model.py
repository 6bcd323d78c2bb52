"""Client scopes, the client record, and the overlap after a credential is replaced."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from service.domain import scopes

SCOPES: Final = frozenset(scopes.CLIENT)
"""Scopes that a client can be granted: a route requires each, or returns more because of it."""
UNSERVED: Final = frozenset(
    {"transactions:write", "transactions:read", "signals:write", "receipts:read"}
)
"""Names of scopes that no route uses yet: granting one would promise access that does not exist.

Clients that were granted one earlier keep working, and their tokens leave it out.
"""
SECRET_PREFIX: Final = "lsec_"  # noqa: S105 - a readable prefix, so that scanners find leaks
LONGEST_NAME: Final = 120
LONGEST_OVERLAP: Final = timedelta(days=30)
"""The longest time that a replaced secret or key set stays valid."""


def overlaps(until: datetime | None, now: datetime) -> bool:
    """Tell whether a replaced credential is still valid; an implausibly late end is ignored."""
    return until is not None and now < until <= now + LONGEST_OVERLAP


@dataclass(kw_only=True, frozen=True, slots=True)
class Client:
    """A registered client, without its secret.

    Args:
        scopes: What it may do.
        idle: Scopes granted earlier that can no longer be granted: they have no effect.
    """

    id: UUID
    name: str
    scopes: frozenset[str]
    first_party: bool
    asserts_context: bool
    segments: tuple[str, ...]
    jwks: dict[str, Any] | None
    idle: frozenset[str] = frozenset()


@dataclass(kw_only=True, frozen=True, slots=True)
class NewClient:
    """The attributes of a client to be registered."""

    name: str
    scopes: tuple[str, ...]
    first_party: bool = False
    asserts_context: bool = False
    segments: tuple[str, ...] = ("default",)
    jwks: dict[str, Any] | None = None
