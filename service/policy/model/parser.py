"""Parse YAML or JSON text to a policy document, with one fault per error."""

import hashlib
import json
import re
from typing import Final, NoReturn

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from yaml.nodes import MappingNode, Node

from crypto.canonical import canonical_json
from service.domain.errors import BadInput, Fault
from service.policy.model.document import Document

LARGEST: Final = 256 * 1024
_DEEPEST: Final = 24
_MOST_FAULTS: Final = 2000


_GREATEST: Final = 2**53 - 1
"""The greatest integer that JSON represents exactly (RFC 8785, appendix D)."""
_SCALARS: Final = {
    "tag:yaml.org,2002:null": r"~|null|Null|NULL|",
    "tag:yaml.org,2002:bool": r"true|True|TRUE|false|False|FALSE",
    "tag:yaml.org,2002:int": r"[-+]?(?:0|[1-9][0-9]{0,18})",
    "tag:yaml.org,2002:float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
}
"""Plain scalars that are not text: YAML 1.2's core schema, minus what JSON lacks."""


class _Loader(yaml.SafeLoader):
    """YAML restricted to JSON values: no aliases, which can expand without bound, no twin keys.

    Dates, base-60 numbers and binary are not resolved: `12:30` and `2026-11-01` are text.
    """

    # The resolvers of YAML 1.1 are not inherited; those of `_SCALARS` are added below.
    yaml_implicit_resolvers = {}  # noqa: RUF012 - as PyYAML declares it

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Reject an alias."""
        if self.check_event(yaml.events.AliasEvent):
            raise _wrong("", "yaml_alias", "aliases are not taken")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[object, object]:  # noqa: FBT001, FBT002 - PyYAML's signature
        """Reject duplicate and non-text member names."""
        names = [self.construct_object(name, deep=True) for name, _ in node.value]
        line = node.start_mark.line + 1
        if not all(isinstance(name, str) for name in names):
            detail = f"the object at line {line} has a member name that is not text; quote it"
            raise _wrong("", "member_name", detail)
        if len(set(names)) != len(names):
            raise _wrong("", "duplicate_member", f"the object at line {line} names a member twice")
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern in _SCALARS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})\\Z"), None)


def load(text: str) -> object:
    """Parse a YAML or JSON text to a value.

    Raises:
        BadInput: The text is too long, or is neither.
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
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # PyYAML raises some of these from its own constructors, for example for `!!bool maybe`.
        raise _wrong("", "not_yaml", "is neither YAML nor JSON") from None


def read(value: object) -> Document:
    """Validate a JSON value as a document.

    Raises:
        BadInput: One fault per error, with its pointer.
    """
    _json_only(value, "", 0)
    try:
        return Document.model_validate(value)
    except ValidationError as error:
        if error.error_count() > _MOST_FAULTS:
            raise _wrong("", "too_many_faults", f"has more than {_MOST_FAULTS} faults") from None
        found = error.errors(include_url=False, include_input=False)
        raise BadInput(*map(_fault, found[:20]), code="bad_policy") from None


def _fault(item: ErrorDetails) -> Fault:
    kind = str(item["type"])
    if kind == "extra_forbidden":
        # An unknown name is not repeated; the pointer names its parent.
        return Fault(_pointer(item["loc"][:-1]), kind, "has a member that is not known")
    return Fault(_pointer(item["loc"]), kind, _text(item["msg"]))


def canonical(document: Document) -> bytes:
    """Return the canonical form of a document (RFC 8785), with the members that were set."""
    return canonical_json(document.model_dump(mode="json", by_alias=True, exclude_unset=True))


def version_of(document: Document) -> str:
    """Return the version of a document: SHA-256 of the canonical form, in hex."""
    return hashlib.sha256(canonical(document)).hexdigest()


def _json_only(value: object, pointer: str, depth: int) -> None:
    """Reject values that JSON cannot represent exactly, as the version is a hash of the JSON."""
    if depth > _DEEPEST:
        raise _wrong("", "too_deep", f"is nested deeper than {_DEEPEST}")
    if isinstance(value, dict):
        for name, item in value.items():
            _json_only(item, f"{pointer}/{_escaped(name)}", depth + 1)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _json_only(item, f"{pointer}/{number}", depth + 1)
    else:
        _scalar(value, pointer)


def _scalar(value: object, pointer: str) -> None:
    if isinstance(value, str):
        if not _encodable(value):
            raise _wrong(pointer, "not_text", "holds half a surrogate pair, which is no text")
    elif isinstance(value, int | float):
        # True and False are numbers to Python, and in range; comparisons with NaN are false.
        if not abs(value) <= _GREATEST:
            detail = f"must be a number from {-_GREATEST} to {_GREATEST}"
            raise _wrong(pointer, "number_out_of_range", detail)
    elif value is not None:
        detail = "must be a JSON value: an object, a list, text, a number, true, false or null"
        raise _wrong(pointer, "not_json", detail)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(name: object) -> str:
    if not isinstance(name, str) or not _encodable(name):
        raise _wrong("", "member_name", "a member's name is no text")
    return name.replace("~", "~0").replace("/", "~1")


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _wrong("", "duplicate_member", "an object names a member twice")
    return members


def _no_constant(_name: str) -> NoReturn:
    raise _wrong("", "not_json", "NaN and Infinity are not JSON")


def _pointer(location: tuple[int | str, ...]) -> str:
    """Return the JSON pointer (RFC 6901); pydantic marks an invalid key with an extra part."""
    parts = [str(part) for part in location if part != "[key]"]
    return "".join(f"/{_escaped(part)}" for part in parts)


def _text(message: str) -> str:
    return message.removeprefix("Value error, ")


def _wrong(pointer: str, code: str, detail: str) -> BadInput:
    return BadInput(Fault(pointer, code, detail), code="bad_policy")
