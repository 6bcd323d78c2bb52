"""Shared behavior of factors with one typed form as input."""

from abc import ABC
from collections.abc import Mapping
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import JsonSchemaValue

from service.authenticators.factor import Factor, Material, Used
from service.domain.validation import parse

Form = TypeVar("Form", bound=BaseModel)


class Nothing(BaseModel):
    """Empty input."""

    model_config = ConfigDict(extra="forbid")


class TypedFactor(Factor[Form, Material, Used], ABC, Generic[Form, Material, Used]):
    """The part of a factor that follows from its input form."""

    form: type[Form]

    def schema(self) -> JsonSchemaValue:
        """Return the JSON Schema of the input."""
        return self.form.model_json_schema()

    def parse(self, values: Mapping[str, object]) -> Form:
        """Return the validated input."""
        return parse(self.form, values)
