"""The policy in force."""

from importlib import resources
from typing import Final

from pydantic import ValidationError

from service.domain.decision import Decision, Facts
from service.domain.errors import SetupError
from service.policy import model
from service.policy.model import Document

_FILE: Final = "default.json"


class Policy:
    """Decides by one validated document."""

    def __init__(self, document: Document) -> None:
        self._document = document

    @classmethod
    def shipped(cls) -> "Policy":
        """Return the policy that ships with the service."""
        return cls(parse((resources.files("service.policy") / _FILE).read_text("utf-8")))

    @property
    def version(self) -> str:
        """Return the version of the document in force."""
        return self._document.version

    def decide(self, facts: Facts) -> Decision:
        """Return the decision on the facts."""
        return model.decide(self._document, facts)


def parse(text: str) -> Document:
    """Return a validated document.

    Raises:
        SetupError: The document is not valid; the detail names the first place to mend.
    """
    try:
        return Document.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "/" + "/".join(str(part) for part in first["loc"])
        raise SetupError("bad_policy", f"policy {place}: {first['msg']}") from None
