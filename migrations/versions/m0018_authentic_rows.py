"""A MAC on every row that decides about access; rows get theirs at the first start.

Revision: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TABLES = (
    "approval",
    "authenticator",
    "bootstrap_token",
    "client",
    "completion_code",
    "consent",
    "grant",
    "known_device",
    "legal_hold",
    "operator_role",
    "recovery_code",
    "refresh_token",
    "session",
    "subject",
    "subject_index",
    "suspension",
    "verification_code",
)


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("mac", sa.LargeBinary(length=23), nullable=True))
    op.add_column(
        "throttle", sa.Column("changes", sa.Integer(), nullable=False, server_default="1")
    )
    op.create_table(
        "row_mark",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("mac", sa.LargeBinary(length=23), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_row_mark")),
    )


def downgrade() -> None:
    op.drop_table("row_mark")
    op.drop_column("throttle", "changes")
    for table in reversed(TABLES):
        op.drop_column(table, "mac")
