"""Tables of clients and of used client assertions."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import JSON, ColumnElement, String, bindparam, func, select
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.clients.model import JwkSet
from service.domain.ids import client_owner
from service.store.authentic import (
    cells_hold,
    delete_rows,
    insert_once,
    key_there,
    reading,
    refused,
    sound,
    unchanged,
)
from service.store.base import Base, table_of
from service.store.driver_sql import Cells
from service.store.dropping import drop_page
from service.store.engine import Tx
from service.store.prepared import DriverRead
from service.store.sealed import encrypted_bytes, encrypted_optional_bytes
from service.store.shapes import Authentic, Noted


class ClientRow(Authentic, Base):
    """A service account; the digest of its secret is sealed and bound to its status.

    A replaced credential is stored beside the new one, with the end of its validity.
    """

    __tablename__ = "client"
    __members__ = (
        "name",
        "status",
        "scopes",
        "first_party",
        "asserts_context",
        "segments",
        "jwks",
        "created_at",
        "secret",
        "old_jwks",
        "old_jwks_until",
        "old_secret_until",
        "old_secret",
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    status: Mapped[str] = mapped_column(String(16))
    scopes: Mapped[list[str]] = mapped_column(JSON())
    first_party: Mapped[bool]
    asserts_context: Mapped[bool]
    segments: Mapped[list[str]] = mapped_column(JSON())
    jwks: Mapped[JwkSet | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]
    old_jwks: Mapped[JwkSet | None] = mapped_column(JSON(none_as_null=True))
    old_jwks_until: Mapped[datetime | None]
    old_secret_until: Mapped[datetime | None]
    secret = encrypted_bytes("service", bound=("status",))
    old_secret = encrypted_optional_bytes("service", bound=("status", "old_secret_until"))

    def field_owner(self) -> Owner:
        """Return the client itself."""
        return client_owner(self.id)


class UsedAssertion(Noted, Base):
    """A client assertion that was presented; its `jti` is valid only once."""

    __tablename__ = "used_assertion"
    __members__ = ("expires_at",)
    __until__ = "expires_at"

    client_id: Mapped[UUID] = mapped_column(primary_key=True)
    jti: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


def get(tx: Tx, client: UUID, *, lock: bool = False) -> ClientRow | None:
    """Return a client by id; lock it if a write depends on its values."""
    return tx.get(ClientRow, client, with_for_update=lock or None)


class ClientCells(NamedTuple):
    """A client that was read without its object; `digests` opens its secrets."""

    id: UUID
    name: str
    status: str
    scopes: list[str]
    first_party: bool
    asserts_context: bool
    segments: list[str]
    jwks: JwkSet | None
    created_at: datetime
    secret: bytes
    old_jwks: JwkSet | None
    old_jwks_until: datetime | None
    old_secret_until: datetime | None
    old_secret: bytes | None
    mac: bytes


_USED: Final = table_of(UsedAssertion)
_TABLE: Final = table_of(ClientRow)
_PLAIN: Final = reading(ClientRow).where(_TABLE.c.id == bindparam("b_id"))
_MOST_KEPT: Final = 1000


class Plain:
    """Reads client rows without ORM objects; the MAC of an unchanged row is not verified again.

    A client is read often and seldom changes. All its cells are compared, so an edited row still
    fails its MAC.

    Args:
        condition: On another table, with named parameters; if it holds, no client is found.
    """

    def __init__(self, condition: ColumnElement[bool] | None = None) -> None:
        self._read = DriverRead(_PLAIN if condition is None else _PLAIN.where(~condition))
        self._known: dict[UUID, tuple[Cells, ClientCells]] = {}

    def find(self, tx: Tx, client: UUID, **values: object) -> ClientCells | None:
        """Return the row of a client; raises RowRefused if the row does not match its MAC."""
        found = self._read.rows(tx, {**values, "b_id": client})
        if not found:
            return None
        cells = found[0]
        known = self._known.get(client)
        if known is not None and known[0] == cells and key_there(tx, known[1].mac):
            return known[1]
        if not cells_hold(tx, ClientRow, cells):
            raise refused()
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        row = ClientCells(*cells)
        self._known[client] = cells, row
        return row


def digests(tx: Tx, row: ClientCells) -> tuple[bytes, bytes | None]:
    """Return the digest of a client's secret, and of the replaced one."""
    owner = client_owner(row.id)
    return ClientRow.secret.opened(tx, row, owner), ClientRow.old_secret.opened(tx, row, owner)


def untouched(tx: Tx) -> bool:
    """Return whether a transaction has changed no client so far."""
    return unchanged(tx, ClientRow)


def clients(tx: Tx) -> list[ClientRow]:
    """Return all clients, oldest first."""
    return sound(tx, select(ClientRow).order_by(ClientRow.id))


def use_assertion(tx: Tx, *, client: UUID, jti: str, expires_at: datetime, now: datetime) -> bool:
    """Record an assertion as used; False if it was used before and has not expired."""
    same = (_USED.c.client_id == client, _USED.c.jti == jti)
    delete_rows(tx, UsedAssertion, *same, _USED.c.expires_at <= now)
    values = {"client_id": client, "jti": jti, "expires_at": expires_at}
    return insert_once(tx, model=UsedAssertion, values=values)


def used(tx: Tx, client: UUID, most: int) -> int:
    """Return how many assertions of a client are stored, counting at most `most`."""
    found = select(_USED.c.jti).where(_USED.c.client_id == client).limit(most).subquery()
    return tx.scalar(select(func.count()).select_from(found)) or 0


def first_end(tx: Tx, client: UUID) -> datetime | None:
    """Return when the first of a client's assertions expires; None if none is stored."""
    query = select(func.min(_USED.c.expires_at)).where(_USED.c.client_id == client)
    found: datetime | None = tx.scalar(query)
    return found


def drop_assertions(tx: Tx, now: datetime) -> int:
    """Delete a page of assertions that have expired; return how many."""
    return drop_page(tx, _USED, _USED.c.expires_at <= now)
