"""The table that announces root versions, so that running processes load them."""

from datetime import datetime
from typing import Final

from sqlalchemy import String, case, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from service.store.base import Base, table_of
from service.store.engine import Tx


class RootVersion(Base):
    """The newest root version created for a class; the provider stores the key itself."""

    __tablename__ = "root_version"

    key_class: Mapped[str] = mapped_column(String(32), primary_key=True)
    version: Mapped[int]
    made_at: Mapped[datetime]


_TABLE: Final = table_of(RootVersion)


def announce(tx: Tx, key_class: str, version: int, now: datetime) -> None:
    """Announce a root version to all processes; an older version changes nothing."""
    postgres = tx.get_bind().dialect.name == "postgresql"
    insert = postgresql.insert(_TABLE) if postgres else sqlite.insert(_TABLE)
    newer = _TABLE.c.version < version
    statement = insert.values(key_class=key_class, version=version, made_at=now)
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["key_class"],
            set_={
                "version": case((newer, version), else_=_TABLE.c.version),
                "made_at": case((newer, now), else_=_TABLE.c.made_at),
            },
        )
    )


def announced(tx: Tx) -> dict[str, int]:
    """Return the newest announced root version of each class."""
    rows = tx.execute(select(_TABLE.c.key_class, _TABLE.c.version))
    return {row.key_class: row.version for row in rows}
