"""Tables of wrapped KEKs and data keys, index and signing keys, and instances."""

from collections.abc import Collection, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Final, TypedDict, cast
from uuid import UUID

from sqlalchemy import (
    JSON,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    and_,
    bindparam,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from crypto.fields import Owner, OwnerKind
from service.domain.ids import service_owner
from service.keys.model import InstanceKeysJson
from service.store.ahead import PlannedRead, rows_ahead
from service.store.base import Base, table_of
from service.store.engine import AnyRow, Tx, insert_once
from service.store.personal_data import Personal
from service.store.sealed import encrypted_bytes, encrypted_optional_bytes


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
    changed_at: Mapped[datetime | None]
    destroy_after: Mapped[datetime | None]


class Dek(Base):
    """A data key of one owner and class, wrapped under a KEK."""

    __tablename__ = "dek"
    __table_args__ = (
        UniqueConstraint("owner_id", "owner_kind", "key_class", "generation"),
        Index(None, "key_class", "kek_version"),
    )
    __personal__ = Personal(
        purpose="the person's own data keys: destroying them is what erases",
        retention="until erasure or rotation",
        of=lambda columns, whose: and_(
            columns.owner_kind == OwnerKind.SUBJECT.value, columns.owner_id == whose.subject
        ),
        withheld={"wrapped": "key material"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_kind: Mapped[int]
    owner_id: Mapped[UUID]
    key_class: Mapped[str] = mapped_column(String(32))
    generation: Mapped[int]
    kek_version: Mapped[int]
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class IndexKey(Base):
    """The state of one version of the blind-index key, which is a data key of the service."""

    __tablename__ = "index_key"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]


class DataGeneration(Base):
    """The generation of new data keys of a class; older ones are re-encrypted."""

    __tablename__ = "data_generation"

    key_class: Mapped[str] = mapped_column(String(32), primary_key=True)
    generation: Mapped[int]
    since: Mapped[datetime]


class SigningKeyRow(Base):
    """A token-signing key; the private part is sealed, the public one is published."""

    __tablename__ = "signing_key"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kid: Mapped[str] = mapped_column(String(64), unique=True)
    status: Mapped[str] = mapped_column(String(16))
    public_jwk: Mapped[dict[str, object]]
    private = encrypted_bytes("signing", bound=("kid",))
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime | None]

    def field_owner(self) -> Owner:
        """Return the reserved owner of token-signing keys."""
        return service_owner("signing")


class InstanceRow(Base):
    """The last heartbeat of a serving process, and the keys it holds."""

    __tablename__ = "key_instance"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(128))
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    held: Mapped[InstanceKeysJson] = mapped_column(JSON())


class RecordKeyRow(Base):
    """A key that signs long-lived records; its public part remains published forever."""

    __tablename__ = "record_key"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kid: Mapped[str] = mapped_column(String(64), unique=True)
    public_jwk: Mapped[dict[str, object]]
    private = encrypted_optional_bytes("receipt", bound=("kid",))
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    def field_owner(self) -> Owner:
        """Return the reserved owner of record-signing keys."""
        return service_owner("records")


class KeyExport(Base):
    """A recovery export, which can unwrap keys until it is destroyed."""

    __tablename__ = "key_export"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    keys: Mapped[list[list[str | int]]] = mapped_column(JSON())


class NewKek(TypedDict):
    """The columns of a KEK."""

    id: UUID
    key_class: str
    version: int
    status: str
    wrapped: bytes
    created_at: datetime
    changed_at: datetime | None
    destroy_after: datetime | None


class NewDekRow(TypedDict):
    """The columns of a data key."""

    id: UUID
    owner_kind: int
    owner_id: UUID
    key_class: str
    generation: int
    kek_version: int
    wrapped: bytes
    created_at: datetime


class Heartbeat(TypedDict):
    """The columns of an instance."""

    id: UUID
    label: str
    started_at: datetime
    seen_at: datetime
    held: InstanceKeysJson


