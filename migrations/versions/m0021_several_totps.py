"""Several named TOTP authenticators may be active; one of each other type.

Their limit is enforced under the lock of the subject. Before a downgrade, a subject with several
must have revoked all but one: a migration must not choose which one stays.

Revision: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_NAME = "uq_authenticator_active"


def upgrade() -> None:
    op.add_column("authenticator", sa.Column("name", sa.LargeBinary(), nullable=True))
    _index("status = 'active' AND type <> 'totp'")


def downgrade() -> None:
    several = "SELECT 1 FROM authenticator WHERE status = 'active' GROUP BY subject_id, type"
    found = op.get_bind().execute(sa.text(f"{several} HAVING count(*) > 1 LIMIT 1")).first()
    if found is not None:
        raise RuntimeError("some subjects have several code generators; revoke all but one first")
    _index("status = 'active'")
    op.drop_column("authenticator", "name")


def _index(condition: str) -> None:
    op.drop_index(_NAME, table_name="authenticator")
    which = sa.text(condition)
    op.create_index(
        _NAME,
        "authenticator",
        ["subject_id", "type"],
        unique=True,
        sqlite_where=which,
        postgresql_where=which,
    )
