"""Lock whom a flow is about before anything that they own is changed (ADR 6)."""

from dataclasses import replace
from typing import Final
from uuid import UUID

from service.accounts.actions import Accounts
from service.domain.errors import NotFound
from service.domain.ids import DECOY
from service.login.model import Flow
from service.store.engine import Tx

_NOBODY: Final = UUID(int=0)


def held(tx: Tx, accounts: Accounts, flow: Flow) -> Flow:
    """Lock the subject of a flow; one erased meanwhile is nobody from now on.

    The decoy is not locked, as all unknown people would wait for each other: the same statement
    is asked about nobody, so that it costs the same.

    Raises:
        NotFound: It was told already that the flow is somebody's, who was erased meanwhile.
    """
    terms = flow.terms
    present = accounts.hold(tx, terms.subject if terms.known else _NOBODY)
    if present or not terms.known:
        return flow
    if flow.disclosing:
        raise no_flow()
    return replace(flow, terms=replace(terms, subject=DECOY, known=False))


def no_flow() -> NotFound:
    """Return the refusal of a flow that is not there for this client."""
    return NotFound("flow_not_found", "There is no such flow.")
