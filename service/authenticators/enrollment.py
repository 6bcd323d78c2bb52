"""The port of an enrollment: prepare, begin and, for some types, confirm."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from service.authenticators.factor import Match, Used
from service.authenticators.views import NewAuthenticator, Renewal, not_pending
from service.domain.authenticator import Verifier
from service.store.engine import Tx

Prepared = TypeVar("Prepared")
"""The result of the slow part of an enrollment."""


class Enrollment(ABC, Generic[Prepared, Used]):
    """The enrollment of one type of authenticator."""

    type: ClassVar[str]
    consent: ClassVar[str] = ""
    """The purpose that requires a consent first; empty for none."""
    confirmed: ClassVar[bool] = False
    """Whether an authenticator of this type is pending until its owner confirms it."""

    @abstractmethod
    def prepare(self, values: Mapping[str, object]) -> Prepared:
        """Validate the input and do slow work, outside every transaction."""

    @abstractmethod
    def begin(self, tx: Tx, subject: UUID, label: str, prepared: Prepared) -> NewAuthenticator:
        """Enroll; return the data to show to the caller."""

    def counted_pending(self, pending: Verifier) -> str:  # noqa: ARG002 - for confirmed types
        """Return the counter for a confirmation."""
        raise not_pending()

    def compare(
        self,
        pending: Verifier,  # noqa: ARG002 - for types that are confirmed
        values: Mapping[str, object],  # noqa: ARG002 - as above
        now: datetime,  # noqa: ARG002 - as above
    ) -> Match[Used]:
        """Verify a confirmation's input; raises VerificationFailed or BadInput."""
        raise not_pending()

    def confirm(
        self,
        tx: Tx,  # noqa: ARG002 - for types that are confirmed
        pending: Verifier,  # noqa: ARG002 - as above
        match: Match[Used],  # noqa: ARG002 - as above
    ) -> None:
        """Activate the authenticator; raises VerificationFailed if another request was first."""
        raise not_pending()

    def repeat(self, tx: Tx, pending: Verifier) -> Renewal:  # noqa: ARG002 - for types with a challenge
        """Store a new challenge after a refused confirmation; return the data to show."""
        return {}

    def revoked(self, tx: Tx, subject: UUID) -> None:
        """Delete data that must not outlive a revoked authenticator of this type."""


AnyEnrollment = Enrollment[Any, Any]
"""An enrollment whose prepared data only the enrollment itself reads."""
