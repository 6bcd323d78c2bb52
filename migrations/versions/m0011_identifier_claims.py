"""Proof belongs to an identifier; several subjects may claim an unproven one.

Pending codes are deleted: they were sealed without the address they were sent to.

Revision: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

PROVEN = """
UPDATE subject_index SET verified_at = (
    SELECT CASE subject_index.field
        WHEN 'email' THEN subject.email_verified_at
        WHEN 'phone' THEN subject.phone_verified_at
        ELSE subject.created_at END
    FROM subject WHERE subject.id = subject_index.subject_id
)
"""
# Two concurrent changes could leave two identifiers for a subject, one of them never proven: the
# later one stays and must be proven again.
DOUBTFUL = """
UPDATE subject_index SET verified_at = NULL WHERE field <> 'username' AND EXISTS (
    SELECT 1 FROM subject_index AS other
    WHERE other.subject_id = subject_index.subject_id AND other.field = subject_index.field
    AND other.key_version = subject_index.key_version AND other.id <> subject_index.id
)
"""
OLDER = """
DELETE FROM subject_index WHERE EXISTS (
    SELECT 1 FROM subject_index AS other
    WHERE other.subject_id = subject_index.subject_id AND other.field = subject_index.field
    AND other.key_version = subject_index.key_version AND other.id > subject_index.id
)
"""
BACK = """
UPDATE subject SET {field}_verified_at = (
    SELECT min(verified_at) FROM subject_index
    WHERE subject_index.subject_id = subject.id AND subject_index.field = '{field}'
)
"""
# Before, an identifier had one row: that of its owner, else of its first claimant.
OTHERS = """
DELETE FROM subject_index WHERE verified_at IS NULL AND EXISTS (
    SELECT 1 FROM subject_index AS other
    WHERE other.field = subject_index.field AND other.key_version = subject_index.key_version
    AND other.digest = subject_index.digest AND other.id <> subject_index.id
    AND (other.verified_at IS NOT NULL OR other.id < subject_index.id)
)
"""
ALONE = "uq_subject_index_field_key_version_digest"
MINE = "uq_subject_index_subject_id_field_key_version"


def upgrade() -> None:
    op.execute("DELETE FROM verification_code")
    with op.batch_alter_table("verification_code") as table:
        table.drop_column("attempts")
    op.add_column(
        "subject_index", sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("subject_index", sa.Column("form", sa.Integer(), nullable=True))
    op.execute("UPDATE subject_index SET form = 1")
    op.execute(PROVEN)
    op.execute(DOUBTFUL)
    op.execute(OLDER)
    with op.batch_alter_table("subject_index") as table:
        table.drop_constraint(ALONE, type_="unique")
        table.create_unique_constraint(op.f(MINE), ["subject_id", "field", "key_version"])
        table.alter_column("form", existing_type=sa.Integer(), nullable=False)
    columns = ["field", "key_version", "digest"]
    op.create_index(op.f("ix_subject_index_field_key_version_digest"), "subject_index", columns)
    proven = sa.text("verified_at IS NOT NULL")
    op.create_index(
        "uq_subject_index_verified",
        "subject_index",
        columns,
        unique=True,
        sqlite_where=proven,
        postgresql_where=proven,
    )
    # Not in a batch: SQLite cannot rebuild a table that others reference.
    op.drop_column("subject", "email_verified_at")
    op.drop_column("subject", "phone_verified_at")
    op.create_table(
        "limit_count",
        sa.Column("bucket", sa.String(length=64), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("bucket", name=op.f("pk_limit_count")),
    )
    op.create_index(op.f("ix_limit_count_ends_at"), "limit_count", ["ends_at"])


def downgrade() -> None:
    op.drop_table("limit_count")
    for field in ("email", "phone"):
        column = sa.Column(f"{field}_verified_at", sa.DateTime(timezone=True), nullable=True)
        op.add_column("subject", column)
        op.execute(BACK.format(field=field))
    op.execute(OTHERS)
    op.drop_index("uq_subject_index_verified", "subject_index")
    op.drop_index(op.f("ix_subject_index_field_key_version_digest"), "subject_index")
    with op.batch_alter_table("subject_index") as table:
        table.drop_constraint(op.f(MINE), type_="unique")
        table.create_unique_constraint(op.f(ALONE), ["field", "key_version", "digest"])
        table.drop_column("verified_at")
        table.drop_column("form")
    op.execute("DELETE FROM verification_code")
    with op.batch_alter_table("verification_code") as table:
        table.add_column(sa.Column("attempts", sa.Integer(), nullable=False))
