"""What a subject has enrolled, as a value that any feature may hold."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID


class Status(StrEnum):
    """The life of an authenticator."""

    PENDING = "pending"
    ACTIVE = "active"
    REVOKED = "revoked"


TYPES: Final = ("password", "totp", "recovery_codes", "face")
"""The kinds that can be enrolled on this floor."""

FACTOR_OF_TYPE: Final = {name: name for name in TYPES} | {"recovery_codes": "recovery_code"}
"""The factor that checks a type: a set of codes is enrolled, one code is shown."""


@dataclass(frozen=True, slots=True)
class Authenticator:
    """One enrolled authenticator, without its verifier."""

    id: UUID
    subject: UUID
    type: str
    status: Status
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Verifier:
    """An opened verifier on its way to a check; its repr shows no secret."""

    authenticator: UUID
    subject: UUID
    type: str
    secret: bytes = field(repr=False)
