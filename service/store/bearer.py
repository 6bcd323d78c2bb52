"""Keyed digests of bearer tokens, which only a holder of the service's keys can compute."""

from collections.abc import Callable
from functools import partial
from typing import Final

from crypto import opaque
from service.store.engine import Tx
from service.store.sealed import sealer_of

_PURPOSE: Final = "bearer-tokens"


def token_digest(tx: Tx, token: str, purpose: str, bound: bytes = b"") -> bytes:
    """Return the digest under which a token is stored and queried.

    Args:
        tx: A transaction.
        token: The token that the bearer presents.
        purpose: The kind of token, so that one kind is never accepted as another.
        bound: The owner of the token, if known before the row is read.
    """
    return digester(tx, purpose, bound)(token)


def digester(tx: Tx, purpose: str, bound: bytes = b"") -> Callable[[str], bytes]:
    """Return what gives the digest of a token that is known only when the unit of work is over."""
    key = sealer_of(tx).purpose_key(tx, _PURPOSE)
    return partial(opaque.keyed_digest, key, purpose=purpose, bound=bound)
