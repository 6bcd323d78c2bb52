"""The port of a factor, in phases, so that no lock is held during slow work."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, TypedDict, TypeVar, cast
from uuid import UUID

from pydantic.json_schema import JsonSchemaValue

from service.domain.assurance import Kind
from service.domain.errors import Fault
from service.domain.json_values import Json
from service.store.ahead import PlannedRead
from service.store.engine import Tx

Input = TypeVar("Input")
"""The validated input of a factor."""
Material = TypeVar("Material")
"""The data of a subject that a factor verifies against."""
Used = TypeVar("Used")
"""The one-time material that a match consumes; None if there is none."""
_Input_co = TypeVar("_Input_co", covariant=True)
_Used_co = TypeVar("_Used_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Presented(Generic[_Input_co]):
    """The input presented to a factor and the challenge it answers; `repr` shows neither."""

    values: _Input_co = field(repr=False)
    challenge: Mapping[str, object] = field(default_factory=dict, repr=False)
    segments: tuple[str, ...] = ()
    """The segments whose current policies set the strictness of the check; the strictest counts."""


@dataclass(kw_only=True, frozen=True, slots=True)
class Match(Generic[_Used_co]):
    """A successful verification: the material to consume, and the updated verifier."""

    authenticator: UUID
    used: _Used_co
    verifier: bytes | None = field(default=None, repr=False)
    llr: float | None = None
    readings: Mapping[str, float] = field(default_factory=dict, repr=False)
    """Numbers from the check for risk signals; they are deleted with the flow."""
    aside: tuple[Fault, ...] = ()
    """Faults in a confirmation's input that were ignored."""


class KeptMatch(TypedDict):
    """A match as JSON values, in the state of a flow."""

    authenticator: str
    used: Json
    verifier: str | None


class Factor(ABC, Generic[Input, Material, Used]):
    """A method to verify a subject: challenge, load, verify and consume."""

    name: ClassVar[str]
    kind: ClassVar[Kind]
    counter: ClassVar[str]
    amr: ClassVar[tuple[str, ...]]
    slow: ClassVar[bool]
    """Slow work runs outside every transaction, between the reservation and the result."""

    @abstractmethod
    def schema(self) -> JsonSchemaValue:
        """Return the JSON Schema of the input."""

    @abstractmethod
    def parse(self, values: Mapping[str, object]) -> Input:
        """Return the validated input, or raise BadInput."""

    @abstractmethod
    def load(self, tx: Tx, subject: UUID) -> Material:
        """Read the material to verify against; a subject without this factor gets the decoy's."""

    def ahead(self, tx: Tx, subject: UUID) -> list[PlannedRead]:  # noqa: ARG002 - for factors that say so
        """Return what `load` reads, to read it with other rows; empty if it reads for itself."""
        return []

    @abstractmethod
    def verify(self, material: Material, presented: Presented[Input], now: datetime) -> Match[Used]:
        """Compare; raises VerificationFailed, or BadInput if the input cannot be compared."""

    @abstractmethod
    def consume(self, tx: Tx, match: Match[Used], now: datetime) -> None:
        """Consume one-time material; raises VerificationFailed if another request did."""

    @abstractmethod
    def pack_used(self, used: Used) -> Json:
        """Return the material that a match consumes as a JSON value."""

    @abstractmethod
    def unpack_used(self, value: Json) -> Used:
        """Return the material that `pack_used` packed."""

    def challenge(self, segments: Sequence[str]) -> Mapping[str, object]:  # noqa: ARG002 - for factors with a challenge
        """Return a new challenge to store with the flow; empty if the factor needs none.

        Args:
            segments: The segments that the subject may belong to; their strictest policy counts.
        """
        return {}

    def counted(self, challenge: Mapping[str, object]) -> str:  # noqa: ARG002 - for factors with several counters
        """Return the counter for an answer to a challenge."""
        return self.counter

    def record(self, presented: Presented[Input]) -> Mapping[str, str]:  # noqa: ARG002 - for factors with a record
        """Return the audit record of the presented values: no secrets, no personal data."""
        return {}

    def aside(self, presented: Presented[Input]) -> tuple[Fault, ...]:  # noqa: ARG002 - for factors that ignore input
        """Return the input faults that are ignored; they depend on the input alone."""
        return ()

    def available(self) -> bool:
        """Return whether this process can verify the factor."""
        return True

    def keep(self, match: Match[Used]) -> KeptMatch:
        """Return a match as JSON values, for a flow that consumes it on disclosure."""
        verifier = match.verifier
        return {
            "authenticator": str(match.authenticator),
            "used": self.pack_used(match.used),
            "verifier": None if verifier is None else verifier.hex(),
        }

    def kept(self, value: Mapping[str, object]) -> Match[Used]:
        """Return the match that `keep` wrote."""
        # The state of a flow is sealed, so it holds the members that `keep` wrote.
        written = cast("KeptMatch", value)
        verifier = written["verifier"]
        return Match(
            authenticator=UUID(written["authenticator"]),
            used=self.unpack_used(written["used"]),
            verifier=None if verifier is None else bytes.fromhex(verifier),
        )


AnyFactor = Factor[Any, Any, Any]
"""A factor whose input and material only the factor itself reads."""
