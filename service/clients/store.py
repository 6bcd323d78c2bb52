"""The table of clients and the list of assertions that were used."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import JSON, ColumnElement, Row, Select, String, bindparam, select
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import client_owner
from service.store.authentic import delete_rows, insert_once, one, reading, sound
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import Tx
from service.store.sealed import encrypted_bytes, encrypted_optional_bytes
from service.store.shapes import Authentic, Noted


class ClientRow(Authentic, Base):
    """A service account; the digest of its secret is sealed and bound to its status.

    What a rotation replaced is kept beside it, with the time until which it still counts.
    """

    __tablename__ = "client"
    __members__ = (
        "name", "status", "scopes", "first_party", "asserts_context", "segments", "jwks",
        "created_at", "secret", "old_jwks", "old_jwks_until", "old_secret_until", "old_secret",
    )  # fmt: skip

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


class UsedAssertion(Noted, Base):
    """A client assertion that was presented; its `jti` counts once."""

    __tablename__ = "used_assertion"
    __members__ = ("expires_at",)
    __until__ = "expires_at"

    client_id: Mapped[UUID] = mapped_column(primary_key=True)
    jti: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime]


def get(tx: Tx, client: UUID, *, lock: bool = False) -> ClientRow | None:
    """Return a client by id; locked, where what it is decides what is written."""
    return tx.get(ClientRow, client, with_for_update=lock or None)


_USED: Final = table_of(UsedAssertion)
_PLAIN: Final = reading(ClientRow).where(ClientRow.id == bindparam("b_id"))


def plain_unless(condition: ColumnElement[bool]) -> Select[Any]:
    """Return the statement that reads a client as `plain` does, unless a condition holds."""
    return _PLAIN.where(~condition)


def plain(
    tx: Tx, client: UUID, statement: Select[Any] = _PLAIN, values: Mapping[str, Any] | None = None
) -> Row[Any] | None:
    """Return a client without an object, by `_PLAIN` or a statement of `plain_unless`."""
    return one(tx, ClientRow, statement, {**(values or {}), "b_id": client})


def clients(tx: Tx) -> list[ClientRow]:
    """Return every client, oldest first."""
    return sound(tx, select(ClientRow).order_by(ClientRow.id))


def use_assertion(tx: Tx, client: UUID, jti: str, expires_at: datetime, now: datetime) -> bool:
    """Note an assertion; False when it was used before and has not expired since."""
    same = (_USED.c.client_id == client, _USED.c.jti == jti)
    delete_rows(tx, UsedAssertion, *same, _USED.c.expires_at <= now)
    values = {"client_id": client, "jti": jti, "expires_at": expires_at}
    return insert_once(tx, UsedAssertion, values)


def drop_assertions(tx: Tx, now: datetime) -> int:
    """Forget a page of assertions that have expired anyway; return how many."""
    return drop_page(tx, _USED, _USED.c.expires_at <= now)
