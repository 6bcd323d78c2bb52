"""JSON Schemas of bodies and responses: one pass, so that they share their definitions."""

import re
from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

_REF: Final = "#/components/schemas/{model}"
_GENERIC: Final = re.compile(r"(\w+)\[(\w+)\]")
_NO_LETTER: Final = re.compile(r"\W+")
Mode = Literal["validation", "serialization"]


class _Generator(GenerateJsonSchema):
    """A TypedDict is closed unless its `extra` says otherwise; `Page[X]` is called `XPage`."""

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        found = {"additionalProperties": False} | super().typed_dict_schema(schema)
        # The name of the component is the title: that of a generic type would be of many.
        found.pop("title", None)
        return found

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's signature
        return False

    def normalize_name(self, name: str) -> str:
        return super().normalize_name(_GENERIC.sub(r"\2\1", name))


def generated(
    wanted: Iterable[tuple[Any, Mode]],
) -> tuple[dict[tuple[object, Mode], JsonSchemaValue], JsonSchemaValue]:
    """Return the schema of each type, and the components that they refer to.

    Args:
        wanted: Types (models of bodies, types of answers), each once, with its mode.
    """
    known = list(wanted)
    inputs: list[tuple[int, Mode, TypeAdapter[object]]] = [
        (number, mode, TypeAdapter[object](kind)) for number, (kind, mode) in enumerate(known)
    ]
    found, definitions = TypeAdapter.json_schemas(
        inputs, ref_template=_REF, schema_generator=_Generator
    )
    components = definitions.get("$defs", {})
    for component in components.values():
        for name, member in component.get("properties", {}).items():
            _name_inner_types(name, member)
    schemas = {(kind, mode): found[number, mode] for number, (kind, mode) in enumerate(known)}
    return schemas, components


def _name_inner_types(name: str, member: dict[str, Any]) -> None:
    """Name an inner type that may be null, and values that are no identifiers.

    Generated clients would call the type `…Type0`, and `enroll:totp` `ENROLLTOTP`.
    """
    choices = member.get("anyOf", [])
    for choice in choices:
        if "enum" in choice or choice.get("type") == "object":
            choice.setdefault("title", name)
    for schema in (member, member.get("items", {}), *choices):
        values = schema.get("enum", ())
        if not all(str(value).isidentifier() for value in values):
            schema["x-enum-varnames"] = [_NO_LETTER.sub("_", str(it)).upper() for it in values]
