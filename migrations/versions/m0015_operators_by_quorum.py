"""What a client replaced and still counts; keys of clients without anything private.

Revision: 0015
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0012"
branch_labels = None
depends_on = None

_PUBLIC = frozenset({"kty", "crv", "x", "y", "n", "e", "kid", "alg"})


def upgrade() -> None:
    for column in (
        sa.Column("old_jwks", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("old_jwks_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("old_secret", sa.LargeBinary(), nullable=True),
        sa.Column("old_secret_until", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("client", column)
    _keep_public_members()


def downgrade() -> None:
    for name in ("old_secret_until", "old_secret", "old_jwks_until", "old_jwks"):
        op.drop_column("client", name)


def _keep_public_members() -> None:
    """Drop the private members of keys that were stored as given."""
    table = sa.table(
        "client", sa.column("id", sa.Uuid()), sa.column("jwks", sa.JSON(none_as_null=True))
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(table).where(table.c.jwks.is_not(None))).all():
        kept = _public(row.jwks)
        if kept != row.jwks:
            connection.execute(sa.update(table).where(table.c.id == row.id).values(jwks=kept))


def _public(jwks: Any) -> dict[str, Any] | None:
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list):
        return None
    plain = [
        {name: value for name, value in key.items() if name in _PUBLIC}
        for key in keys
        if isinstance(key, dict) and key.get("kty") in {"EC", "RSA", "OKP"}
    ]
    return {"keys": plain} if plain else None
