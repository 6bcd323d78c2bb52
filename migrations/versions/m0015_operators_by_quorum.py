"""Seats of first operators, two-person actors, old client credentials, starters of enrollments.

Revision: 0015
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
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
    op.add_column("authenticator", sa.Column("begun_by", sa.Uuid(), nullable=True))
    _keep_public_members()
    _widen()
    _seat_tokens()


def downgrade() -> None:
    op.drop_column("authenticator", "begun_by")
    with op.batch_alter_table("bootstrap_token") as table:
        table.drop_constraint(op.f("uq_bootstrap_token_round_seat"), type_="unique")
        table.drop_column("seat")
        table.drop_column("round")
    for name in ("old_secret_until", "old_secret", "old_jwks_until", "old_jwks"):
        op.drop_column("client", name)


def _widen() -> None:
    """Widen actors to the full names of two operators; a downgrade would truncate the log."""
    for name, column, absent in (
        ("audit_leaf", "actor", True),
        ("operator_role", "granted_by", False),
    ):
        with op.batch_alter_table(name) as table:
            table.alter_column(
                column,
                existing_type=sa.String(64),
                type_=sa.String(128),
                existing_nullable=absent,
            )


def _seat_tokens() -> None:
    """Give every bootstrap token a seat; existing tokens become round 1."""
    with op.batch_alter_table("bootstrap_token") as table:
        table.add_column(sa.Column("round", sa.Integer(), nullable=True))
        table.add_column(sa.Column("seat", sa.Integer(), nullable=True))
    columns = (sa.column(name) for name in ("digest", "round", "seat", "expires_at", "used_at"))
    tokens = sa.table("bootstrap_token", *columns)
    connection = op.get_bind()
    for seat, row in enumerate(connection.execute(sa.select(tokens)).all(), 1):
        mine = sa.update(tokens).where(tokens.c.digest == row.digest)
        connection.execute(mine.values(round=1, seat=seat))
    with op.batch_alter_table("bootstrap_token") as table:
        table.alter_column("round", existing_type=sa.Integer(), nullable=False)
        table.alter_column("seat", existing_type=sa.Integer(), nullable=False)
        table.create_unique_constraint(op.f("uq_bootstrap_token_round_seat"), ["round", "seat"])


def _keep_public_members() -> None:
    """Remove private members from client keys that were stored as given."""
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
