"""Key life cycle: states, instances, jobs, erasures and legal holds.

Revision: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
TABLES = (
    "key_export",
    "record_key",
    "canary",
    "legal_hold",
    "tombstone",
    "long_job",
    "key_instance",
    "data_generation",
    "index_key",
)


def upgrade() -> None:
    with op.batch_alter_table("kek") as table:
        table.add_column(sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("destroy_after", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("signing_key") as table:
        table.add_column(sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("dek") as table:
        table.add_column(sa.Column("kek_version", sa.Integer(), nullable=True))
    _read_versions()
    with op.batch_alter_table("dek") as table:
        table.alter_column("kek_version", nullable=False)
    op.create_index(op.f("ix_dek_key_class_kek_version"), "dek", ["key_class", "kek_version"])
    op.create_table(
        "index_key",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_index_key")),
    )
    op.create_table(
        "data_generation",
        sa.Column("key_class", sa.String(length=32), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_class", name=op.f("pk_data_generation")),
    )
    op.create_table(
        "key_instance",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_instance")),
    )
    op.create_table(
        "long_job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_long_job")),
    )
    op.create_table(
        "tombstone",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("horizon", sa.DateTime(timezone=True), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tombstone")),
    )
    op.create_index(op.f("ix_tombstone_subject_id"), "tombstone", ["subject_id"])
    op.create_table(
        "legal_hold",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(length=128), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"], ["subject.id"], name=op.f("fk_legal_hold_subject_id_subject")
        ),
        sa.PrimaryKeyConstraint("subject_id", name=op.f("pk_legal_hold")),
    )
    op.create_table(
        "canary",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"], ["subject.id"], name=op.f("fk_canary_subject_id_subject")
        ),
        sa.PrimaryKeyConstraint("subject_id", name=op.f("pk_canary")),
    )
    op.create_table(
        "record_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("public_jwk", sa.JSON(), nullable=False),
        sa.Column("private", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_record_key")),
        sa.UniqueConstraint("kid", name=op.f("uq_record_key_kid")),
    )
    op.create_table(
        "key_export",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("keys", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_export")),
    )


def _read_versions() -> None:
    """Read the KEK version of each data key from its bytes."""
    connection = op.get_bind()
    dek = sa.table("dek", sa.column("id"), sa.column("wrapped"), sa.column("kek_version"))
    rows = connection.execute(sa.select(dek.c.id, dek.c.wrapped)).all()
    for row in rows:
        version = int.from_bytes(row.wrapped[3:7], "big")
        connection.execute(dek.update().where(dek.c.id == row.id).values(kek_version=version))


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
    op.drop_index(op.f("ix_dek_key_class_kek_version"), table_name="dek")
    with op.batch_alter_table("dek") as table:
        table.drop_column("kek_version")
    with op.batch_alter_table("signing_key") as table:
        table.drop_column("changed_at")
    with op.batch_alter_table("kek") as table:
        table.drop_column("destroy_after")
        table.drop_column("changed_at")
