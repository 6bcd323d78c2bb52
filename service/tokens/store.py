"""Tables of completion codes, refresh tokens and revoked access tokens."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    LargeBinary,
    String,
    and_,
    bindparam,
    exists,
    select,
)
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.clock import SKEW
from service.domain.ids import service_owner
from service.store.authentic import (
    cells_hold,
    change,
    delete_rows,
    insert_later,
    insert_once,
    one,
    reading,
    refused,
)
from service.store.base import Base, table_of
from service.store.driver_sql import Cells
from service.store.dropping import drop_page
from service.store.engine import Tx
from service.store.part import Part
from service.store.personal_data import Personal, through
from service.store.sealed import encrypted_optional
from service.store.shapes import Authentic, Noted
from service.tokens.model import CODE_LIFE

_KEYS: Final = service_owner("refresh")


class CompletionCode(Authentic, Base):
    """A code that the client of a completed flow exchanges for tokens, once, within a minute."""

    __tablename__ = "completion_code"
    __members__ = ("client_id", "session_id", "expires_at", "used_at")
    __until__ = "expires_at"
    __personal__ = Personal(
        purpose="to hand a completed sign-in to the client",
        retention="60 seconds",
        of=through("session_id"),
        withheld={"digest": "a digest of the code, which was shown once"},
    )

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    client_id: Mapped[UUID]
    session_id: Mapped[UUID] = mapped_column(ForeignKey("session.id"))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


class RefreshToken(Authentic, Base):
    """A refresh token and, once used, its sealed successor for the grace period."""

    __tablename__ = "refresh_token"
    __members__ = ("digest", "client_id", "session_id", "scope", "expires_at", "used_at")
    __until__ = "expires_at"
    __personal__ = Personal(
        purpose="to renew access while a session lasts",
        retention="as long as the session",
        of=through("session_id"),
        withheld={
            "digest": "a digest of the token, which was shown once",
            "successor": "the next token: anyone who has it could impersonate the client",
        },
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    client_id: Mapped[UUID]
    session_id: Mapped[UUID] = mapped_column(ForeignKey("session.id"), index=True)
    scope: Mapped[str] = mapped_column(String(1024))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]
    successor = encrypted_optional("service", bound=("client_id", "session_id"))

    def field_owner(self) -> Owner:
        """Return the reserved owner of refresh tokens."""
        return _KEYS


class RevokedToken(Noted, Base):
    """An access token that was revoked before its expiry, by `jti`."""

    __tablename__ = "revoked_token"
    __members__ = ("expires_at",)
    __until__ = "expires_at"

    jti: Mapped[UUID] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


_CODES: Final = table_of(CompletionCode)
_REFRESH: Final = table_of(RefreshToken)
_LISTED: Final = table_of(RevokedToken)
REVOKED: Final = exists().where(_LISTED.c.jti == bindparam("b_jti"))
"""A condition: whether an access token was revoked."""
_REVOKED: Final = select(_LISTED.c.jti).where(_LISTED.c.jti == bindparam("b_jti"))


_CODE: Final = reading(CompletionCode).where(CompletionCode.digest == bindparam("b_digest"))


class RefreshCells(NamedTuple):
    """A refresh token that was read without its object; `successor` opens what is sealed."""

    id: UUID
    digest: bytes
    client_id: UUID
    session_id: UUID
    scope: str
    expires_at: datetime
    used_at: datetime | None
    mac: bytes
    successor: bytes | None


_REFRESH_CELLS: Final = tuple(_REFRESH.c[name] for name in RefreshCells._fields)
_COVERED: Final = RefreshCells._fields.index("mac") + 1


def refresh_before(session: ColumnElement[UUID]) -> Part:
    """Return the refresh token of the digest `b_digest`, for a statement that reads its session."""
    on = and_(_REFRESH.c.session_id == session, _REFRESH.c.digest == bindparam("b_digest"))
    return Part(_REFRESH_CELLS, _REFRESH, on)


def refresh_of(tx: Tx, cells: Cells | None) -> RefreshCells | None:
    """Return the refresh token that such a statement read, if any.

    Raises:
        RowRefused: The row has no valid MAC.
    """
    if cells is None:
        return None
    if not cells_hold(tx, RefreshToken, cells[:_COVERED]):
        raise refused()
    return RefreshCells(*cells)


def use_code(tx: Tx, digest: bytes, client: UUID, now: datetime) -> UUID | None:
    """Use a completion code; return None if it is expired, used, or not this client's."""
    row = one(tx, CompletionCode, _CODE, {"b_digest": digest})
    if row is None or row.client_id != client or row.used_at is not None:
        return None
    # A code that expires later was issued by a wrong clock.
    valid = now < row.expires_at <= now + CODE_LIFE + SKEW
    session: UUID = row.session_id
    return session if valid and change(tx, CompletionCode, row, used_at=now) else None


def code_before(session: ColumnElement[UUID]) -> Part:
    """Return the code `b_digest` of the client `b_client`, for a statement about its session."""
    on = and_(
        _CODES.c.session_id == session,
        _CODES.c.digest == bindparam("b_digest"),
        _CODES.c.client_id == bindparam("b_client"),
    )
    return Part((_CODES.c.digest,), _CODES, on)


def refresh_token(tx: Tx, digest: bytes) -> RefreshToken | None:
    """Return a refresh token by its digest, as currently stored."""
    query = select(RefreshToken).where(RefreshToken.digest == digest)
    return tx.scalars(query.execution_options(populate_existing=True)).first()


def add_refresh(tx: Tx, values: Mapping[str, object]) -> None:
    """Add a refresh token, with the last writes of the transaction."""
    insert_later(tx, RefreshToken, values)


def use_refresh(tx: Tx, row: RefreshCells, now: datetime, successor: str) -> bool:
    """Use a refresh token; return False if it has changed since it was read."""
    cell = RefreshToken.successor.sealed(tx, row, _KEYS, successor)
    return change(tx, RefreshToken, row, used_at=now, successor=cell)


def successor(tx: Tx, row: RefreshCells) -> str | None:
    """Return the token that replaced a used one."""
    return RefreshToken.successor.opened(tx, row, _KEYS)


def revoke(tx: Tx, jti: UUID, expires_at: datetime) -> None:
    """List an access token as revoked until it expires."""
    values = {"jti": jti, "expires_at": expires_at}
    insert_once(tx, model=RevokedToken, values=values)


def revoked(tx: Tx, jti: UUID) -> bool:
    """Return whether an access token was revoked."""
    return tx.execute(_REVOKED, {"b_jti": jti}).first() is not None


def drop_expired(tx: Tx, now: datetime) -> int:
    """Delete a page of expired rows of each kind; return how many."""
    tables = map(table_of, (CompletionCode, RefreshToken, RevokedToken))
    return sum(drop_page(tx, table, table.c.expires_at <= now) for table in tables)


def delete_of_sessions(tx: Tx, sessions: Sequence[UUID]) -> None:
    """Delete the codes and refresh tokens of sessions."""
    for model in (CompletionCode, RefreshToken):
        delete_rows(tx, model, model.session_id.in_(sessions))
