"""The second floor: subjects and clients, what each owns, and who may act for the service."""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from service.accounts.actions.accounts import Accounts
from service.accounts.actions.suspension import Suspensions
from service.app.announcements import Announcements
from service.app.core import Core
from service.authenticators.actions import Authenticators
from service.authenticators.actions.standing import beside, standing
from service.clients.actions import Clients
from service.devices.actions import Devices
from service.factors.help_desk.actions.recoveries import Recoveries
from service.operators.actions import ApprovedAct, Operators
from service.operators.model import RECOVER, required
from service.sessions.actions import SessionDependencies, Sessions, Standing
from service.store.recent import Changes
from service.tokens.actions import AccessTokens, Tokens

CALLERS: Final = frozenset({"client", "revoked_token"})
"""The tables on which it depends who may call; what is kept of callers goes when one changes."""


@dataclass(kw_only=True, frozen=True)
class Identity:
    """Subjects, clients and operators, with their sessions, devices and tokens."""

    accounts: Accounts
    suspensions: Suspensions
    authenticators: Authenticators
    clients: Clients
    devices: Devices
    sessions: Sessions
    operators: Operators
    recoveries: Recoveries
    tokens: Tokens
    changes: Changes
    announcements: Announcements


def build_identity(core: Core) -> Identity:
    """Return the features of identity."""
    settings = core.settings
    clock = core.clock
    accounts = Accounts(
        key_store=core.key_store,
        outbox=core.outbox,
        audit=core.audit,
        clock=clock,
        bounds=settings,
    )
    accounts.leading.follow(core.policies.admits_unverified)
    authenticators = Authenticators(accounts, core.audit, clock, settings)
    clients = Clients(core.audit, clock, settings, kept=settings.caller_seconds)
    devices = Devices(core.key_store.purpose_key, clock, settings)
    sessions = _sessions(core, accounts, authenticators, devices)
    operators = Operators(
        accounts=accounts,
        audit=core.audit,
        outbox=core.outbox,
        clock=clock,
        level=required(development=settings.mode == "development"),
        acts={"clients.scopes": ApprovedAct(clients.check_scopes, clients.approve_scopes)},
        bounds=settings,
    )
    recoveries = Recoveries(
        operators=operators,
        accounts=accounts,
        authenticators=authenticators,
        policies=core.policies,
        outbox=core.outbox,
        audit=core.audit,
        clock=clock,
    )
    operators.follow(RECOVER, recoveries)
    suspensions = Suspensions(accounts, core.audit, clock)
    suspensions.end_with(
        partial(sessions.end_access, reason="suspended"),
        partial(recoveries.stop, reason="suspended"),
        operators.roles.suspended,
    )
    tokens = Tokens(
        database=core.store,
        clients=clients,
        sessions=sessions,
        access=AccessTokens(core.signing, clock, settings.issuer),
        operators=operators,
        audit=core.audit,
        clock=clock,
        grace=timedelta(seconds=settings.refresh_grace),
        kept=settings.caller_seconds,
    )
    changes = Changes(CALLERS)
    changes.follow(clients.forget)
    changes.follow(tokens.forget)
    announcements = Announcements(settings.redis_url, changes.heard)
    changes.announce_by(announcements.publish)
    core.store.on_commit(changes.committed)
    return Identity(
        accounts=accounts,
        suspensions=suspensions,
        authenticators=authenticators,
        clients=clients,
        devices=devices,
        sessions=sessions,
        operators=operators,
        recoveries=recoveries,
        tokens=tokens,
        changes=changes,
        announcements=announcements,
    )


def _sessions(
    core: Core, accounts: Accounts, authenticators: Authenticators, devices: Devices
) -> Sessions:
    policies = core.policies
    sessions = Sessions(
        accounts=accounts,
        audit=core.audit,
        clock=core.clock,
        dependencies=SessionDependencies(
            policies.session_idle,
            policies.keeps_sessions,
            authenticators.active,
            Standing(beside, standing),
            devices.delete_for,
        ),
        bounds=core.settings,
    )
    authenticators.guard(sessions)
    return sessions
