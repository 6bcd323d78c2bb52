"""Tables of the log: leaves as they were decided, and the chain that orders them."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Index, LargeBinary, String, insert, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from service.store.base import Base, table_of
from service.store.engine import Tx
from service.store.personal import Personal, anybody


class Leaf(Base):
    """One thing that was decided; holds no personal data and no secret."""

    __tablename__ = "audit_leaf"
    __table_args__ = (
        Index(
            "ix_audit_leaf_waiting", "id", sqlite_where=text("position IS NULL"),
            postgresql_where=text("position IS NULL"),
        ),
    )  # fmt: skip
    __personal__ = Personal(
        "tamper-evident record of what was decided and done",
        "for as long as the log",
        shown={"actor": anybody},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(64))
    subject_id: Mapped[UUID | None]
    actor: Mapped[str | None] = mapped_column(String(128))
    data: Mapped[dict[str, Any]]
    position: Mapped[int | None]


class Link(Base):
    """The chain: each head covers its leaf and every one before it."""

    __tablename__ = "audit_link"

    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    leaf_id: Mapped[UUID] = mapped_column(unique=True)
    head: Mapped[bytes] = mapped_column(LargeBinary)


_APPEND: Final = insert(table_of(Leaf))


def add(tx: Tx, values: dict[str, Any]) -> None:
    """Add a leaf that has no place in the chain yet."""
    tx.execute(_APPEND, values | {"position": None})


def lock(tx: Tx) -> None:
    """Let one sequencer at a time work; SQLite's write lock does so already."""
    if tx.get_bind().dialect.name == "postgresql":
        tx.execute(text("SELECT pg_advisory_xact_lock(7811320110)"))


def last_link(tx: Tx) -> Link | None:
    """Return the newest link."""
    return tx.scalars(select(Link).order_by(Link.position.desc()).limit(1)).first()


def last_at(tx: Tx) -> datetime | None:
    """Return when the newest link's leaf was written."""
    query = select(Leaf.at).join(Link, Link.leaf_id == Leaf.id)
    return tx.scalars(query.order_by(Link.position.desc()).limit(1)).first()


def waiting(tx: Tx, limit: int) -> list[Leaf]:
    """Return leaves that have no place yet, oldest first."""
    query = select(Leaf).where(Leaf.position.is_(None)).order_by(Leaf.id).limit(limit)
    return list(tx.scalars(query))


def place(tx: Tx, leaf: Leaf, position: int, head: bytes) -> None:
    """Give a leaf its place."""
    tx.execute(update(Leaf).where(Leaf.id == leaf.id).values(position=position))
    tx.add(Link(position=position, leaf_id=leaf.id, head=head))


def chained(tx: Tx, after: int, limit: int) -> list[tuple[Link, Leaf]]:
    """Return links with their leaves, from a position on; a missing leaf ends the page."""
    query = (
        select(Link, Leaf)
        .join(Leaf, Leaf.id == Link.leaf_id)
        .where(Link.position > after)
        .order_by(Link.position)
        .limit(limit)
    )
    return [(link, leaf) for link, leaf in tx.execute(query)]


def head_at(tx: Tx, position: int) -> bytes | None:
    """Return the head at a position of the chain."""
    return tx.scalars(select(Link.head).where(Link.position == position)).first()
