"""Shared behavior of factors with typed input and no challenge."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from service.authenticators.factor import Match, Presented
from service.domain.authenticator import Verifier
from service.domain.errors import Fault
from service.domain.validation import parse


class Nothing(BaseModel):
    """Empty input."""

    model_config = ConfigDict(extra="forbid")


class TypedFactor:
    """The part of a factor that follows from its input form."""

    form: ClassVar[type[BaseModel]]
    counter: str
    consent = ""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the input."""
        return self.form.model_json_schema()

    def parse(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the validated input."""
        return parse(self.form, values).model_dump()

    def challenge(self, segments: Sequence[str]) -> dict[str, Any]:  # noqa: ARG002 - the protocol's signature
        """Return an empty challenge: typed input answers none."""
        return {}

    def counted(self, challenge: Mapping[str, Any]) -> str:  # noqa: ARG002 - the protocol's signature
        """Return the one counter of this factor."""
        return self.counter

    def counted_pending(self, pending: Verifier) -> str:  # noqa: ARG002 - the protocol's signature
        """Return the one counter of this factor."""
        return self.counter

    def record(self, presented: Presented) -> dict[str, Any]:  # noqa: ARG002 - the protocol's signature
        """Return an empty record: the input is a secret."""
        return {}

    def aside(self, presented: Presented) -> tuple[Fault, ...]:  # noqa: ARG002 - as above
        """Return no faults: no typed input is ignored."""
        return ()

    def available(self) -> bool:
        """Return True: this factor can be checked everywhere."""
        return True

    def keep(self, match: Match) -> dict[str, Any]:
        """Return a match as JSON values, for a flow that consumes it on disclosure."""
        verifier = match.verifier
        return {
            "authenticator": str(match.authenticator),
            "used": self.pack_used(match.used),
            "verifier": None if verifier is None else verifier.hex(),
        }

    def kept(self, value: Mapping[str, Any]) -> Match:
        """Return the match that `keep` wrote."""
        verifier = value["verifier"]
        return Match(
            authenticator=UUID(value["authenticator"]),
            used=self.unpack_used(value["used"]),
            verifier=None if verifier is None else bytes.fromhex(verifier),
        )

    def pack_used(self, used: Any) -> Any:  # noqa: ANN401, ARG002 - the factor's own material
        """Return the material that a match consumes as a JSON value: None here."""
        return None

    def unpack_used(self, value: Any) -> Any:  # noqa: ANN401, ARG002 - the factor's own material
        """Return the material that `pack_used` packed."""
        return None
