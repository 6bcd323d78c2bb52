"""The scopes that a client can hold, and what a client is."""

from dataclasses import dataclass
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
