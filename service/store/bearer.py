"""Digests of tokens that are shown once: only who holds the keys of the service can make one."""

from collections.abc import Callable
from functools import partial
from typing import Final

from crypto import opaque
from service.store.engine import Tx
from service.store.sealed import sealer_of

_PURPOSE: Final = "bearer-tokens"


def token_digest(tx: Tx, token: str, purpose: str, bound: bytes = b"") -> bytes:
    """Return the digest under which a token is stored and looked up.

    Args:
        tx: A unit of work.
        token: What the bearer shows.
        purpose: Its kind, so that none passes for another.
        bound: What it belongs to, where that is known before the row is read.
    """
    return digester(tx, purpose, bound)(token)


def digester(tx: Tx, purpose: str, bound: bytes = b"") -> Callable[[str], bytes]:
    """Return what gives the digest of a token that is known only when the unit of work is over."""
    key = sealer_of(tx).purpose_key(tx, _PURPOSE)
    return partial(opaque.keyed_digest, key, purpose=purpose, bound=bound)
