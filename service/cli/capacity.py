"""Checks of `lamina doctor` about speed: connections of all processes, the build of Argon2."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import text

from crypto import bindings
from service.app import Container
from service.cli.base import counted
from service.cli.results import CheckResult, unknown, wrong
from service.settings import Settings
from service.store.engine import Tx

_LIMITS: Final = "SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"
_RESERVED: Final = ("superuser_reserved_connections", "reserved_connections")


def hashes(_settings: Settings) -> Iterator[CheckResult]:
    """Tell which build of Argon2 hashes passwords; either is in order."""
    state = f"the {bindings.build()} build of Argon2 runs"
    if bindings.build() == bindings.STOCK:
        fits = bindings.suits(bindings.instructions())
        state += "; FAST_HASH=1 makes one that " + ("is faster here" if fits else "needs AVX2")
    yield CheckResult("hashing", state)


def connections(container: Container, tx: Tx) -> Iterator[CheckResult]:
    """Compare what all processes may open with what PostgreSQL allows; nothing on SQLite."""
    settings = container.settings
    if settings.sqlite:
        return
    rows = tx.execute(text(_LIMITS), {"names": ["max_connections", *_RESERVED]})
    limits = {str(row.name): int(row.setting) for row in rows}
    most = limits["max_connections"] - sum(limits.get(name, 0) for name in _RESERVED)
    now = container.clock.now()
    alive = sum(item.alive(now) for item in container.keys.instances.listed(tx))
    # Those of this host, and `lamina worker`, or more where several hosts serve.
    processes = max(alive, settings.workers + 1)
    each = settings.connections
    state = f"{counted(processes, 'process opens', 'processes open')} up to {processes * each}"
    state += f" connections ({each} each), and PostgreSQL allows {most}"
    if _pooled(tx):
        yield unknown("connections", f"a pooler is in use; {state}")
    elif processes * each > most:
        fitting = max(1, most // processes)
        mend = f"set LAMINA_DATABASE_CONNECTIONS={fitting}, or raise max_connections"
        yield wrong("connections", state, mend)
    else:
        yield CheckResult("connections", state)


def _pooled(tx: Tx) -> bool:
    """Return whether a pooler is between: it reports another process id than the server."""
    raw = tx.connection().connection.dbapi_connection
    told = getattr(getattr(raw, "info", None), "backend_pid", None)
    return bool(tx.scalar(text("SELECT pg_backend_pid()")) != told)
