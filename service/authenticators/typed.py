"""What factors have in common that take typed input and need no challenge."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from service.authenticators.factor import Match, Presented
from service.domain.authenticator import Verifier
from service.domain.errors import Fault
from service.domain.validation import parse


class Nothing(BaseModel):
    """The input where there is nothing to say."""

    model_config = ConfigDict(extra="forbid")


class TypedFactor:
    """The half of a factor that follows from the form of its input."""

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
        """Return nothing: what is typed answers no challenge."""
        return {}

    def counted(self, challenge: Mapping[str, Any]) -> str:  # noqa: ARG002 - the protocol's signature
        """Return the one counter of this factor."""
        return self.counter

    def counted_pending(self, pending: Verifier) -> str:  # noqa: ARG002 - the protocol's signature
        """Return the one counter of this factor."""
        return self.counter

    def record(self, presented: Presented) -> dict[str, Any]:  # noqa: ARG002 - the protocol's signature
        """Return nothing: what is typed is a secret."""
        return {}

    def aside(self, presented: Presented) -> tuple[Fault, ...]:  # noqa: ARG002 - as above
        """Return nothing: all that is typed counts."""
        return ()

    def available(self) -> bool:
        """Return whether this can be checked here: always."""
        return True

    def keep(self, match: Match) -> dict[str, Any]:
        """Return a match as JSON values, for a flow that uses it up only when it tells."""
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
            UUID(value["authenticator"]),
            self.unpack_used(value["used"]),
            None if verifier is None else bytes.fromhex(verifier),
        )

    def pack_used(self, used: Any) -> Any:  # noqa: ANN401, ARG002 - the factor's own material
        """Return what a match uses up as a JSON value: nothing here."""
        return None

    def unpack_used(self, value: Any) -> Any:  # noqa: ANN401, ARG002 - the factor's own material
        """Return what `pack_used` wrote."""
        return None
