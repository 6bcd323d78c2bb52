"""Locks that serialize transactions which count rows before they add one (ADR 6)."""

from typing import Final

from sqlalchemy import text

from service.store.engine import Tx
from service.store.migrate import STARTING

_TURN: Final = text("SELECT pg_advisory_xact_lock(hashtext(:what), hashtext(:whose))")


def take_start(tx: Tx) -> None:
    """Wait for concurrent migrations and first starts, and block others until this one ends.

    SQLite allows only one writer at a time anyway.
    """
    if tx.get_bind().dialect.name == "postgresql":
        tx.execute(STARTING)


def take_turn(tx: Tx, what: str, whose: str = "") -> None:
    """Serialize additions to a counted set until the transaction ends.

    SQLite allows only one writer at a time anyway. Row locks must be taken before this one.

    Args:
        tx: The transaction.
        what: The counted set.
        whose: The owner of the limit, if each owner has one.
    """
    if tx.get_bind().dialect.name == "postgresql":
        tx.execute(_TURN, {"what": what, "whose": whose})
