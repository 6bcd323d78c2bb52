"""What factors have in common that take typed input and need no challenge."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from service.web.inputs import parse


class Nothing(BaseModel):
    """The input where there is nothing to say."""

    model_config = ConfigDict(extra="forbid")


class TypedFactor:
    """The half of a factor that follows from the form of its input."""

    form: ClassVar[type[BaseModel]]
    consent = ""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the input."""
        return self.form.model_json_schema()

    def parse(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the validated input."""
        return parse(self.form, values).model_dump()

    def challenge(self) -> dict[str, Any]:
        """Return nothing: what is typed answers no challenge."""
        return {}

    def available(self) -> bool:
        """Return whether this can be checked here: always."""
        return True
