"""The stored form of a decision: a version, then its JSON, squeezed."""

from typing import Final, cast

import orjson

from service.domain.squeezing import expand, squeeze
from service.policy.model import replay
from service.policy.model.decision import Decision, Facts
from service.policy.model.replay import StoredDecision
from service.policy.model.wording import WORDING

_VERSION: Final = b"2"
_OPENING: Final = b"{"
"""How the first form begins: plain JSON."""
_MOST: Final = 1 << 20


def content_of(facts: Facts, decision: Decision) -> bytes:
    """Return a decision with its facts as JSON."""
    content: StoredDecision = {
        "facts": replay.facts_to_json(facts),
        "outcome": replay.decision_to_json(decision),
    }
    return orjson.dumps(content)


def pack(content: bytes) -> bytes:
    """Return the stored form of the JSON of a decision, to be sealed."""
    return _VERSION + squeeze(content, WORDING)


def unpack(stored: bytes) -> StoredDecision:
    """Return a stored decision, of this form or the one before.

    Raises:
        ValueError: It is of no known form; the message repeats no part of it.
    """
    if stored.startswith(_VERSION):
        stored = expand(stored[1:], WORDING, _MOST)
    elif not stored.startswith(_OPENING):
        raise ValueError("a stored decision has a form that this program does not know")
    return cast("StoredDecision", orjson.loads(stored))
