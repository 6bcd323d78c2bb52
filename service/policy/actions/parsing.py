"""Parsing of policy documents, and the default document."""

from functools import cache
from importlib import resources
from typing import Final

from service.policy.model import parser
from service.policy.model.document import Document

_FILE: Final = "default.json"


def parse(text: str) -> Document:
    """Parse a policy document from YAML or JSON text.

    Raises:
        BadInput: It is not valid; one fault per error, with its JSON pointer.
    """
    return parser.read(parser.load(text))


@cache
def shipped() -> Document:
    """Return the default document."""
    return parse((resources.files("service.policy") / _FILE).read_text("utf-8"))
