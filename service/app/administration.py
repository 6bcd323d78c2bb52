"""The last floor: background work, key administration and alarms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from service.app.backtests import backtest_plan
from service.app.core import Core
from service.app.ending import retention_tasks
from service.app.factors import Factors
from service.app.gauges import Gauges, install
from service.app.identity import Identity
from service.app.privacy import Privacy
from service.app.risk import RiskFloor
from service.app.watching import Comparing, RefusedRows, canary_opened
from service.audit.actions.state import RowState
from service.domain.clock import SystemClock
from service.domain.errors import Unavailable
from service.domain.ids import parse_id
from service.factors.face.actions import FaceFactor
from service.jobs.actions.long import LongJobs
from service.jobs.actions.readings import Readings
from service.jobs.actions.worker import Apart, Jobs, Task
from service.key_admin.actions import KeyAdmin, plans
from service.login.actions import Login
from service.notifications.actions.outbox import Outbox
from service.policy.routes import BACKTEST
from service.privacy.actions.export import KIND
from service.store.dropping import PAGE
from service.store.engine import Store, Tx, database_time

_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)


@dataclass(kw_only=True, frozen=True)
class Administration:
    """Key administration, the comparison of rows with the log, and background work."""

    key_admin: KeyAdmin
    comparing: Comparing
    jobs: Jobs


def build_administration(
    core: Core,
    identity: Identity,
    *,
    risk: RiskFloor,
    factors: Factors,
    login: Login,
    privacy: Privacy,
) -> Administration:
    """Return background work and administration, and register alarms and gauges.

    Args:
        core: The first floor.
        identity: The second floor.
        risk: The third floor.
        factors: The fourth floor.
        login: The login.
        privacy: The fifth floor.
    """
    _alarm(core, factors.face)
    long_jobs = _long_jobs(core, identity, factors, privacy)
    key_admin = KeyAdmin(privacy.keys, long_jobs, _readings(core, privacy).require)
    comparing = Comparing(
        core.store, RowState(core.store, core.audit, core.clock), core.outbox, core.metrics
    )
    delivering = core.delivery.delivering
    jobs = Jobs(
        database=core.store,
        tasks=(
            *_tasks(core, identity, risk=risk, factors=factors, privacy=privacy),
            *retention_tasks(
                core,
                identity,
                risk=risk,
                factors=factors,
                login=login,
                exports=privacy.exports,
                long_jobs=long_jobs,
            ),
        ),
        clock=core.clock,
        readings=_readings(core, privacy),
        apart=(
            Apart("rows.compare", _DAY, comparing.due),
            Apart("outbox.deliver", _SECOND, delivering.due, delivering.stop),
        ),
    )
    gauges = Gauges(
        store=core.store,
        instances=privacy.keys.instances,
        long_jobs=long_jobs,
        jobs=jobs,
        outbox=core.outbox,
        hashing=factors.password.busy,
        clock=core.clock,
    )
    install(core.metrics, gauges)
    return Administration(key_admin=key_admin, comparing=comparing, jobs=jobs)


def _tasks(
    core: Core, identity: Identity, *, risk: RiskFloor, factors: Factors, privacy: Privacy
) -> Sequence[Task]:
    """Return the tasks that do more than delete, in the order in which they run."""
    audit = core.audit
    memory = privacy.memory
    destroy = privacy.keys.lifecycle.destroy_scheduled
    send = identity.recoveries.send_due
    return (
        Task(
            name="audit.sequence",
            every=_SECOND,
            run=lambda tx, _now: audit.sequence(tx, PAGE),
            paged=True,
            share=1.0,
        ),
        Task(name="ledger.note", every=_SECOND, run=memory.remember_due),
        Task(name="ledger.remember", every=_MINUTE, run=privacy.erasure.remember_due),
        Task(name="keys.destroy", every=_MINUTE, run=destroy, final=True),
        Task(
            name="login_context.fold", every=_MINUTE, run=risk.context.fold, paged=True, final=True
        ),
        Task(name="identifiers.renew", every=_MINUTE, run=identity.accounts.renew),
        Task(name="recoveries.send", every=_MINUTE, run=send, final=True),
        Task(name="faces.alert", every=_DAY, run=partial(_count_faces, factors.face, core.outbox)),
    )


def _long_jobs(core: Core, identity: Identity, factors: Factors, privacy: Privacy) -> LongJobs:
    return LongJobs(
        database=core.store,
        plans={
            **plans(privacy.keys),
            KIND: privacy.exports.work,
            BACKTEST: partial(backtest_plan, core.store, factors.lives),
        },
        clock=core.clock,
        bounds=core.settings,
        entitled=partial(_entitled, identity),
    )


def _entitled(identity: Identity, tx: Tx, actor: str, scope: str) -> bool:
    """Tell whether the actor that queued a job (operator, client or host) still has its scope."""
    client = parse_id(actor)
    if client is None:
        return identity.operators.roles.entitled(tx, actor, scope)
    found = identity.clients.active(tx, client)
    return found is not None and scope in found.scopes


def _readings(core: Core, privacy: Privacy) -> Readings:
    # A clock that is set by hand, as in tests and replays, is not compared with the database.
    compared = database_time if isinstance(core.clock, SystemClock) else None
    return Readings(
        clock=core.clock,
        audit=core.audit,
        outbox=core.outbox,
        database=compared,
        ledger=privacy.memory.last_at,
    )


def _alarm(core: Core, face: FaceFactor) -> None:
    """Raise alarms for canaries and refused rows; count stored faces."""
    core.metrics.faces.set_function(partial(_stored_faces, core.store, face))
    core.key_store.on_canary(partial(canary_opened, core.store, core.audit, core.outbox))
    refused = RefusedRows(
        store=core.store,
        audit=core.audit,
        outbox=core.outbox,
        metrics=core.metrics,
        clock=core.clock,
    )
    core.store.on_refused(refused.tell)


def _stored_faces(store: Store, face: FaceFactor) -> float:
    try:
        with store.transaction(read=True) as tx:
            return float(face.stored(tx))
    except Unavailable:
        # The other metrics matter most while the database is unavailable.
        return math.nan


def _count_faces(face: FaceFactor, outbox: Outbox, tx: Tx, _now: datetime) -> int:
    """Raise a daily alarm while too many faces are stored; return their number."""
    count = face.stored(tx)
    if face.near_limit(count):
        outbox.put(
            tx,
            kind="alarm.stored_faces",
            subject=None,
            payload={"stored": count, "filing_at": 100_000},
        )
    return count
