"""Retention: the tasks that delete expired data, page by page.

`docs/retention.md` states the same table by table; `tests/functional/test_month.py` checks it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from service.app.core import Core
from service.app.factors import Factors
from service.app.identity import Identity
from service.app.risk import RiskFloor
from service.jobs.actions.long import LongJobs
from service.jobs.actions.worker import Task
from service.login.actions import Login
from service.privacy.actions.export import Exports
from service.store.engine import Tx

_MINUTE: Final = timedelta(minutes=1)
_OFTEN: Final = timedelta(minutes=5)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


def retention_tasks(  # noqa: PLR0913 - one argument per floor
    core: Core,
    identity: Identity,
    *,
    risk: RiskFloor,
    factors: Factors,
    login: Login,
    exports: Exports,
    long_jobs: LongJobs,
) -> Sequence[Task]:
    """Return the tasks that delete expired data.

    Args:
        core: The first floor.
        identity: The second floor.
        risk: The third floor.
        factors: The fourth floor.
        login: The login.
        exports: The exports of personal data.
        long_jobs: The long jobs.
    """

    def sessions(tx: Tx, now: datetime) -> int:
        return identity.sessions.drop_ended(tx, now, identity.tokens.delete_of_sessions)

    table = (
        ("answers.drop", _MINUTE, core.answers.drop_expired),
        ("assertions.drop", _OFTEN, identity.clients.drop_expired),
        ("authenticators.drop", _OFTEN, identity.authenticators.drop_ended),
        ("behavior.drop", _HOUR, risk.behaviors.drop_older),
        ("codes.drop", _MINUTE, identity.accounts.drop_ended),
        ("devices.drop", _HOUR, identity.devices.drop_expired),
        ("exports.drop", _MINUTE, exports.drop_expired),
        ("flows.drop", _MINUTE, login.drop_ended),
        ("grants.drop", _OFTEN, identity.authenticators.grants.drop_expired),
        ("jobs.drop", _HOUR, long_jobs.drop_old),
        ("failures.drop", _MINUTE, risk.context.drop_failures),
        ("login_context.drop", _HOUR, risk.context.drop_older),
        ("operators.drop", _HOUR, identity.operators.drop_old),
        ("outbox.drop", _HOUR, core.outbox.drop_old),
        ("policy.drop", _OFTEN, core.policies.drop_old),
        ("recoveries.end", _MINUTE, identity.recoveries.end_over),
        ("sessions.drop", _HOUR, sessions),
        ("steps.drop", _OFTEN, factors.totp.drop_used),
        ("steps.sweep", _DAY, factors.totp.sweep_used),
        ("throttle.drop", _HOUR, core.throttling.drop_unused),
        ("tokens.drop", _OFTEN, identity.tokens.drop_expired),
    )
    return tuple(
        Task(name=name, every=every, run=run, paged=True, final=True) for name, every, run in table
    )
