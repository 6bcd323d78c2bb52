"""JSON views of roles and approvals."""

from typing import Any

from service.domain.clock import rfc3339
from service.store.engine import AnyRow


def of_role(row: AnyRow) -> dict[str, Any]:
    """Return the view of a role of a subject."""
    return {
        "subject": str(row.subject_id),
        "role": row.role,
        "granted_at": rfc3339(row.granted_at),
        "granted_by": row.granted_by,
    }


def of_approval(row: Any) -> dict[str, Any]:  # noqa: ANN401 - an object or a row
    """Return the view of an approval."""
    return {
        "id": str(row.id),
        "act": row.act,
        "target": row.target,
        "params": row.params,
        "reason": row.reason,
        "status": row.status,
        "requested_by": row.requested_by,
        "decided_by": row.decided_by,
        "created_at": rfc3339(row.created_at),
        "expires_at": rfc3339(row.expires_at),
        "used_at": rfc3339(row.used_at) if row.used_at else None,
    }
