"""A session stores, sealed, the kind of device and the network where it started.

Older sessions have no such value and report none.

Revision: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("session", sa.Column("origin", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("session", "origin")
