"""The table of recovery codes."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKey, bindparam, case, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import new_id, subject_owner
from service.store.authentic import change, delete_rows, one, reading, sound
from service.store.base import Base
from service.store.engine import Tx
from service.store.personal_data import Personal
from service.store.sealed import encrypted_bytes
from service.store.shapes import Authentic


class RecoveryCode(Authentic, Base):
    """A recovery code, as a sealed digest; one guarded update marks it as used."""

    __tablename__ = "recovery_code"
    __members__ = ("authenticator_id", "subject_id", "used_at")
    __personal__ = Personal(
        purpose="to verify the person when other authenticators are lost",
        retention="until the set is replaced, revoked or erased",
        withheld={"digest": "a digest of the code, which was shown once"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    authenticator_id: Mapped[UUID] = mapped_column(ForeignKey("authenticator.id"), index=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"))
    used_at: Mapped[datetime | None]
    digest = encrypted_bytes("factor", bound=("authenticator_id",))

    def field_owner(self) -> Owner:
        """Return the subject who holds the code."""
        return subject_owner(self.subject_id)


_CODE: Final = reading(RecoveryCode).where(RecoveryCode.id == bindparam("b_id"))


def add(
    tx: Tx, *, authenticator: UUID, subject: UUID, digests: Iterable[bytes], now: datetime
) -> None:
    """Insert the codes of a set."""
    for digest in digests:
        row = RecoveryCode(id=new_id(now), authenticator_id=authenticator, subject_id=subject)
        row.digest = digest
        tx.add(row)


def unused(tx: Tx, owned: UUID, spare: UUID | None, most: int) -> list[tuple[UUID, bytes]]:
    """Return ids and digests of the unused codes of a set.

    Codes of a spare set fill the result of the query up to `most`: as many rows are read,
    authenticated and opened, however many codes are left.
    """
    mine = RecoveryCode.authenticator_id == owned
    query = (
        select(RecoveryCode)
        .where(or_(mine, RecoveryCode.authenticator_id == spare), RecoveryCode.used_at.is_(None))
        .order_by(case((mine, 0), else_=1), RecoveryCode.id)
        .limit(most)
    )
    found = [(code.authenticator_id, code.id, code.digest) for code in sound(tx, query)]
    return [(code, digest) for home, code, digest in found if home == owned]


def use(tx: Tx, code: UUID, now: datetime) -> bool:
    """Use a code; return False if it was used before."""
    row = one(tx, RecoveryCode, _CODE, {"b_id": code})
    return row is not None and row.used_at is None and change(tx, RecoveryCode, row, used_at=now)


def drop_set(tx: Tx, authenticator: UUID) -> None:
    """Delete the codes of a revoked set."""
    delete_rows(tx, RecoveryCode, RecoveryCode.authenticator_id == authenticator)
