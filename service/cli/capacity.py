"""Checks of `lamina doctor` about what the processes of a deployment need together."""

from collections.abc import Iterator

from sqlalchemy import text

from service.app import Container
from service.cli.base import counted
from service.cli.results import CheckResult, unknown, wrong
from service.store.engine import Tx

_LIMITS = "SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"
_RESERVED = ("superuser_reserved_connections", "reserved_connections")


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
