"""A policy that decides by one compiled document."""

from functools import cache
from importlib import resources
from typing import Final

from service.domain.decision import Decision, Facts
from service.policy.model import engine, reading
from service.policy.model.compiling import Whole, compile_document
from service.policy.model.document import Document

_FILE: Final = "default.json"


class Policy:
    """Decides by one document, without a store and without live parameters."""

    def __init__(self, whole: Whole) -> None:
        self._whole = whole

    @classmethod
    def shipped(cls) -> "Policy":
        """Return the policy that ships with the service."""
        return cls(compile_document(shipped()))

    @property
    def version(self) -> str:
        """Return the content hash of the document."""
        return self._whole.version

    def decide(self, facts: Facts) -> Decision:
        """Return the decision on the facts."""
        return engine.decide(self._whole, facts)


def parse(text: str) -> Document:
    """Return the document that a YAML or JSON text holds.

    Raises:
        BadInput: It is not valid; one fault per place to mend, with its JSON pointer.
    """
    return reading.read(reading.load(text))


@cache
def shipped() -> Document:
    """Return the document that ships with the service."""
    return parse((resources.files("service.policy") / _FILE).read_text("utf-8"))
