"""Tables of the audit log: leaves, the chain that orders them, checkpoints and notices."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.audit.model import Checkpoint, LeafValues, Wanted, decided
from service.domain.ids import ids_at
from service.store import authentic
from service.store.authentic import change, one, reading
from service.store.base import WIDE, Base, table_of
from service.store.engine import AnyRow, Tx, insert_once
from service.store.later import later
from service.store.personal_data import Personal, anybody
from service.store.shapes import Authentic

_OFTEN: Final = frozenset(
    {
        "factor.failed",
        "factor.tried",
        "factor.verified",
        "flow.begun",
        "flow.completed",
        "rows.changed",
        "session.ended",
        "session.started",
    }
)
"""What each login leaves: found without an index by name, which every login would pay for."""
_RARE: Final = text(f"kind NOT IN ({', '.join(repr(kind) for kind in sorted(_OFTEN))})")


class Leaf(Base):
    """A recorded decision; holds no personal data and no secret."""

    __tablename__ = "audit_leaf"
    __table_args__ = (
        Index(
            "ix_audit_leaf_waiting",
            "id",
            sqlite_where=text("position IS NULL"),
            postgresql_where=text("position IS NULL"),
        ),
        Index(
            "ix_audit_leaf_subject",
            "subject_id",
            "id",
            sqlite_where=text("subject_id IS NOT NULL"),
            postgresql_where=text("subject_id IS NOT NULL"),
        ),
        Index("ix_audit_leaf_rare", "kind", "id", sqlite_where=_RARE, postgresql_where=_RARE),
    )
    __personal__ = Personal(
        purpose="tamper-evident record of what was decided and done",
        retention="for as long as the log",
        shown={"actor": anybody, "data": decided},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(64))
    subject_id: Mapped[UUID | None]
    actor: Mapped[str | None] = mapped_column(String(128))
    data: Mapped[dict[str, object]] = mapped_column(JSON())
    position: Mapped[int | None] = mapped_column(WIDE)


class Link(Base):
    """A link of the chain: its head covers its leaf and all leaves before it."""

    __tablename__ = "audit_link"

    position: Mapped[int] = mapped_column(WIDE, primary_key=True, autoincrement=False)
    leaf_id: Mapped[UUID] = mapped_column(unique=True)
    head: Mapped[bytes] = mapped_column(LargeBinary)
    # None for links of the first version.
    mac: Mapped[bytes | None] = mapped_column(LargeBinary)


class CheckpointRow(Base):
    """A point of the chain, authenticated by a key that is not in the database."""

    __tablename__ = "audit_checkpoint"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(WIDE)
    head: Mapped[bytes] = mapped_column(LargeBinary)
    start: Mapped[int] = mapped_column(WIDE)
    began_at: Mapped[datetime]
    at: Mapped[datetime]
    adopted: Mapped[str] = mapped_column(String(16))
    signature: Mapped[str] = mapped_column(Text)
    mac: Mapped[bytes] = mapped_column(LargeBinary)


class Notice(Base):
    """The time of the last report of an alarm, so that it is not repeated every second."""

    __tablename__ = "audit_notice"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime]


class RowMark(Authentic, Base):
    """The single mark that all rows have a MAC, so that none is trusted without one again.

    It also stores the chain position up to which rows were compared with the log.
    """

    __tablename__ = "row_mark"
    __members__ = ("since", "position", "checked_at")

    id: Mapped[UUID] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    position: Mapped[int] = mapped_column(WIDE)
    checked_at: Mapped[datetime | None]


class NewLink(NamedTuple):
    """A link before it has its place: a head of 32 bytes, and a MAC of as many, or none at all."""

    leaf_id: UUID
    head: bytes
    mac: bytes | None


MARK: Final = UUID(int=1)
_LEAVES: Final = table_of(Leaf)
_LINKS: Final = table_of(Link)
_MARK: Final = reading(RowMark).where(RowMark.id == MARK)
_APPEND: Final = insert(table_of(Leaf))
_LINK: Final = insert(table_of(Link))
_LINKS_AT_ONCE: Final = text(
    "INSERT INTO audit_link (position, leaf_id, head, mac) SELECT :after + n, "
    "CAST(encode(substring(:leaves FROM 16 * n - 15 FOR 16), 'hex') AS uuid), "
    "substring(:heads FROM 32 * n - 31 FOR 32), "
    "substring(CAST(:macs AS bytea) FROM 32 * n - 31 FOR 32) "
    "FROM generate_series(1, :count) AS n"
).bindparams(
    bindparam("after", type_=BigInteger),
    *(bindparam(name, type_=LargeBinary) for name in ("leaves", "heads", "macs")),
    bindparam("count", type_=Integer),
)
"""The links of a page, cut from one value of each column: a row costs the client nothing."""
_PLACE: Final = text(
    "UPDATE audit_leaf SET position = audit_link.position FROM audit_link "
    "WHERE audit_link.leaf_id = audit_leaf.id AND audit_link.position > :after"
)
_LEAF: Final = (
    table_of(Leaf).c.id,
    Leaf.at,
    Leaf.kind,
    Leaf.subject_id,
    Leaf.actor,
    Leaf.data,
)

_BEFORE: Final = table_of(Link).alias("before")
_ENTRIES: Final = (
    select(*_LEAF, Link.position, Link.head, Link.mac, _BEFORE.c.head.label("before"))
    .outerjoin(Link, Link.leaf_id == Leaf.id)
    .outerjoin(_BEFORE, _BEFORE.c.position == Link.position - 1)
    .order_by(Leaf.id)
)


def add(tx: Tx, leaves: Sequence[LeafValues]) -> None:
    """Insert leaves without a position, with the last writes of the transaction."""
    rows = [{**leaf, "position": None} for leaf in leaves]
    for row in rows[:16]:
        later(tx, _APPEND, row)
    if more := rows[16:]:
        tx.execute(_APPEND, more)


def lock(tx: Tx) -> None:
    """Serialize sequencers until the transaction ends; SQLite's write lock does so already."""
    if tx.get_bind().dialect.name == "postgresql":
        tx.execute(text("SELECT pg_advisory_xact_lock(7811320110)"))


