"""Counts of codes sent and guessed are recorded in the log; older counts end with the upgrade.

The log identifies a row by its key, and the name of a count recurs: each row gets its own key. Rows
that the log does not know would be taken for rows inserted by hand. After a downgrade and upgrade,
rows that the log knows are reported as missing.

Both these counts and those of attempts store what the last change found: the log records it, so
that an edit is detected even after the next change.

Revision: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("limit_count")
    op.create_table(
        "limit_count",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("bucket", sa.String(length=64), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.Column("was_times", sa.Integer(), nullable=True),
        sa.Column("was_next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("was_ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_limit_count")),
        sa.UniqueConstraint("bucket", name=op.f("uq_limit_count_bucket")),
    )
    op.create_index(op.f("ix_limit_count_ends_at"), "limit_count", ["ends_at"])
    op.add_column("throttle", sa.Column("was", sa.String(length=120), nullable=True))
    for name in ("was_locked_until", "was_updated_at"):
        op.add_column("throttle", sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for name in ("was_updated_at", "was_locked_until", "was"):
        op.drop_column("throttle", name)
    op.drop_table("limit_count")
    op.create_table(
        "limit_count",
        sa.Column("bucket", sa.String(length=64), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("bucket", name=op.f("pk_limit_count")),
    )
    op.create_index(op.f("ix_limit_count_ends_at"), "limit_count", ["ends_at"])
