"""Lists for operators are read by their own order, however long they are.

Revision: 0023
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_subject_listed", "subject", ["segment", "status", "id"])


def downgrade() -> None:
    op.drop_index("ix_subject_listed", table_name="subject")
