"""Short hashes of accepted face frames, so that no frame is accepted twice.

Revision: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("face_template_secret") as table:
        table.add_column(sa.Column("seen", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("face_template_secret") as table:
        table.drop_column("seen")
