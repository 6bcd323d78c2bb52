"""Indexes for operators' lists in their own order, of any length.

Revision: 0023
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_RARE = sa.text(
    "kind NOT IN ('factor.failed', 'factor.tried', 'factor.verified', 'flow.begun', "
    "'flow.completed', 'rows.changed', 'session.ended', 'session.started')"
)


def upgrade() -> None:
    op.create_index("ix_subject_listed", "subject", ["segment", "status", "id"])
    about = sa.text("subject_id IS NOT NULL")
    op.create_index(
        "ix_audit_leaf_subject",
        "audit_leaf",
        ["subject_id", "id"],
        sqlite_where=about,
        postgresql_where=about,
    )
    op.create_index(
        "ix_audit_leaf_rare",
        "audit_leaf",
        ["kind", "id"],
        sqlite_where=_RARE,
        postgresql_where=_RARE,
    )


def downgrade() -> None:
    op.drop_index("ix_audit_leaf_rare", table_name="audit_leaf")
    op.drop_index("ix_audit_leaf_subject", table_name="audit_leaf")
    op.drop_index("ix_subject_listed", table_name="subject")
