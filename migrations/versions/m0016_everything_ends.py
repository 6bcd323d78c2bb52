"""Retention of all data: answers are counted per client; strict face counters are marked.

Revision: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_THROTTLE = sa.table("throttle", sa.column("face", sa.Integer()), sa.column("strict", sa.Boolean()))
_ABOVE = 1000


def upgrade() -> None:
    op.add_column(
        "throttle", sa.Column("strict", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    face = _THROTTLE.c.face
    op.execute(
        _THROTTLE.update().where(face >= _ABOVE).values(strict=face > _ABOVE, face=face - _ABOVE)
    )
    op.create_index(op.f("ix_kept_answer_client_id"), "kept_answer", ["client_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_kept_answer_client_id"), "kept_answer")
    face = _THROTTLE.c.face
    op.execute(_THROTTLE.update().where(_THROTTLE.c.strict).values(face=face + _ABOVE))
    op.drop_column("throttle", "strict")