def last_link(tx: Tx) -> Link | None:
    """Return the newest link."""
    return tx.scalars(select(Link).order_by(Link.position.desc()).limit(1)).first()


def last_at(tx: Tx) -> datetime | None:
    """Return the time of the newest link's leaf."""
    query = select(Leaf.at).join(Link, Link.leaf_id == Leaf.id)
    return tx.scalars(query.order_by(Link.position.desc()).limit(1)).first()


def waiting(tx: Tx, limit: int) -> Sequence[AnyRow]:
    """Return leaves without a position, oldest first."""
    query = select(*_LEAF).where(Leaf.position.is_(None)).order_by(Leaf.id).limit(limit)
    return tx.execute(query).all()


def waiting_since(tx: Tx, old: datetime, ahead: datetime) -> tuple[int, int, datetime | None]:
    """Count the leaves without a position, and those outside two times; return the oldest time."""
    late = func.count().filter(or_(Leaf.at <= old, Leaf.at > ahead))
    query = select(func.count(), late, func.min(Leaf.at)).where(Leaf.position.is_(None))
    count, beyond, oldest = tx.execute(query).one()
    return count, beyond, oldest


def leaves(tx: Tx, after: int, kinds: Collection[str]) -> Sequence[AnyRow]:
    """Return leaves of some kinds after a position or without one."""
    query = select(*_LEAF).where(or_(Leaf.position > after, Leaf.position.is_(None)))
    return tx.execute(query.where(Leaf.kind.in_(sorted(kinds))).order_by(Leaf.id)).all()


def there(tx: Tx, ids: Sequence[UUID]) -> int:
    """Return how many of some leaves exist."""
    return tx.execute(select(func.count()).where(Leaf.id.in_(ids))).scalar_one()


def place(tx: Tx, after: int, links: Sequence[NewLink]) -> None:
    """Insert the links that follow a position, and set the positions of their leaves."""
    if tx.get_bind().dialect.name == "postgresql":
        macs = [link.mac for link in links if link.mac is not None]
        values = {
            "after": after,
            "leaves": b"".join([link.leaf_id.bytes for link in links]),
            "heads": b"".join([link.head for link in links]),
            "macs": b"".join(macs) if macs else None,
            "count": len(links),
        }
        tx.execute(_LINKS_AT_ONCE, values)
    else:
        rows = [{"position": after + n, **link._asdict()} for n, link in enumerate(links, 1)]
        tx.execute(_LINK, rows)
    tx.execute(_PLACE, {"after": after})


def chained(tx: Tx, after: int, limit: int) -> Sequence[AnyRow]:
    """Return links with their leaves after a position; a missing leaf has no id."""
    query = (
        select(Link.position, Link.head, Link.mac, *_LEAF)
        .outerjoin(Leaf, Leaf.id == Link.leaf_id)
        .where(Link.position > after)
        .order_by(Link.position)
        .limit(limit)
    )
    return tx.execute(query).all()


def head_at(tx: Tx, position: int) -> bytes | None:
    """Return the head at a position of the chain."""
    return tx.scalars(select(Link.head).where(Link.position == position)).first()


def heads_at(tx: Tx, positions: Sequence[int]) -> dict[int, bytes]:
    """Return the heads at some positions of the chain."""
    query = select(Link.position, Link.head).where(Link.position.in_(positions))
    return {row.position: row.head for row in tx.execute(query)}


def checkpoints(tx: Tx, newest: int | None = None) -> list[Checkpoint]:
    """Return all checkpoints or the newest ones, by number."""
    columns = table_of(CheckpointRow).c
    query = select(*(columns[item.name] for item in fields(Checkpoint)))
    rows = tx.execute(query.order_by(columns.number.desc()).limit(newest)).all()
    return [Checkpoint(**row._asdict()) for row in reversed(rows)]


