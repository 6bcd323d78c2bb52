"""The access that depends on authenticators: sessions, as this feature sees them."""

from typing import Protocol
from uuid import UUID

from service.store.engine import Tx


class Access(Protocol):
    """The access that depends on authenticators."""

    def is_active(self, tx: Tx, session: UUID) -> bool:
        """Return whether a session, or its successor, is active."""

    def security_changed(self, tx: Tx, subject: UUID, acting: UUID | None) -> None:
        """End access that must not outlive an authenticator, except the acting session."""
