"""Read access to stored policies, with checks; shared by evaluation and lifecycle."""

import re
from datetime import datetime
from typing import Final, Literal

from service.domain.errors import Conflict, NotFound
from service.domain.ids import new_id
from service.policy import store
from service.policy.actions.parsing import parse
from service.policy.model import parser
from service.policy.model.compiler import Whole, compile_document
from service.policy.model.document import Document
from service.policy.model.threshold_shift import ThresholdShift
from service.policy.store import PolicyDocument, PolicyStateContent
from service.store.engine import Tx

SHIPPED: Final = "shipped"
_VERSION: Final = re.compile(r"[0-9a-f]{8,64}")


def state(tx: Tx) -> tuple[int, PolicyStateContent]:
    """Return the revision and content of the policy state; raises NotFound."""
    found = store.state(tx)
    if found is None:
        raise NotFound("policy_not_found", "No policy is active.")
    return found


def course(
    content: PolicyStateContent, name: Literal["tighten", "agreed"] = "tighten"
) -> ThresholdShift | None:
    """Return the current threshold shift, or the last approved one (`agreed`)."""
    found = content.get(name)
    return ThresholdShift.from_json(found) if found else None


def row(tx: Tx, version: str) -> PolicyDocument:
    """Return a document by its version or an unambiguous prefix; raises NotFound."""
    if not _VERSION.fullmatch(version):
        raise no_policy()
    found = store.starting(tx, version)
    if len(found) != 1:
        raise no_policy()
    return found[0]


def whole(tx: Tx, version: str) -> Whole:
    """Return a stored document compiled.

    Raises:
        NotFound: The document does not exist.
        Conflict: The stored document does not match its version.
        OpenError: It was changed in the database.
    """
    found = store.document(tx, version)
    if found is None:
        raise no_policy()
    compiled = compile_document(parse(found.body))
    if compiled.version != version:
        raise Conflict("policy_changed", "The stored document is not the one of its version.")
    return compiled


def add(tx: Tx, *, document: Document, version: str, actor: str, now: datetime) -> None:
    """Store a document; the default one counts as validated."""
    new = PolicyDocument(
        id=new_id(now),
        version=version,
        name=document.name,
        created_at=now,
        created_by=actor,
        validated_at=now if actor == SHIPPED else None,
    )
    new.body = parser.canonical(document).decode()
    tx.add(new)
    tx.flush()


def no_policy() -> NotFound:
    """Return the error for an unknown document."""
    return NotFound("policy_not_found", "There is no such policy.")
