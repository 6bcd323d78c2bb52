"""Retention: the tasks that delete expired data, page by page.

`docs/retention.md` states the same table by table; `tests/functional/test_month.py` checks it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from service.accounts.actions.accounts import Accounts
from service.authenticators.actions import Authenticators
from service.clients.actions import Clients
from service.devices.actions import Devices
from service.factors.help_desk.actions.recoveries import Recoveries
from service.factors.totp.actions import TotpFactor
from service.idempotency.actions import Answers
from service.jobs.actions.long import LongJobs
from service.jobs.actions.worker import Task
from service.login.actions import Login
from service.notifications.actions.outbox import Outbox
from service.operators.actions import Operators
from service.policy.actions.evaluation import Policies
from service.privacy.actions.export import Exports
from service.sessions.actions import Sessions
from service.signals.behavior.actions import Behaviors
from service.signals.login_context.actions import LoginContextSignal
from service.store.engine import Tx
from service.throttling.actions import Throttling
from service.tokens.actions import Tokens

_MINUTE: Final = timedelta(minutes=1)
_OFTEN: Final = timedelta(minutes=5)
_HOUR: Final = timedelta(hours=1)


@dataclass(kw_only=True, frozen=True, slots=True)
class Ending:
    """The features with expiring data."""

    accounts: Accounts
    answers: Answers
    authenticators: Authenticators
    behaviors: Behaviors
    clients: Clients
    context: LoginContextSignal
    long_jobs: LongJobs
    devices: Devices
    exports: Exports
    login: Login
    operators: Operators
    outbox: Outbox
    policies: Policies
    recoveries: Recoveries
    sessions: Sessions
    throttling: Throttling
    tokens: Tokens
    totp: TotpFactor


def ends_of(of: Ending) -> Sequence[Task]:
    """Return the tasks that delete expired data."""

    def sessions(tx: Tx, now: datetime) -> int:
        return of.sessions.drop_ended(tx, now, of.tokens.delete_of_sessions)

    table = (
        ("answers.drop", _MINUTE, of.answers.drop_expired),
        ("assertions.drop", _OFTEN, of.clients.drop_expired),
        ("authenticators.drop", _OFTEN, of.authenticators.drop_ended),
        ("behavior.drop", _HOUR, of.behaviors.drop_older),
        ("codes.drop", _MINUTE, of.accounts.drop_ended),
        ("devices.drop", _HOUR, of.devices.drop_expired),
        ("exports.drop", _MINUTE, of.exports.drop_expired),
        ("flows.drop", _OFTEN, of.login.drop_ended),
        ("grants.drop", _OFTEN, of.authenticators.grants.drop_expired),
        ("jobs.drop", _HOUR, of.long_jobs.drop_old),
        ("failures.drop", _MINUTE, of.context.drop_failures),
        ("login_context.drop", _HOUR, of.context.drop_older),
        ("operators.drop", _HOUR, of.operators.drop_old),
        ("outbox.drop", _HOUR, of.outbox.drop_old),
        ("policy.drop", _OFTEN, of.policies.drop_old),
        ("recoveries.end", _MINUTE, of.recoveries.end_over),
        ("sessions.drop", _HOUR, sessions),
        ("steps.drop", _OFTEN, of.totp.drop_used),
        ("throttle.drop", _HOUR, of.throttling.drop_unused),
        ("tokens.drop", _OFTEN, of.tokens.drop_expired),
    )
    return tuple(
        Task(name=name, every=every, run=run, paged=True, final=True) for name, every, run in table
    )
