"""A session keeps, sealed, on which kind of device and from which network it began.

Sessions of before have nothing there, and tell nothing.

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