_AT_ONCE: Final = 1000
_DEKS: Final = table_of(Dek)
_KEKS: Final = table_of(Kek)
_SIGNING: Final = table_of(SigningKeyRow)
_WRAPPED: Final = (
    "SELECT key_class, owner_id, generation, wrapped FROM dek WHERE owner_kind = {} AND owner_id {}"
)
_OF_SUBJECT: Final = select(_DEKS.c.key_class, _DEKS.c.generation, _DEKS.c.wrapped).where(
    _DEKS.c.owner_kind == OwnerKind.SUBJECT.value, _DEKS.c.owner_id == bindparam("b_owner")
)
_SIGNING_STATES: Final = select(_SIGNING.c.kid, _SIGNING.c.status).order_by(_SIGNING.c.created_at)
_ALL_KEKS: Final = select(_KEKS).order_by(_KEKS.c.key_class, _KEKS.c.version)
_ALL_INDEX: Final = select(table_of(IndexKey)).order_by(table_of(IndexKey).c.version)
_ALL_GENERATIONS: Final = select(table_of(DataGeneration))


def keks(tx: Tx) -> Sequence[AnyRow]:
    """Return all KEK rows, oldest first."""
    return tx.execute(_ALL_KEKS).all()


def add_kek(tx: Tx, values: NewKek) -> bool:
    """Insert a KEK; return False if another instance did first."""
    return insert_once(tx, _KEKS, values)


def kek(tx: Tx, key_class: str, version: int) -> Kek | None:
    """Return a KEK row, locked until the transaction ends."""
    query = select(Kek).where(Kek.key_class == key_class, Kek.version == version)
    return tx.scalars(query.with_for_update()).first()


def class_keks(tx: Tx, key_class: str) -> list[Kek]:
    """Return the KEK rows of a class, locked, oldest first."""
    query = select(Kek).where(Kek.key_class == key_class).order_by(Kek.version)
    return list(tx.scalars(query.with_for_update()))


def deks_ahead(owner: Owner) -> PlannedRead:
    """Return what `deks` reads of a subject, of every class."""
    return PlannedRead(_OF_SUBJECT, {"b_owner": owner.id})


def _deks_read(
    session: Session, owners: Collection[Owner]
) -> list[tuple[str, Owner, int, bytes]] | None:
    """Return the data keys of subjects if those of all were read ahead, else None."""
    found: list[tuple[str, Owner, int, bytes]] = []
    for owner in owners:
        rows = rows_ahead(session, *deks_ahead(owner))
        if rows is None:
            return None
        keys = cast("list[tuple[str, int, bytes]]", rows)
        found += [(name, owner, generation, wrapped) for name, generation, wrapped in keys]
    return sorted(found, key=itemgetter(2))


def deks(
    session: Session, key_class: str | None, owners: Collection[Owner]
) -> list[tuple[str, Owner, int, bytes]]:
    """Return class, owner, generation and wrapped bytes of data keys, oldest generation first.

    It uses the driver directly: every sealed row needs this query, and its rows need no objects.

    Args:
        session: The transaction.
        key_class: The class; None for all.
        owners: The owners.
    """
    if key_class is None and (read := _deks_read(session, owners)) is not None:
        return read
    connection = session.connection()
    lite = connection.dialect.name == "sqlite"
    found: list[tuple[str, Owner, int, bytes]] = []
    for kind in {owner.kind for owner in owners}:
        known = {
            (owner.id.hex if lite else owner.id): owner for owner in owners if owner.kind is kind
        }
        names = list(known)
        for start in range(0, len(names), _AT_ONCE):
            page = names[start : start + _AT_ONCE]
            mark, among = (
                ("?", f"IN ({', '.join('?' * len(page))})") if lite else ("%s", "= ANY(%s)")
            )
            values: tuple[object, ...] = (int(kind), *(page if lite else (page,)))
            statement = _WRAPPED.format(mark, among)
            if key_class is not None:
                statement = f"{statement} AND key_class = {mark}"
                values = (*values, key_class)
            rows = connection.exec_driver_sql(f"{statement} ORDER BY generation", values)
            found += [
                (name, known[owner], generation, wrapped)
                for name, owner, generation, wrapped in rows
            ]
    return found


