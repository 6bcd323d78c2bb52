"""Turns: units of work that count rows before they add one let each other finish (ADR 6)."""

from typing import Final

from sqlalchemy import text

from service.store.engine import Tx
from service.store.migrate import STARTING

_TURN: Final = text("SELECT pg_advisory_xact_lock(hashtext(:what), hashtext(:whose))")


def take_start(tx: Tx) -> None:
    """Wait until nobody else migrates or does what a first start does, until this one ends.

    SQLite has one writer at a time without it.
    """
    if tx.get_bind().dialect.name == "postgresql":
        tx.execute(STARTING)


def take_turn(tx: Tx, what: str, whose: str = "") -> None:
    """Wait until nobody else adds to what is counted; others wait until this unit of work ends.

    SQLite has one writer at a time without it. What is locked by rows is locked before.

    Args:
        tx: The unit of work.
        what: What is counted.
        whose: Of whom, where each has a bound of their own.
    """
    if tx.get_bind().dialect.name == "postgresql":
        tx.execute(_TURN, {"what": what, "whose": whose})
