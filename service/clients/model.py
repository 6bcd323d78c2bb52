"""Client scopes, the client record, and the overlap after a credential is replaced."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from service.domain import scopes
from service.domain.errors import BadInput, Fault

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


def known_scopes(scopes: Collection[str], at: str) -> list[str]:
    """Return scopes sorted, without duplicates; raises BadInput for one that is not grantable."""
    wanted = sorted(set(scopes))
    if early := sorted(set(wanted) & UNSERVED):
        verb = "opens" if len(early) == 1 else "open"
        detail = f"{' '.join(early)} {verb} nothing yet: no route uses it; leave it out"
        raise BadInput(Fault(at, "scope_not_served", detail))
    if set(wanted) - SCOPES:
        detail = f"contains an unknown scope; known: {' '.join(sorted(SCOPES))}"
        raise BadInput(Fault(at, "unknown_scope", detail))
    return wanted


def check_overlap(overlap: timedelta) -> None:
    """Check that an overlap is not negative or too long; raises BadInput."""
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        detail = f"must be 0 to {LONGEST_OVERLAP.days} days"
        raise BadInput(Fault("/overlap", "bad_overlap", detail))


def checked_name(name: str) -> str:
    """Return a name without surrounding spaces; raises BadInput for an empty or too long one."""
    found = name.strip()
    if not 0 < len(found) <= LONGEST_NAME:
        detail = f"must be a name of 1 to {LONGEST_NAME} characters"
        raise BadInput(Fault("/name", "bad_name" if found else "missing", detail))
    return found


JwkSet = dict[str, list[dict[str, str]]]
"""A JWK set (RFC 7517 section 5) with its public members only: a list under `keys`."""


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
    jwks: JwkSet | None
    idle: frozenset[str] = frozenset()


@dataclass(kw_only=True, frozen=True, slots=True)
class NewClient:
    """The attributes of a client to be registered."""

    name: str
    scopes: tuple[str, ...]
    first_party: bool = False
    asserts_context: bool = False
    segments: tuple[str, ...] = ("default",)
    jwks: JwkSet | None = None
