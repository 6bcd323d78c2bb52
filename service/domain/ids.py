"""Identifiers: time-ordered UUIDs for rows, and the reserved owners of the service's own keys."""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from crypto import opaque
from crypto.fields import Owner, OwnerKind

_RESERVED: Final = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")

_LATEST: Final = 2**48 - 1
"""Milliseconds, of what a UUIDv7 holds."""
DECOY: Final = uuid5(_RESERVED, "urn:lamina:subject:decoy")
"""The decoy subject, with verifiers that stand in for those of unknown identifiers."""


def new_id(now: datetime) -> UUID:
    """Return a UUIDv7 for a row, generated before the insert so that it can be associated data."""
    return opaque.uuid7(int(now.timestamp() * 1000))


def ids_at(moment: datetime) -> tuple[UUID, UUID]:
    """Return the first and the last id that a row of a moment, to the millisecond, can have."""
    at = min(max(int(moment.timestamp() * 1000), 0), _LATEST) << 80
    return UUID(int=at), UUID(int=at | (2**80 - 1))


_SUBJECT: Final = OwnerKind.SUBJECT


def subject_owner(subject: UUID) -> Owner:
    """Return the key owner of a subject's sealed fields."""
    return Owner(_SUBJECT, subject)


def client_owner(client: UUID) -> Owner:
    """Return the key owner of a client's sealed secrets."""
    return Owner(OwnerKind.CLIENT, client)


def service_owner(purpose: str) -> Owner:
    """Return the reserved key owner of one purpose of the service."""
    return Owner(OwnerKind.SERVICE, uuid5(_RESERVED, f"urn:lamina:service:{purpose}"))


def parse_id(text: str) -> UUID | None:
    """Parse a UUID from a path or body; return None if it is malformed."""
    try:
        return UUID(text)
    except ValueError:
        return None
