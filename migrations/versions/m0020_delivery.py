"""Delivery of messages: their targets, their progress, and webhooks that receive events.

Messages in the outbox from before are not delivered automatically, because many are old: use
`lamina outbox retry`.

Revision: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("outbox") as table:
        table.add_column(sa.Column("channel", sa.String(length=16), nullable=True))
        table.add_column(sa.Column("client_id", sa.Uuid(), nullable=True))
        table.add_column(sa.Column("until", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("routed_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE outbox SET until = at, routed_at = at")
    with op.batch_alter_table("outbox") as table:
        table.alter_column("until", existing_type=sa.DateTime(timezone=True), nullable=False)
    op.create_index(
        "ix_outbox_unrouted",
        "outbox",
        ["id"],
        sqlite_where=sa.text("routed_at IS NULL"),
        postgresql_where=sa.text("routed_at IS NULL"),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("target", sa.String(length=48), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", sa.String(length=32), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["outbox.id"],
            name=op.f("fk_delivery_message_id_outbox"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint("message_id", "target", name=op.f("uq_delivery_message_id_target")),
    )
    op.create_index(
        "ix_delivery_waiting",
        "delivery",
        ["target", "until"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "webhook",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.String(length=512), nullable=False),
        sa.Column("kinds", sa.String(length=512), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("old_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("old_secret", sa.LargeBinary(), nullable=True),
        sa.Column("mac", sa.LargeBinary(length=23), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )


def downgrade() -> None:
    op.drop_table("webhook")
    op.drop_table("delivery")
    op.drop_index("ix_outbox_unrouted", "outbox")
    with op.batch_alter_table("outbox") as table:
        for name in ("routed_at", "until", "client_id", "channel"):
            table.drop_column(name)
