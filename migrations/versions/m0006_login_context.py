"""Login context: sealed histories, counts over all subjects, and failures by keyed digests.

Revision: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "login_context_history",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"], ["subject.id"], name=op.f("fk_login_context_history_subject_id_subject")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_context_history")),
        sa.UniqueConstraint("subject_id", name=op.f("uq_login_context_history_subject_id")),
    )
    op.create_table(
        "login_context_seen",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("digests", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_context_seen")),
    )
    op.create_index(op.f("ix_login_context_seen_at"), "login_context_seen", ["at"])
    op.create_table(
        "login_context_population",
        sa.Column("digest", sa.LargeBinary(length=9), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_login_context_population")),
    )
    op.create_table(
        "login_context_failure",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("subject_digest", sa.LargeBinary(length=8), nullable=False),
        sa.Column("network_digest", sa.LargeBinary(length=8), nullable=False),
        sa.Column("known_device", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_context_failure")),
    )
    op.create_index(op.f("ix_login_context_failure_at"), "login_context_failure", ["at"])
    for column in ("subject_digest", "network_digest"):
        op.create_index(
            op.f(f"ix_login_context_failure_{column}_at"), "login_context_failure", [column, "at"]
        )
    op.create_table(
        "login_context_tally",
        sa.Column("window", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("window", name=op.f("pk_login_context_tally")),
    )


def downgrade() -> None:
    for table in ("tally", "failure", "population", "seen", "history"):
        op.drop_table(f"login_context_{table}")
