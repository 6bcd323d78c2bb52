"""Write the audit entries of flows."""

from service.audit.actions.audit_log import AuditLog
from service.domain.json_values import Json
from service.login.model import Flow
from service.store.engine import Tx


def note(audit: AuditLog, tx: Tx, flow: Flow, kind: str, **data: Json) -> None:
    """Append an entry about a flow; an unknown subject is not named.

    Args:
        audit: The audit log.
        tx: A transaction.
        flow: The flow.
        kind: The kind of the entry.
        data: Its further members.
    """
    audit.append(
        tx,
        kind,
        subject=flow.terms.subject if flow.terms.known else None,
        actor=str(flow.terms.client),
        flow=str(flow.id),
        flow_kind=flow.terms.kind.value,
        **data,
    )
