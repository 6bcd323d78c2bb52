"""Versions of created root keys, so that running processes look for them.

Revision: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "root_version",
        sa.Column("key_class", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_class", name=op.f("pk_root_version")),
    )


def downgrade() -> None:
    op.drop_table("root_version")
