"""Delete rows of authenticators that are over, a page at a time."""

from datetime import datetime
from typing import Final

from sqlalchemy import Exists, and_, exists, func, or_, select

from service.authenticators.store.authenticators import AuthenticatorRow
from service.authenticators.store.codes import RecoveryCode
from service.authenticators.store.steps import UsedStep
from service.store.base import table_of
from service.store.dropping import drop_page
from service.store.engine import Tx

_ROWS: Final = table_of(AuthenticatorRow)
_STEPS: Final = table_of(UsedStep)


def drop_ended(tx: Tx, pending: datetime, revoked: datetime) -> int:
    """Delete a page of authenticators: pending since a time, or revoked and unused since.

    Returns:
        The number of deleted rows.
    """
    unused = func.coalesce(_ROWS.c.last_used_at, _ROWS.c.created_at)
    over = or_(
        and_(_ROWS.c.status == "pending", _ROWS.c.created_at <= pending),
        and_(_ROWS.c.status == "revoked", unused <= revoked),
    )
    referring = (
        ~exists().where(table_of(model).c.authenticator_id == _ROWS.c.id)
        for model in (UsedStep, RecoveryCode)
    )
    return drop_page(tx, _ROWS, over, *referring)


def drop_steps(tx: Tx, before: int, since: int) -> int:
    """Delete a page of used steps of authenticators that were used since a step; return how many.

    The newest step of an authenticator is always kept: it blocks itself and all earlier ones, so a
    clock that ran ahead for a while cannot make a used code valid again.
    """
    recent = _STEPS.alias()
    used = select(recent.c.authenticator_id).where(recent.c.step >= since)
    over = (_STEPS.c.step < before, _newer(), _STEPS.c.authenticator_id.in_(used))
    return drop_page(tx, _STEPS, *over)


def sweep_steps(tx: Tx, before: int) -> int:
    """Delete a page of all used steps that are over, also of authenticators not used any more.

    It reads the whole table: `drop_steps` leaves only what was over while no worker ran.
    """
    ended = select(_ROWS.c.id).where(_ROWS.c.status == "revoked")
    over = or_(and_(_STEPS.c.step < before, _newer()), _STEPS.c.authenticator_id.in_(ended))
    return drop_page(tx, _STEPS, over)


def _newer() -> Exists:
    later = _STEPS.alias()
    return exists().where(
        later.c.authenticator_id == _STEPS.c.authenticator_id, later.c.step > _STEPS.c.step
    )
