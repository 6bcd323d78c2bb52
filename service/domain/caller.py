"""Who calls: a client service with its scopes and flags, as the guard found it."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Caller:
    """A service account behind a valid access token."""

    client: UUID
    scopes: frozenset[str]
    first_party: bool = False
    asserts_context: bool = False
    segments: tuple[str, ...] = ("default",)
