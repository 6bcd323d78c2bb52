"""Enrolled authenticators as values that any feature may use."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

HELP_DESK: Final = "help_desk"
"""The factor that checks the code of a recovery by two operators; it proves no level."""


class Status(StrEnum):
    """The lifecycle states of an authenticator."""

    PENDING = "pending"
    ACTIVE = "active"
    REVOKED = "revoked"


TYPES: Final = ("password", "totp", "recovery_codes", "face")
"""The types that can be enrolled."""

FACTOR_OF_TYPE: Final = {name: name for name in TYPES} | {"recovery_codes": "recovery_code"}
"""The factor that verifies each type: a set of codes is enrolled, a single code is verified."""


@dataclass(kw_only=True, frozen=True, slots=True)
class Authenticator:
    """An enrolled authenticator, without its verifier."""

    id: UUID
    subject: UUID
    type: str
    status: Status
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Verifier:
    """A decrypted verifier; its repr hides the secret."""

    authenticator: UUID
    subject: UUID
    type: str
    secret: bytes = field(repr=False)
