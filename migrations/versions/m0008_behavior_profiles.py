"""Behavioral profiles replace raw samples, which are deleted because they cannot be opened here.

Revision: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "behavior_profile",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("device_class", sa.String(length=16), nullable=False),
        sa.Column("signal", sa.String(length=16), nullable=False),
        sa.Column("password_id", sa.Uuid(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("absent", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"], ["subject.id"], name=op.f("fk_behavior_profile_subject_id_subject")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_behavior_profile")),
        sa.UniqueConstraint(
            "subject_id",
            "device_class",
            "signal",
            name=op.f("uq_behavior_profile_subject_id_device_class_signal"),
        ),
    )
    op.drop_table("behavior_sample")


def downgrade() -> None:
    op.create_table(
        "behavior_sample",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("flow", sa.String(length=36), nullable=False),
        sa.Column("field", sa.String(length=32), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"], ["subject.id"], name=op.f("fk_behavior_sample_subject_id_subject")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_behavior_sample")),
    )
    for column in ("flow", "subject_id"):
        op.create_index(op.f(f"ix_behavior_sample_{column}"), "behavior_sample", [column])
    op.drop_table("behavior_profile")
