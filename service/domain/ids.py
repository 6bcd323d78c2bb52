"""Identifiers: time-ordered UUIDs for rows, and the reserved owners of the service's own keys."""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from crypto import opaque
from crypto.fields import Owner, OwnerKind

_RESERVED: Final = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")

DECOY: Final = uuid5(_RESERVED, "urn:lamina:subject:decoy")
"""The subject whose verifiers stand in wherever an identifier leads to nobody."""


def new_id(now: datetime) -> UUID:
    """Return a UUIDv7 for a row, made before the flush so that it can be associated data."""
    return opaque.uuid7(int(now.timestamp() * 1000))


_SUBJECT: Final = OwnerKind.SUBJECT


def subject_owner(subject: UUID) -> Owner:
    """Return the owner under whose keys a subject's fields are sealed."""
    return Owner(_SUBJECT, subject)


def client_owner(client: UUID) -> Owner:
    """Return the owner under whose keys a client's secrets are sealed."""
    return Owner(OwnerKind.CLIENT, client)


def service_owner(purpose: str) -> Owner:
    """Return the reserved owner for one purpose of the service itself."""
    return Owner(OwnerKind.SERVICE, uuid5(_RESERVED, f"urn:lamina:service:{purpose}"))


def parse_id(text: str) -> UUID | None:
    """Return the UUID that a path or body names, or None where it names none."""
    try:
        return UUID(text)
    except ValueError:
        return None
