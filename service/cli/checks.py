"""Checks of `lamina doctor`, each with remedies for its findings.

A new check is a line in `CHECKS` (it has the whole service) or in `_BEFORE` (settings only). A
check yields its results; it raises a LaminaError if it cannot continue.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from crypto.errors import CryptoError
from service.app import Container, open_container, open_key_store
from service.cli.away import explain as silent
from service.cli.base import counted
from service.cli.capacity import connections, hashes
from service.cli.results import CheckResult, unknown, wrong
from service.domain.clock import SystemClock, rfc3339
from service.domain.errors import LaminaError, Unavailable
from service.keys.actions.ages import ages
from service.notifications.model import Channel, DeliveryState
from service.settings import Settings
from service.store import migrate
from service.store.engine import Tx, make_engine
from service.store.room import LEAST_FREE, DiskSpace, free_bytes
from service.web import limits

LOW: Final = 10 * LEAST_FREE
"""Bytes that should be free beside a database; below a tenth of it, `/readyz` reports not ready."""
_KEK_LIFE: Final = timedelta(days=400)
_SIGNING_LIFE: Final = timedelta(days=120)
_LATE: Final = timedelta(hours=1)
_QUEUED: Final = timedelta(minutes=1)
_MIB: Final = 1024 * 1024
_IDLE: Final = "idle_in_transaction_session_timeout"
_START: Final = "run: lamina serve (SQLite), or lamina worker"
_RESTORE: Final = "restore that file or its permissions (new here? run: lamina keys init)"


Check = Callable[[Container, Tx], Iterable[CheckResult]]


def look(settings: Settings) -> Iterator[CheckResult]:
    """Run all checks; those that need the whole service only if it opens."""
    first = [item for check in _BEFORE for item in check(settings)]
    yield from first
    if any(item.ok is False and item.check in {"database", "schema", "roots"} for item in first):
        why = "needs database, schema and root keys"
        yield from (unknown(name, why) for name, _ in CHECKS)
        return
    try:
        container = open_container(settings)
    except LaminaError as error:
        yield wrong("start", error.detail, "correct what this line names")
        yield from (unknown(name, "the service does not open") for name, _ in CHECKS)
        return
    for name, check in CHECKS:
        yield from _done(container, name, check)
    container.store.engine.dispose()


def _done(container: Container, name: str, check: Check) -> list[CheckResult]:
    try:
        with container.store.transaction(read=True) as tx:
            return list(check(container, tx))
    except LaminaError as error:
        return [wrong(name, error.detail, "correct what this line names")]
    except CryptoError as error:
        return [wrong(name, str(error), "run: lamina keys verify")]


# ------------------------------------------------------------ without the service


@contextmanager
def _engine(settings: Settings) -> Iterator[Engine]:
    engine = make_engine(settings.database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def _database(settings: Settings) -> Iterator[CheckResult]:
    file = settings.sqlite_file
    if file is not None and not file.exists():
        # Connecting would create it.
        yield wrong("database", f"{file} does not exist", "run: lamina db upgrade")
        return
    with _engine(settings) as engine:
        try:
            found = migrate.current(engine)
        except Unavailable as error:
            mend = "start the database, or set LAMINA_DATABASE_URL"
            yield wrong("database", silent(error, settings.database_url), mend)
            return
        yield CheckResult("database", engine.dialect.name)
        yield _schema(found)
        yield from _pooler(engine)
        yield _writable(settings, engine)


def _schema(found: str | None) -> CheckResult:
    if found == migrate.HEAD:
        return CheckResult("schema", f"revision {found}")
    state = f"at revision {found or 'none'}, this program needs {migrate.HEAD}"
    newer = found is not None and found > migrate.HEAD
    return wrong("schema", state, "install a newer version" if newer else "run: lamina db upgrade")


def _pooler(engine: Engine) -> Iterator[CheckResult]:
    """Detect a connection pooler: PgBouncer reports another process id than the server."""
    if engine.dialect.name != "postgresql":
        return
    with engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        between = connection.scalar(text("SELECT pg_backend_pid()")) != raw.info.backend_pid
        idle = connection.scalar(text(f"SELECT current_setting('{_IDLE}')"))
    if between:
        mend = "PgBouncer: pool_mode session, or 1.21 or later with max_prepared_statements"
        yield CheckResult("pooler", f"a pooler is in use; {mend}")
    else:
        yield CheckResult("pooler", "none detected")
    if idle == "0":
        mend = f"run as its owner: ALTER ROLE … SET {_IDLE} = '30s'"
        yield wrong("pooler", f"{_IDLE} is off: a pooler dropped the setting", mend)


def _writable(settings: Settings, engine: Engine) -> CheckResult:
    """Check disk space: that of a server is visible only by whether it accepts writes."""
    file = settings.sqlite_file
    if file is not None:
        return _room("disk.database", file.resolve().parent, LOW)
    try:
        takes = DiskSpace(engine, None)()
    except DBAPIError:
        takes = False
    if takes:
        return unknown("disk.database", "the disk of a server is not visible; it accepts writes")
    mend = "free space on the server, or connect to the primary"
    return wrong("disk.database", "the server accepts no writes", mend)


def _ledger_room(settings: Settings) -> Iterator[CheckResult]:
    path = settings.ledger_path
    if path is not None and path.parent.is_dir():
        yield _room("disk.ledger", path.resolve().parent, LEAST_FREE)


def _room(check: str, directory: Path, least: int) -> CheckResult:
    try:
        free = free_bytes(directory)
    except OSError as error:
        return wrong(check, f"{directory}: {error.strerror}", f"make it readable: {directory}")
    state = f"{free // _MIB} MiB free in {directory}"
    if free < least:
        return wrong(check, f"{state}, less than {least // _MIB}", f"free space in {directory}")
    return CheckResult(check, state)


def _roots(settings: Settings) -> Iterator[CheckResult]:
    try:
        open_key_store(settings, SystemClock())
    except LaminaError as error:
        yield wrong(
            "roots", error.detail.removesuffix(" (new here? run: lamina keys init)"), _RESTORE
        )
        return
    yield CheckResult(
        "roots", counted(len(settings.key_classes), "class is", "classes are") + " held"
    )


def _redis(settings: Settings) -> Iterator[CheckResult]:
    if not settings.redis_url:
        alone = settings.workers == 1
        state = "not set; " + (
            "one worker enforces limits" if alone else "each worker enforces its share"
        )
        yield CheckResult("redis", state)
        return
    parts = urlsplit(settings.redis_url)
    place = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
    if limits.reachable(settings.redis_url):
        yield CheckResult("redis", f"{place} answers")
        return
    mend = "start it, or set LAMINA_REDIS_URL; until then each worker enforces its share"
    yield wrong("redis", f"{place} does not answer", mend)


_BEFORE: Final[tuple[Callable[[Settings], Iterable[CheckResult]], ...]] = (
    _database,
    _ledger_room,
    _roots,
    _redis,
    hashes,
)


# ------------------------------------------------------------ with the service


def _serving(container: Container, tx: Tx) -> Iterator[CheckResult]:
    now = container.clock.now()
    alive = sum(item.alive(now) for item in container.keys.instances.listed(tx))
    if alive:
        state = counted(alive, "process gives", "processes give")
        yield CheckResult("serving", f"{state} signs of life")
    else:
        yield wrong("serving", "no process has sent a heartbeat for 30 s", "run: lamina serve")


def _worker(container: Container, tx: Tx) -> Iterator[CheckResult]:
    seen = container.jobs.seen(tx)
    now = container.clock.now()
    if seen is None:
        yield wrong("worker", "no worker has ever run here", _START)
        return
    if seen.alive(now):
        age = max(0, int((now - seen.at).total_seconds()))
        yield CheckResult("worker", f"its last heartbeat is {age} s old")
    elif seen.until > now:
        state = f"its lease lasts until {rfc3339(seen.until)}, set by a wrong clock"
        yield wrong("worker", state, "correct the clocks of all hosts")
    else:
        away = int((now - seen.until).total_seconds())
        yield wrong("worker", f"no background work for {away} s", _START)


def _queued(container: Container, tx: Tx) -> Iterator[CheckResult]:
    waiting, running, oldest = container.key_admin.jobs.depth(tx)
    state = f"{counted(waiting, 'long job waits', 'long jobs wait')}, {running} run"
    age = container.clock.now() - oldest if oldest else timedelta()
    if waiting and not running and age > _QUEUED:
        yield wrong("jobs", f"{state}; the oldest for {int(age.total_seconds())} s", _START)
    else:
        yield CheckResult("jobs", state)


def _clocks(container: Container, tx: Tx) -> Iterator[CheckResult]:
    readings = container.jobs.readings.findings(tx) if container.jobs.readings else []
    for item in readings:
        state = f"{item.seconds:+d} s ahead of it"
        check = f"clock.{item.name}"
        mend = "set this machine's clock (timedatectl set-ntp true), then wait for an hour"
        yield CheckResult(check, state) if item.agrees else wrong(check, state, mend)
    if container.settings.sqlite:
        yield unknown("clock.database", "SQLite has no clock")


def _ledger(container: Container, tx: Tx) -> Iterator[CheckResult]:
    path = container.settings.ledger_path
    if path is not None and (problem := _unwritable(path)):
        yield wrong("ledger", *problem)
    found = container.memory.findings(tx)
    for item in found:
        yield wrong("ledger", f"{item['what']} {item['state']}", item["mend"])
    if path is not None and not found:
        lines = len(container.memory.entries())
        yield CheckResult("ledger", f"{counted(lines, 'line')} in {path.name}, and the log matches")


def _unwritable(path: Path) -> tuple[str, str] | None:
    """Return why a ledger cannot be written, and the remedy; None if it can."""
    if not path.parent.is_dir():
        return f"the directory {path.parent} does not exist", f"run: mkdir -m 700 {path.parent}"
    for place in (path.parent, *([path] if path.exists() else [])):
        if not os.access(place, os.R_OK | os.W_OK) or _read_only(place):
            return f"{place} cannot be written by this user", f"change its owner: chown {place}"
    return None


def _read_only(place: Path) -> bool:
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def _keys(container: Container, tx: Tx) -> Iterator[CheckResult]:
    found = container.key_admin.findings(tx)
    for item in found:
        yield wrong("keys", f"{item['what']} {item['state']}", item["mend"])
    if not found:
        yield CheckResult("keys", "no operation is incomplete")


def _ages(container: Container, tx: Tx) -> Iterator[CheckResult]:
    lives = {"kek": _KEK_LIFE, "signing": _SIGNING_LIFE}
    now = container.clock.now()
    oldest = dict[str, tuple[timedelta, str]]()
    for item in ages(tx, now):
        name = item.tier if item.tier == item.key_class else f"{item.tier} {item.key_class}"
        oldest[item.tier] = max(oldest.get(item.tier, (timedelta(), "")), (item.age, name))
    for tier, (age, name) in oldest.items():
        state = f"the oldest active key, {name}, is {counted(age.days, 'day')} old"
        if age > lives[tier]:
            yield wrong(f"age.{tier}", state, f"run: lamina keys rotate --tier {tier} --wait")
        else:
            yield CheckResult(f"age.{tier}", state)


def _destruction(container: Container, tx: Tx) -> Iterator[CheckResult]:
    now = container.clock.now()
    for row in container.key_store.status(tx):
        if row["destroy_after"] is None:
            continue
        due = datetime.fromisoformat(row["destroy_after"])
        state = f"kek {row['class']} {row['version']} goes after {rfc3339(due)}"
        if now - due > _LATE:
            mend = f"{_START}; to move what it still wraps: lamina keys rewrap"
            yield wrong("destruction", f"{state}, and still exists", mend)
        else:
            yield CheckResult("destruction", state)


def _outbox(container: Container, tx: Tx) -> Iterator[CheckResult]:
    depths = container.delivery.delivering.depths(tx)
    dead = sum(item.number for item in depths if item.state == DeliveryState.DEAD)
    waits = [item for item in depths if item.state == DeliveryState.WAITING]
    oldest = min((item.oldest for item in waits), default=None)
    age = container.clock.now() - oldest if oldest else timedelta()
    state = f"{counted(sum(item.number for item in waits), 'delivery waits', 'deliveries wait')}"
    state += f", the oldest for {int(age.total_seconds())} s" if oldest else ""
    if dead:
        mend = "see lamina outbox list; then lamina outbox retry --dead, or drop --dead"
        yield wrong(
            "outbox", f"{counted(dead, 'delivery is', 'deliveries are')} dead; {state}", mend
        )
    elif age > _LATE:
        yield wrong("outbox", state, "see lamina outbox list")
    else:
        yield CheckResult("outbox", state)


def _delivery(container: Container, tx: Tx) -> Iterator[CheckResult]:
    found = container.settings
    if not found.smtp_url:
        yield unknown("delivery.email", "LAMINA_SMTP_URL is not set: no codes are sent by mail")
    elif reason := container.delivery.delivering.reach(Channel.EMAIL):
        state = f"the mail server is not usable ({reason}); messages wait"
        yield wrong("delivery.email", state, "start it, or correct LAMINA_SMTP_URL")
    else:
        yield CheckResult("delivery.email", "the mail server is reachable")
    if not found.sms_url:
        yield unknown(
            "delivery.sms", "LAMINA_SMS_URL is not set: no codes are sent as text messages"
        )
    if not found.alarm_email and not container.delivery.webhooks.listed(tx):
        mend = "set LAMINA_ALARM_EMAIL, or run: lamina webhooks add"
        yield unknown("delivery.alarms", "alarms have no recipient", mend)


CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("serving", _serving),
    ("worker", _worker),
    ("jobs", _queued),
    ("clock", _clocks),
    ("ledger", _ledger),
    ("keys", _keys),
    ("age", _ages),
    ("destruction", _destruction),
    ("connections", connections),
    ("outbox", _outbox),
    ("delivery", _delivery),
)
"""Checks that need the whole service, by name, in the order of output."""
