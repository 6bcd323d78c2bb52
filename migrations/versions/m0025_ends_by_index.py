"""Indexes by which expired rows are found, and positions of the log beyond two billion.

Two billion entries are 18 days of 200 logins a second, so that positions take eight bytes, for
which PostgreSQL rewrites the tables of the log; SQLite's integers have them. An index of decisions
by time is dropped, as their ids begin with it, and sessions that replace none need no
entry in the index by what they replace.

Revision: 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_POSITIONS = (
    ("audit_leaf", "position"),
    ("audit_link", "position"),
    ("audit_checkpoint", "position"),
    ("audit_checkpoint", "start"),
    ("row_mark", "position"),
)
_ENDS = (
    "completion_code",
    "grant",
    "kept_answer",
    "refresh_token",
    "revoked_token",
    "session",
    "used_assertion",
    "verification_code",
)
_PARTIAL = (
    ("ix_authenticator_ended", "authenticator", ["status", "created_at"], "status <> 'active'"),
    ("ix_session_revoked_at", "session", ["revoked_at"], "revoked_at IS NOT NULL"),
    ("ix_session_untaken", "session", ["created_at"], "taken_up_at IS NULL"),
    ("ix_session_replaces", "session", ["replaces"], "replaces IS NOT NULL"),
)


def upgrade() -> None:
    _widen(sa.BigInteger(), sa.Integer())
    op.drop_index("ix_policy_decision_at", "policy_decision")
    op.drop_index("ix_session_replaces", "session")
    for table in _ENDS:
        op.create_index(f"ix_{table}_expires_at", table, ["expires_at"])
    op.create_index("ix_totp_used_step_step", "totp_used_step", ["step"])
    for name, table, columns, which in _PARTIAL:
        where = sa.text(which)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, table, _, _ in _PARTIAL:
        op.drop_index(name, table)
    op.drop_index("ix_totp_used_step_step", "totp_used_step")
    for table in _ENDS:
        op.drop_index(f"ix_{table}_expires_at", table)
    op.create_index("ix_session_replaces", "session", ["replaces"])
    op.create_index("ix_policy_decision_at", "policy_decision", ["at"])
    _widen(sa.Integer(), sa.BigInteger())


def _widen(wide: sa.types.TypeEngine[int], narrow: sa.types.TypeEngine[int]) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table, column in _POSITIONS:
            op.alter_column(table, column, type_=wide, existing_type=narrow)
