"""At most one active authenticator per type, and one active consent per purpose.

A database with more, from before changes locked the subject, keeps the newest. A consent given
before the last withdrawal for its purpose ends with it.

Revision: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_OTHERS = """
SELECT id FROM (
  SELECT id, row_number() OVER (
    PARTITION BY subject_id, type ORDER BY coalesce(confirmed_at, created_at) DESC, id DESC
  ) AS place FROM authenticator WHERE status = 'active'
) AS ranked WHERE place > 1
"""
_ERASED = bytes((0xF9, 0, 0xFF, 0xFF))
"""The bytes that an erasure leaves of a sealed value: no key can seal an empty one here."""
_REPAIRS = (
    """
    UPDATE consent SET withdrawn_at = (
      SELECT max(other.withdrawn_at) FROM consent AS other
      WHERE other.subject_id = consent.subject_id AND other.purpose = consent.purpose
    )
    WHERE withdrawn_at IS NULL AND EXISTS (
      SELECT 1 FROM consent AS other
      WHERE other.subject_id = consent.subject_id AND other.purpose = consent.purpose
        AND other.withdrawn_at > consent.given_at
    )
    """,
    """
    UPDATE consent SET withdrawn_at = (
      SELECT max(other.given_at) FROM consent AS other
      WHERE other.subject_id = consent.subject_id AND other.purpose = consent.purpose
        AND other.withdrawn_at IS NULL
    )
    WHERE id IN (
      SELECT id FROM (
        SELECT id, row_number() OVER (
          PARTITION BY subject_id, purpose ORDER BY given_at DESC, id DESC
        ) AS place FROM consent WHERE withdrawn_at IS NULL
      ) AS ranked WHERE place > 1
    )
    """,
)


def upgrade() -> None:
    others = sa.text(_OTHERS).columns(sa.Column("id", sa.Uuid())).subquery("others")
    surplus = sa.select(others.c.id)
    for name in ("recovery_code", "face_template_secret"):
        kept = sa.table(name, sa.column("authenticator_id", sa.Uuid()))
        op.execute(kept.delete().where(kept.c.authenticator_id.in_(surplus)))
    rows = sa.table(
        "authenticator",
        sa.column("id", sa.Uuid()),
        sa.column("status", sa.String()),
        sa.column("verifier", sa.LargeBinary()),
    )
    ended = rows.update().where(rows.c.id.in_(surplus))
    op.execute(ended.values(status="revoked", verifier=_ERASED))
    for repair in _REPAIRS:
        op.execute(sa.text(repair))
    active = sa.text("status = 'active'")
    in_force = sa.text("withdrawn_at IS NULL")
    op.create_index(
        "uq_authenticator_active",
        "authenticator",
        ["subject_id", "type"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    op.create_index(
        "uq_consent_in_force",
        "consent",
        ["subject_id", "purpose"],
        unique=True,
        sqlite_where=in_force,
        postgresql_where=in_force,
    )
    op.add_column("throttle", sa.Column("era", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("throttle", "era")
    op.drop_index("uq_consent_in_force", table_name="consent")
    op.drop_index("uq_authenticator_active", table_name="authenticator")