def add_dek(session: Session, values: NewDekRow) -> bool:
    """Insert a data key; return False if another transaction did first."""
    return insert_once(session, _DEKS, values)


def references(tx: Tx, key_class: str, kek_version: int) -> int:
    """Count the data keys under a KEK."""
    query = select(func.count()).where(
        _DEKS.c.key_class == key_class, _DEKS.c.kek_version == kek_version
    )
    return tx.execute(query).scalar_one()


def exports_of(tx: Tx, key_class: str, version: int, now: datetime) -> list[KeyExport]:
    """Return the unexpired recovery exports that contain a KEK."""
    live = tx.scalars(select(KeyExport).where(KeyExport.expires_at > now).order_by(KeyExport.id))
    return [export for export in live if [key_class, version] in export.keys]


def index_keys(tx: Tx) -> Sequence[AnyRow]:
    """Return all index keys, oldest first."""
    return tx.execute(_ALL_INDEX).all()


def due_keks(tx: Tx, now: datetime) -> list[Kek]:
    """Return the KEKs due for destruction, locked."""
    query = select(Kek).where(Kek.status == "retired", Kek.destroy_after <= now)
    return list(tx.scalars(query.with_for_update()))


def drop_index_key(tx: Tx, version: int, owner: Owner) -> None:
    """Delete an index key and its data key."""
    table = table_of(IndexKey)
    tx.execute(delete(table).where(table.c.version == version))
    tx.execute(
        delete(_DEKS).where(
            _DEKS.c.owner_id == owner.id,
            _DEKS.c.owner_kind == int(owner.kind),
            _DEKS.c.generation == version,
        )
    )


def index_key(tx: Tx, version: int) -> IndexKey | None:
    """Return the state of an index key, locked."""
    return tx.get(IndexKey, version, with_for_update=True)


def add_index_key(tx: Tx, version: int, status: str, now: datetime) -> bool:
    """Insert the state of an index key; return False if another instance did first."""
    values = {"version": version, "status": status, "created_at": now, "changed_at": now}
    return insert_once(tx, table_of(IndexKey), values)


def generations(tx: Tx) -> dict[str, int]:
    """Return the generation of new data keys by class, if it is not the first."""
    return {row.key_class: row.generation for row in tx.execute(_ALL_GENERATIONS)}


def generation(tx: Tx, key_class: str) -> DataGeneration | None:
    """Return the generation of a class, locked."""
    return tx.get(DataGeneration, key_class, with_for_update=True)


def signing_keys(tx: Tx) -> list[SigningKeyRow]:
    """Return all signing keys, oldest first."""
    return list(tx.scalars(select(SigningKeyRow).order_by(SigningKeyRow.created_at)))


def signing_states(tx: Tx) -> list[tuple[str, str]]:
    """Return kid and status of all signing keys, oldest first."""
    return [(row.kid, row.status) for row in tx.execute(_SIGNING_STATES)]


def beat(tx: Tx, values: Heartbeat) -> None:
    """Store a heartbeat."""
    table = table_of(InstanceRow)
    if not insert_once(tx, table, values):
        tx.execute(
            update(table)
            .where(table.c.id == values["id"])
            .values(seen_at=values["seen_at"], held=values["held"])
        )


def instances(tx: Tx) -> Sequence[AnyRow]:
    """Return all instances with a stored heartbeat."""
    return tx.execute(select(table_of(InstanceRow)).order_by(table_of(InstanceRow).c.label)).all()


def drop_instances(tx: Tx, before: datetime) -> int:
    """Delete instances without a heartbeat since a time; return how many."""
    table = table_of(InstanceRow)
    return len(
        tx.execute(delete(table).where(table.c.seen_at < before).returning(table.c.id)).all()
    )


def leave(tx: Tx, instance: UUID) -> None:
    """Delete an instance that stops in good order."""
    table = table_of(InstanceRow)
    tx.execute(delete(table).where(table.c.id == instance))


def record_keys(tx: Tx) -> list[RecordKeyRow]:
    """Return all record-signing keys, oldest first."""
    return list(tx.scalars(select(RecordKeyRow).order_by(RecordKeyRow.created_at)))
