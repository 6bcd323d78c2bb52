"""The table of clients and the list of assertions that were used."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import JSON, ColumnElement, Select, String, bindparam, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import client_owner
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import Tx, insert_once
from service.store.sealed import encrypted_bytes, encrypted_optional_bytes


class ClientRow(Base):
    """A service account; the digest of its secret is sealed and bound to its status.

    What a rotation replaced is kept beside it, with the time until which it still counts.
    """

    __tablename__ = "client"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    status: Mapped[str] = mapped_column(String(16))
    scopes: Mapped[list[Any]]
    first_party: Mapped[bool]
    asserts_context: Mapped[bool]
    segments: Mapped[list[Any]]
    jwks: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]
    old_jwks: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    old_jwks_until: Mapped[datetime | None]
    old_secret_until: Mapped[datetime | None]
    secret = encrypted_bytes("service", bound=("status",))
    old_secret = encrypted_optional_bytes("service", bound=("status", "old_secret_until"))

    def field_owner(self) -> Owner:
        """Return the client itself."""
        return client_owner(self.id)


class UsedAssertion(Base):
    """A client assertion that was presented; its `jti` counts once."""

    __tablename__ = "used_assertion"

    client_id: Mapped[UUID] = mapped_column(primary_key=True)
    jti: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime]


def get(tx: Tx, client: UUID, *, lock: bool = False) -> ClientRow | None:
    """Return a client by id; locked, where what it is decides what is written."""
    return tx.get(ClientRow, client, with_for_update=lock or None)


_ROWS: Final = table_of(ClientRow)
_USED: Final = table_of(UsedAssertion)
_PLAIN: Final = select(
    _ROWS.c.id, _ROWS.c.name, _ROWS.c.status, _ROWS.c.scopes, _ROWS.c.first_party,
    _ROWS.c.asserts_context, _ROWS.c.segments, _ROWS.c.jwks,
).where(_ROWS.c.id == bindparam("b_id"))  # fmt: skip


def plain_unless(condition: ColumnElement[bool]) -> Select[Any]:
    """Return the statement that reads a client as `plain` does, unless a condition holds."""
    return _PLAIN.where(~condition)


def plain(tx: Tx, client: UUID) -> Any:  # noqa: ANN401 - a row of named columns, or None
    """Return what is not sealed of a client."""
    return tx.execute(_PLAIN, {"b_id": client}).first()


def clients(tx: Tx) -> list[ClientRow]:
    """Return every client, oldest first."""
    return list(tx.scalars(select(ClientRow).order_by(ClientRow.id)))


def use_assertion(tx: Tx, client: UUID, jti: str, expires_at: datetime, now: datetime) -> bool:
    """Note an assertion; False when it was used before and has not expired since."""
    same = (_USED.c.client_id == client, _USED.c.jti == jti)
    tx.execute(delete(_USED).where(*same, _USED.c.expires_at <= now))
    return insert_once(tx, _USED, {"client_id": client, "jti": jti, "expires_at": expires_at})


def drop_assertions(tx: Tx, now: datetime) -> int:
    """Forget a page of assertions that have expired anyway; return how many."""
    return drop_page(tx, _USED, _USED.c.expires_at <= now)
