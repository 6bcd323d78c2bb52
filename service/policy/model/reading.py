"""From text to a document: YAML or JSON, one canonical form, one fault per place to mend."""

import hashlib
import json
from typing import Any, Final, NoReturn

import yaml
from pydantic import ValidationError
from yaml.nodes import MappingNode, Node

from crypto.canonical import canonical_json
from service.domain.errors import BadInput, Fault
from service.policy.model.document import Document

LARGEST: Final = 256 * 1024
_DEEPEST: Final = 24


class _Loader(yaml.SafeLoader):
    """YAML without aliases, which can grow a short text beyond bounds, and without twin keys."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Refuse an alias."""
        if self.check_event(yaml.events.AliasEvent):
            raise _wrong("", "yaml_alias", "aliases are not taken")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        """Refuse a member that is named twice."""
        names = [self.construct_object(name, deep=True) for name, _ in node.value]
        if len(set(map(str, names))) != len(names):
            line = node.start_mark.line + 1
            raise _wrong("", "duplicate_member", f"the object at line {line} names a member twice")
        return super().construct_mapping(node, deep=deep)


def load(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a YAML or JSON text.

    Raises:
        BadInput: The text is too long or is neither.
    """
    if len(text) > LARGEST:
        raise _wrong("", "too_long", f"must have at most {LARGEST} characters")
    try:
        if text.lstrip().startswith("{"):
            return json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _wrong("", "not_json", f"is not JSON: {error.msg} at {place}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _wrong("", "not_yaml", f"is not YAML: {error.problem}{place}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise _wrong("", "not_yaml", "is neither YAML nor JSON") from None


def read(value: object) -> Document:
    """Return the document that a JSON value holds.

    Raises:
        BadInput: One fault per place to mend, with its pointer.
    """
    _shallow(value, 0)
    try:
        return Document.model_validate(value)
    except ValidationError as error:
        faults = [
            Fault(_pointer(item["loc"]), str(item["type"]), _text(item["msg"]))
            for item in error.errors(include_url=False, include_input=False)
        ]
        raise BadInput(*faults[:20], code="bad_policy") from None


def canonical(document: Document) -> bytes:
    """Return the one form of a document: what was said, in RFC 8785."""
    return canonical_json(document.model_dump(mode="json", by_alias=True, exclude_unset=True))


def version_of(document: Document) -> str:
    """Return the content hash that every decision shows: SHA-256 of the canonical form, in hex."""
    return hashlib.sha256(canonical(document)).hexdigest()


def _shallow(value: object, depth: int) -> None:
    if depth > _DEEPEST:
        raise _wrong("", "too_deep", f"is nested deeper than {_DEEPEST}")
    inner = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        for item in inner:  # type: ignore[attr-defined]  # one of the two
            _shallow(item, depth + 1)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _wrong("", "duplicate_member", "an object names a member twice")
    return members


def _no_constant(_name: str) -> NoReturn:
    raise _wrong("", "not_json", "NaN and Infinity are not JSON")


def _pointer(location: tuple[int | str, ...]) -> str:
    """Return the JSON pointer (RFC 6901); pydantic marks a wrong key with a part of its own."""
    parts = [str(part) for part in location if part != "[key]"]
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def _text(message: str) -> str:
    return message.removeprefix("Value error, ")


def _wrong(pointer: str, code: str, detail: str) -> BadInput:
    return BadInput(Fault(pointer, code, detail), code="bad_policy")
