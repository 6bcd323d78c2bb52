"""Lock the subject of a flow before changing any of its data (ADR 6)."""

from dataclasses import replace
from typing import Final
from uuid import UUID

from service.accounts.actions.accounts import Accounts
from service.domain.errors import NotFound
from service.domain.ids import DECOY
from service.login.model import Flow
from service.store.engine import Tx

_NO_SUBJECT: Final = UUID(int=0)


def locked(tx: Tx, accounts: Accounts, flow: Flow) -> Flow:
    """Lock the subject of a flow; one erased meanwhile becomes unknown.

    The decoy is not locked, because all flows of unknown subjects would wait for each other. The
    same statement runs with an id that does not exist, so that it takes the same time.

    Raises:
        NotFound: The flow has already disclosed that the subject exists, and it was erased.
    """
    terms = flow.terms
    present = accounts.hold(tx, terms.subject if terms.known else _NO_SUBJECT)
    if present or not terms.known:
        return flow
    if flow.disclosing:
        raise no_flow()
    return replace(flow, terms=replace(terms, subject=DECOY, known=False))


def no_flow() -> NotFound:
    """Return the error for a flow that does not exist for this client."""
    return NotFound("flow_not_found", "There is no such flow.")
