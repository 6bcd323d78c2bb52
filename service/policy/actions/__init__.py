"""Documents from text, and the one that ships with the service."""

from functools import cache
from importlib import resources
from typing import Final

from service.policy.model import parser
from service.policy.model.document import Document

_FILE: Final = "default.json"


def parse(text: str) -> Document:
    """Return the document that a YAML or JSON text holds.

    Raises:
        BadInput: It is not valid; one fault per place to mend, with its JSON pointer.
    """
    return parser.read(parser.load(text))


@cache
def shipped() -> Document:
    """Return the document that ships with the service."""
    return parse((resources.files("service.policy") / _FILE).read_text("utf-8"))
