"""Sessions become active when their code is exchanged; grants refer to their session.

Revision: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("session", sa.Column("taken_up_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("session", sa.Column("replaces", sa.Uuid(), nullable=True))
    op.add_column("session", sa.Column("device_id", sa.Uuid(), nullable=True))
    op.create_index(op.f("ix_session_replaces"), "session", ["replaces"])
    op.add_column("authenticator", sa.Column("session_id", sa.Uuid(), nullable=True))
    op.add_column("grant", sa.Column("session_id", sa.Uuid(), nullable=True))
    # Older grants do not record the evidence that earned them: their five minutes end now.
    op.execute('DELETE FROM "grant"')
    # Older sessions were active at once; those with an unused code now wait for its exchange.
    op.execute(
        "UPDATE session SET taken_up_at = created_at WHERE id NOT IN "
        "(SELECT session_id FROM completion_code WHERE used_at IS NULL)"
    )


def downgrade() -> None:
    # Without the column, a session that waits for its code would be active.
    op.execute("UPDATE session SET revoked_at = created_at WHERE taken_up_at IS NULL")
    op.drop_column("grant", "session_id")
    op.drop_column("authenticator", "session_id")
    op.drop_index(op.f("ix_session_replaces"), "session")
    for name in ("device_id", "replaces", "taken_up_at"):
        op.drop_column("session", name)
