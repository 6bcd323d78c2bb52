"""Tables of wrapped KEKs and DEKs, and of token-signing keys."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import LargeBinary, String, UniqueConstraint, bindparam, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from crypto.fields import Owner
from service.domain.ids import service_owner
from service.store.base import Base, table_of
from service.store.engine import Tx, insert_once
from service.store.sealed import encrypted_bytes


class Kek(Base):
    """A key-encryption key, wrapped under the root of its class."""

    __tablename__ = "kek"
    __table_args__ = (UniqueConstraint("key_class", "version"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    key_class: Mapped[str] = mapped_column(String(32))
    version: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class Dek(Base):
    """A data key of one owner and class, wrapped under a KEK."""

    __tablename__ = "dek"
    __table_args__ = (UniqueConstraint("owner_id", "owner_kind", "key_class", "generation"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_kind: Mapped[int]
    owner_id: Mapped[UUID]
    key_class: Mapped[str] = mapped_column(String(32))
    generation: Mapped[int]
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class SigningKeyRow(Base):
    """A token-signing key; the private part is sealed, the public one is published."""

    __tablename__ = "signing_key"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kid: Mapped[str] = mapped_column(String(64), unique=True)
    status: Mapped[str] = mapped_column(String(16))
    public_jwk: Mapped[dict[str, Any]]
    private = encrypted_bytes("signing", bound=("kid",))
    created_at: Mapped[datetime]

    def field_owner(self) -> Owner:
        """Return the reserved owner of token-signing keys."""
        return service_owner("signing")


def keks(tx: Tx) -> list[Kek]:
    """Return every KEK row, oldest first."""
    return list(tx.scalars(select(Kek).order_by(Kek.key_class, Kek.version)))


def add_kek(tx: Tx, values: dict[str, Any]) -> bool:
    """Add a KEK unless another instance was first."""
    return insert_once(tx, Kek.metadata.tables["kek"], values)


_DEKS: Final = table_of(Dek)
_OF_OWNER: Final = (
    select(_DEKS.c.wrapped)
    .where(
        _DEKS.c.owner_id == bindparam("b_id"),
        _DEKS.c.owner_kind == bindparam("b_kind"),
        _DEKS.c.key_class == bindparam("b_class"),
    )
    .order_by(_DEKS.c.generation)
)


def deks(session: Session, owner: Owner, key_class: str) -> list[bytes]:
    """Return the wrapped data keys of an owner and class, oldest generation first."""
    values = {"b_id": owner.id, "b_kind": int(owner.kind), "b_class": key_class}
    return list(session.execute(_OF_OWNER, values).scalars())


def add_dek(session: Session, values: dict[str, Any]) -> bool:
    """Add a data key unless another transaction was first."""
    return insert_once(session, Dek.metadata.tables["dek"], values)


def signing_keys(tx: Tx) -> list[SigningKeyRow]:
    """Return every signing key, oldest first."""
    return list(tx.scalars(select(SigningKeyRow).order_by(SigningKeyRow.created_at)))