def adoptions(tx: Tx) -> list[Checkpoint]:
    """Return the checkpoints that adopted a chain as it was: by an upgrade or an operator."""
    columns = table_of(CheckpointRow).c
    query = select(*(columns[item.name] for item in fields(Checkpoint)))
    rows = tx.execute(query.where(columns.adopted != "").order_by(columns.number)).all()
    return [Checkpoint(**row._asdict()) for row in rows]


def ends(tx: Tx) -> tuple[int, int]:
    """Return the ends of the chain and of its newest checkpoint, in one snapshot."""
    newest = select(CheckpointRow.position).order_by(CheckpointRow.number.desc()).limit(1)
    chain = select(func.max(Link.position)).scalar_subquery()
    row = tx.execute(select(chain, newest.scalar_subquery())).one()
    return row[0] or 0, row[1] or 0


def keep(tx: Tx, checkpoint: Checkpoint) -> None:
    """Insert or update a checkpoint by its number."""
    table = table_of(CheckpointRow)
    values = asdict(checkpoint)
    statement = update(table).where(table.c.number == checkpoint.number).values(values)
    if tx.execute(statement.returning(table.c.number)).first() is None:
        tx.execute(insert(table), values)


def due(tx: Tx, name: str, now: datetime, before: datetime) -> bool:
    """Record a report now; return False if it was reported after `before`."""
    table = table_of(Notice)
    if insert_once(tx, table, {"name": name, "at": now}):
        return True
    # A time in the future was written by a clock that ran ahead.
    old = or_(table.c.at <= before, table.c.at > now)
    statement = update(table).where(table.c.name == name, old).values(at=now)
    return tx.execute(statement.returning(table.c.name)).first() is not None


def noticed(tx: Tx, name: str) -> bool:
    """Return whether a report was ever recorded."""
    return tx.get(Notice, name) is not None


def delete_notice(tx: Tx, name: str) -> None:
    """Delete the record of a report."""
    tx.execute(delete(Notice).where(Notice.name == name))


def mark(tx: Tx) -> AnyRow | None:
    """Return the mark that rows have MACs; raises RowRefused if it is forged."""
    return one(tx, RowMark, _MARK, {})


def set_mark(tx: Tx, now: datetime) -> bool:
    """Set the mark; return False if another process did."""
    values = {"id": MARK, "since": now, "position": 0, "checked_at": None}
    return authentic.insert_once(tx, model=RowMark, values=values)


def move_mark(tx: Tx, position: int, now: datetime) -> None:
    """Store the chain position up to which rows were compared with the log."""
    row = mark(tx)
    if row is not None:
        change(tx, RowMark, row, position=position, checked_at=now)


def any_of_kind(tx: Tx, kind: str) -> bool:
    """Return whether the log has a leaf of a kind."""
    return bool(tx.scalar(select(exists().where(Leaf.kind == kind))))


def entries(tx: Tx, wanted: Wanted, after: UUID | None, limit: int) -> Sequence[AnyRow]:
    """Return leaves with their links and the heads before those, beyond an id, by id."""
    query = _ENTRIES if after is None else _ENTRIES.where(Leaf.id > after)
    if wanted.subject is not None:
        query = query.where(Leaf.subject_id == wanted.subject)
    if wanted.name is not None:
        query = query.where(Leaf.kind == wanted.name)
        if wanted.name not in _OFTEN:
            # In the words of the index, or it is not used: none concludes it from the name.
            query = query.where(_RARE)
    # An id begins with the time of its leaf, so that an index by id leads to the place.
    if wanted.since is not None:
        query = query.where(Leaf.id >= ids_at(wanted.since)[0], Leaf.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(Leaf.id <= ids_at(wanted.until)[1], Leaf.at < wanted.until)
    return tx.execute(query.limit(limit)).all()


class NotedLeaf(NamedTuple):
    """A leaf as far as its notes of rows need it; SQL may have written anything as `data`."""

    id: UUID
    position: int | None
    data: object


def placed(tx: Tx, after: int, limit: int) -> Sequence[NotedLeaf]:
    """Return leaves after a chain position, in order."""
    # Join from the link, because only its position is indexed.
    joined = select(_LEAVES.c.id, _LINKS.c.position, _LEAVES.c.data).join_from(
        _LINKS, _LEAVES, _LEAVES.c.id == _LINKS.c.leaf_id
    )
    query = joined.where(_LINKS.c.position > after).order_by(_LINKS.c.position).limit(limit)
    return [NotedLeaf(*row) for row in tx.execute(query)]


def unplaced(tx: Tx, after: UUID, limit: int) -> Sequence[NotedLeaf]:
    """Return leaves without a position, after an id."""
    query = select(_LEAVES.c.id, _LEAVES.c.position, _LEAVES.c.data).where(
        _LEAVES.c.position.is_(None), _LEAVES.c.id > after
    )
    return [NotedLeaf(*row) for row in tx.execute(query.order_by(_LEAVES.c.id).limit(limit))]
