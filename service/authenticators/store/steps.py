"""The table of accepted TOTP time steps."""

from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKey, bindparam, exists, func, select
from sqlalchemy.orm import Mapped, mapped_column

from service.store.authentic import insert_once
from service.store.base import Base, table_of
from service.store.engine import Tx
from service.store.personal_data import Personal, through
from service.store.shapes import Noted


class UsedStep(Noted, Base):
    """A TOTP time step that was accepted; it is never accepted again."""

    __tablename__ = "totp_used_step"
    __personal__ = Personal(
        purpose="to accept each code once",
        retention="10 minutes; the newest, as long as the authenticator",
        of=through("authenticator_id"),
    )

    authenticator_id: Mapped[UUID] = mapped_column(ForeignKey("authenticator.id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, index=True)


_STEPS: Final = table_of(UsedStep)
_NEW_STEP: Final = select(
    bindparam("authenticator_id", type_=_STEPS.c.authenticator_id.type),
    bindparam("step", type_=_STEPS.c.step.type),
).where(
    ~exists().where(
        _STEPS.c.authenticator_id == bindparam("authenticator_id"),
        _STEPS.c.step >= bindparam("step"),
        _STEPS.c.step <= bindparam("b_newest"),
    )
)


def use(tx: Tx, authenticator: UUID, step: int, newest: int) -> bool:
    """Accept a time step once; return False if it or a later acceptable one was used."""
    values = {"authenticator_id": authenticator, "step": step}
    return insert_once(
        tx, model=UsedStep, values=values, unless=_NEW_STEP, bound={"b_newest": newest}
    )


def newest(tx: Tx, authenticator: UUID) -> int:
    """Return the newest time step that was accepted; 0 if there is none."""
    query = select(func.max(_STEPS.c.step)).where(_STEPS.c.authenticator_id == authenticator)
    return tx.scalar(query) or 0
