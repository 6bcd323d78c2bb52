"""The interface of a factor, in three phases, so that no lock is held during slow work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from service.domain.assurance import Kind
from service.domain.authenticator import Verifier
from service.domain.errors import Fault


@dataclass(frozen=True, slots=True)
class Presented:
    """The values presented to a factor and the challenge they answer; `repr` shows neither."""

    values: Mapping[str, Any] = field(repr=False)
    challenge: Mapping[str, Any] = field(default_factory=dict, repr=False)
    segments: tuple[str, ...] = ()
    """The segments whose current policies set the strictness of the check; the strictest counts."""


@dataclass(kw_only=True, frozen=True, slots=True)
class Match:
    """A successful check: the material to consume, and the updated verifier."""

    authenticator: UUID
    used: Any = None
    verifier: bytes | None = field(default=None, repr=False)
    llr: float | None = None
    readings: Mapping[str, float] = field(default_factory=dict, repr=False)
    """Numbers from the check for risk signals; they are deleted with the flow."""
    aside: tuple[Fault, ...] = ()
    """Faults in a confirmation's input that were ignored."""


class Factor(Protocol):
    """A method to verify a subject. `tx` is a transaction of `service.store`."""

    name: str
    kind: Kind
    counter: str
    amr: tuple[str, ...]
    slow: bool
    """Slow work runs outside every transaction, between the reservation and the result."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the input."""

    def parse(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the validated input, or raise BadInput."""

    def challenge(self, segments: Sequence[str]) -> dict[str, Any]:
        """Return a new challenge to store with the flow; empty if the factor needs none.

        Args:
            segments: The segments that the subject may belong to; their strictest policy counts.
        """

    def counted(self, challenge: Mapping[str, Any]) -> str:
        """Return the counter for an answer to a challenge."""

    def record(self, presented: Presented) -> dict[str, Any]:
        """Return the audit record of the presented values: no secrets, no personal data."""

    def aside(self, presented: Presented) -> tuple[Fault, ...]:
        """Return the input faults that are ignored; they depend on the input alone."""

    def available(self) -> bool:
        """Return whether this process can check the factor."""

    def load(self, tx: Any, subject: UUID) -> Any:  # noqa: ANN401 - a transaction; the factor's own material
        """Read the material for the check; a subject without this factor gets the decoy's."""

    def check(self, material: Any, presented: Presented, now: datetime) -> Match:  # noqa: ANN401 - the factor's own material
        """Compare; raises VerificationFailed, or BadInput if the input cannot be compared."""

    def consume(self, tx: Any, match: Match, now: datetime) -> None:  # noqa: ANN401 - a transaction
        """Consume one-time material; raises VerificationFailed if another request did."""

    def keep(self, match: Match) -> dict[str, Any]:
        """Return a match as JSON values, for a flow that consumes it on disclosure."""

    def kept(self, value: Mapping[str, Any]) -> Match:
        """Return the match that `keep` wrote."""


class Enrollment(Protocol):
    """The enrollment of one type of authenticator."""

    type: str
    consent: str
    """The purpose that requires a consent first; empty for none."""

    def prepare(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - what `begin` of the same type takes
        """Validate the input and do slow work, outside every transaction."""

    def begin(self, tx: Any, subject: UUID, label: str, prepared: Any) -> dict[str, Any]:  # noqa: ANN401 - a transaction; what `prepare` gave
        """Enroll; return the data to show to the caller, with `id` and `status`."""


@runtime_checkable
class Confirmation(Protocol):
    """The confirmation of a pending authenticator of one type."""

    def counted_pending(self, pending: Verifier) -> str:
        """Return the counter for a confirmation."""

    def compare(self, pending: Verifier, values: Mapping[str, Any], now: datetime) -> Match:
        """Check a confirmation's input; raises VerificationFailed or BadInput."""

    def confirm(self, tx: Any, pending: Verifier, match: Match) -> None:  # noqa: ANN401 - a transaction
        """Activate the authenticator; raises VerificationFailed if another request was first."""


@runtime_checkable
class Trailing(Protocol):
    """A type of authenticator with related data that must not outlive it."""

    def revoked(self, tx: Any, subject: UUID) -> None:  # noqa: ANN401 - a transaction
        """Delete the related data after an authenticator of this type was revoked."""


@runtime_checkable
class Renewing(Protocol):
    """A pending authenticator with a challenge that every attempt consumes."""

    def repeat(self, tx: Any, pending: Verifier) -> dict[str, Any]:  # noqa: ANN401 - a transaction
        """Store a new challenge; return the data to show to the caller."""
