"""What the flow asks of a factor, in three phases, so that no lock waits for slow work."""

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
    """What a person presents to a factor, and the challenge it answers; shows neither."""

    values: Mapping[str, Any] = field(repr=False)
    challenge: Mapping[str, Any] = field(default_factory=dict, repr=False)
    segments: tuple[str, ...] = ()
    """The segments whose policy says, now, how hard the check is; the strictest counts."""


@dataclass(frozen=True, slots=True)
class Match:
    """A check that succeeded: what it used, and the verifier as it moved on."""

    authenticator: UUID
    used: Any = None
    verifier: bytes | None = field(default=None, repr=False)
    llr: float | None = None
    readings: Mapping[str, float] = field(default_factory=dict, repr=False)
    """What signals may judge of it, as numbers; it ends with the flow."""
    aside: tuple[Fault, ...] = ()
    """What of the input of a confirmation was set aside."""


class Factor(Protocol):
    """One way to verify a subject. `tx` is a unit of work of `service.store`."""

    name: str
    kind: Kind
    counter: str
    amr: tuple[str, ...]
    slow: bool
    """Slow work is done outside every transaction, between a reservation and its acceptance."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the input."""

    def parse(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the validated input, or raise BadInput."""

    def challenge(self, segments: Sequence[str]) -> dict[str, Any]:
        """Return a fresh challenge to keep with the flow; empty when the factor needs none.

        Args:
            segments: Those that the subject may be of; the strictest policy of them counts.
        """

    def counted(self, challenge: Mapping[str, Any]) -> str:
        """Return the counter that an answer to a challenge counts on."""

    def record(self, presented: Presented) -> dict[str, Any]:
        """Return what the audit log keeps of what was presented: no secret, nothing personal."""

    def aside(self, presented: Presented) -> tuple[Fault, ...]:
        """Return what of the input is set aside; it depends on nothing but the input."""

    def available(self) -> bool:
        """Tell whether this process can check the factor at all."""

    def load(self, tx: Any, subject: UUID) -> Any:  # noqa: ANN401 - a unit of work; the factor's own material
        """Read what the check needs; a subject without this factor gets the decoy's."""

    def check(self, material: Any, presented: Presented, now: datetime) -> Match:  # noqa: ANN401 - the factor's own material
        """Compare; raises VerificationFailed, or BadInput for what cannot be compared."""

    def consume(self, tx: Any, match: Match, now: datetime) -> None:  # noqa: ANN401 - a unit of work
        """Use up what counts once; raises VerificationFailed when another request did."""

    def keep(self, match: Match) -> dict[str, Any]:
        """Return a match as JSON values, for a flow that uses it up only when it tells."""

    def kept(self, value: Mapping[str, Any]) -> Match:
        """Return the match that `keep` wrote."""


class Enrollment(Protocol):
    """How one type of authenticator comes to be."""

    type: str
    consent: str
    """The purpose that must be consented to first; empty for none."""

    def prepare(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - what `begin` of the same type takes
        """Validate the input and do slow work, outside every transaction."""

    def begin(self, tx: Any, subject: UUID, label: str, prepared: Any) -> dict[str, Any]:  # noqa: ANN401 - a unit of work; what `prepare` gave
        """Enroll; return what the caller is shown, with `id` and `status`."""


@runtime_checkable
class Confirmation(Protocol):
    """How a pending authenticator of one type is confirmed."""

    def counted_pending(self, pending: Verifier) -> str:
        """Return the counter that a confirmation counts on."""

    def compare(self, pending: Verifier, values: Mapping[str, Any], now: datetime) -> Match:
        """Check what confirms a pending one; raises VerificationFailed or BadInput."""

    def confirm(self, tx: Any, pending: Verifier, match: Match) -> None:  # noqa: ANN401 - a unit of work
        """Make it active; raises VerificationFailed when another request was first."""


@runtime_checkable
class Trailing(Protocol):
    """A type of authenticator of which something else is kept that must not outlive it."""

    def revoked(self, tx: Any, subject: UUID) -> None:  # noqa: ANN401 - a unit of work
        """Forget it, as one of this type was revoked."""


@runtime_checkable
class Renewing(Protocol):
    """A pending authenticator whose challenge is used up by an attempt, whatever came of it."""

    def repeat(self, tx: Any, pending: Verifier) -> dict[str, Any]:  # noqa: ANN401 - a unit of work
        """Keep a fresh challenge; return what the caller is shown of it."""
