"""The container: opens database and keys, and wires all features together."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from crypto.hashing import PasswordHasher
from crypto.opaque import new_token
from service.accounts.actions.accounts import Accounts
from service.app.backtests import backtest_plan
from service.app.delivery import DeliveryService, open_delivery
from service.app.ending import Ending, ends_of
from service.app.gauges import Gauges, install
from service.app.ground import foundation, open_audit
from service.app.key_setup import open_keys, open_ledger
from service.app.repeats import Again
from service.app.watching import Comparing, RefusedRows, canary_opened
from service.audit.actions.audit_log import AuditLog
from service.audit.actions.state import RowState
from service.authenticators.actions import Authenticators
from service.authenticators.enrolling import Enrolling
from service.authenticators.enrollment import AnyEnrollment
from service.authenticators.factor import AnyFactor
from service.clients.actions import Clients
from service.devices.actions import Devices
from service.domain.authenticator import HELP_DESK, Status
from service.domain.bounds import Bounds
from service.domain.clock import Clock, SystemClock
from service.domain.errors import Unavailable
from service.domain.ids import DECOY, parse_id
from service.factors.face.actions import FaceFactor, LivenessRequirement
from service.factors.face.engine_pool import EnginePool
from service.factors.face.model import Mode
from service.factors.face.scoring import FaceScores
from service.factors.help_desk.actions.factor import HelpDeskFactor
from service.factors.help_desk.actions.recoveries import Recoveries
from service.factors.password.actions import PasswordFactor
from service.factors.recovery_codes.actions import CODES, RecoveryCodeFactor
from service.factors.totp.actions import TotpFactor
from service.factors.totp.model import CodeForm
from service.idempotency.actions import Answers
from service.jobs.actions.long import LongJobs
from service.jobs.actions.readings import Readings
from service.jobs.actions.worker import Apart, Jobs, Task
from service.key_admin.actions import KeyAdmin, KeyAdminDependencies, plans
from service.keys.actions import KeyStore, SigningKeys
from service.keys.actions.crypto_shredding import SUBJECT_CLASSES, Shredding
from service.login.actions import Login
from service.login.dependencies import LoginDependencies
from service.notifications.actions.outbox import Outbox
from service.operators.actions import ApprovedAct, Operators
from service.operators.model import RECOVER, required
from service.policy.actions.documents import Lives
from service.policy.actions.evaluation import Policies
from service.policy.actions.subject_risk import SubjectRisks
from service.policy.routes import BACKTEST
from service.privacy.actions.erasure import Erasure, ErasureDependencies
from service.privacy.actions.export import KIND, ExportDependencies, Exports
from service.privacy.actions.memory import Memory
from service.privacy.actions.watching import Watch
from service.risk.runner import Signals
from service.sessions.actions import SessionDependencies, Sessions
from service.settings import Settings
from service.signals.behavior.actions import Behaviors, BehaviorSignal, Measuring
from service.signals.behavior.population import open_models
from service.signals.face_passive.actions import FacePassiveSignal
from service.signals.login_context.actions import LoginContextSignal
from service.store.engine import Store, Tx, database_time
from service.store.turns import take_start
from service.telemetry.metrics import Metrics
from service.throttling.actions import Limits, Throttling
from service.tokens.actions import AccessTokens, Tokens

_NOBODY: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Container:
    """The features of a process, wired together."""

    settings: Settings
    clock: Clock
    store: Store
    key_store: KeyStore
    signing: SigningKeys
    audit: AuditLog
    outbox: Outbox
    delivery: DeliveryService
    accounts: Accounts
    clients: Clients
    throttling: Throttling
    authenticators: Authenticators
    enrolling: Enrolling
    sessions: Sessions
    tokens: Tokens
    operators: Operators
    recoveries: Recoveries
    devices: Devices
    behaviors: Behaviors
    measuring: Measuring
    answers: Answers
    keys: KeyAdminDependencies
    shredding: Shredding
    key_admin: KeyAdmin
    erasure: Erasure
    memory: Memory
    watch: Watch
    exports: Exports
    password: PasswordFactor
    face: FaceFactor
    scores: FaceScores
    factors: dict[str, AnyFactor]
    policies: Policies
    lives: Lives
    standing: SubjectRisks
    login: Login
    metrics: Metrics
    comparing: Comparing
    jobs: Jobs


def open_container(  # noqa: PLR0915 - the composition, in one place
    settings: Settings, clock: Clock | None = None, hasher: PasswordHasher | None = None
) -> Container:
    """Open database and keys, and wire the features.

    Raises:
        SetupError: A key file is missing or unsafe, the schema version differs, the keys are not
            those of this database, or a model is invalid; the detail says what to correct.
        Unavailable: The database does not answer.
    """
    clock, models = clock or SystemClock(), open_models(settings.behavior_model)
    store, key_store, signing = foundation(settings, clock)
    audit, metrics = open_audit(settings, key_store, clock), Metrics()
    outbox, delivery = open_delivery(
        settings, store=store, audit=audit, clock=clock, metrics=metrics
    )
    accounts = Accounts(
        key_store=key_store, outbox=outbox, audit=audit, clock=clock, bounds=settings
    )
    authenticators = Authenticators(accounts, audit, clock, settings)
    policies, standing = _policies(store, key_store, clock), SubjectRisks(audit, clock)
    accounts.leading.follow(policies.admits_unverified)
    clients, devices = (
        Clients(audit, clock, settings),
        Devices(key_store.purpose_key, clock, settings),
    )
    sessions, behaviors = (
        _sessions(accounts, authenticators, policies, devices, audit, clock, bounds=settings),
        Behaviors(accounts=accounts, models=models, audit=audit, outbox=outbox, clock=clock),
    )
    throttling, context, answers = (
        Throttling(key_store.purpose_key, clock, settings.free_attempts),
        _context(settings, key_store),
        Answers(store, key_store.purpose_key, clock, settings),
    )
    access = AccessTokens(signing, clock, settings.issuer)
    operators = Operators(
        accounts=accounts,
        audit=audit,
        outbox=outbox,
        clock=clock,
        level=required(development=settings.mode == "development"),
        acts={"clients.scopes": ApprovedAct(clients.check_scopes, clients.approve_scopes)},
        bounds=settings,
    )
    recoveries = Recoveries(
        operators=operators,
        accounts=accounts,
        authenticators=authenticators,
        policies=policies,
        outbox=outbox,
        audit=audit,
        clock=clock,
    )
    operators.follow(RECOVER, recoveries)
    _end_with_suspension(accounts, sessions, recoveries, operators)
    tokens = Tokens(
        database=store,
        clients=clients,
        sessions=sessions,
        access=access,
        operators=operators,
        audit=audit,
        clock=clock,
        grace=timedelta(seconds=settings.refresh_grace),
    )
    asked = LivenessRequirement(
        policies.liveness, lambda tx, subject: accounts.get(tx, subject).segment
    )
    enrolled = _factors(settings, authenticators, hasher, clock, asked, behaviors)
    password, totp, codes, face = enrolled
    factors: dict[str, AnyFactor] = {item.name: item for item in enrolled}
    factors |= {HELP_DESK: HelpDeskFactor(recoveries)}
    enrollments: dict[str, AnyEnrollment] = {item.type: item for item in enrolled}
    signals = Signals(
        (BehaviorSignal(behaviors), context, FacePassiveSignal()),
        lambda: policies.signal_budget_ms,
    )
    login = Login(
        LoginDependencies(
            database=store,
            accounts=accounts,
            authenticators=authenticators,
            sessions=sessions,
            tokens=tokens,
            devices=devices,
            throttling=throttling,
            policies=policies,
            standing=standing,
            behaviors=behaviors,
            signals=signals,
            factors=factors,
            recoveries=recoveries,
            audit=audit,
            metrics=metrics,
            clock=clock,
            origin=context.origin,
            lifetime=timedelta(seconds=settings.flow_lifetime),
            idle=timedelta(seconds=settings.flow_idle),
        )
    )
    enrolling = Enrolling(
        database=store,
        accounts=accounts,
        authenticators=authenticators,
        throttling=throttling,
        enrollments=enrollments,
        clock=clock,
    )
    _ensure_decoy(store, accounts, password, totp, codes)

    keys, exports, lives = (
        open_keys(
            settings, store=store, key_store=key_store, signing=signing, audit=audit, clock=clock
        ),
        _exports(store, accounts, throttling, audit, clock, settings),
        Lives(frozenset(factors), audit, clock, settings),
    )
    ending = {
        "contact": (accounts.erase_contact, outbox.delete_for),
        "biometric": (face.delete_for, policies.delete_for),
        "behavior": (behaviors.delete_for, context.delete_for, policies.delete_for),
        "factor": (
            authenticators.revoke_all,
            recoveries.delete_for,
            policies.delete_for,
            standing.delete_for,
        ),
    }
    ends = ErasureDependencies(
        present=accounts.lock,
        # An export contains data of every class.
        by_class={name: (*ending.get(name, ()), exports.delete_for) for name in SUBJECT_CLASSES},
        whole=(operators.roles.erase, sessions.erase, devices.delete_for, accounts.mark_erased),
        end_sessions=sessions.end_everything,
        restored=(
            devices.forget_all,
            authenticators.grants.drop_every,
            partial(operators.close_approvals, actor="ledger"),
            recoveries.stop_all,
        ),
    )
    shredding, memory = (
        Shredding(
            records=keys.records,
            audit=audit,
            clock=clock,
            retention=timedelta(days=settings.backup_days),
            lock=accounts.lock,
        ),
        Memory(
            database=store,
            ledger=open_ledger(settings, store, key_store, clock),
            audit=audit,
            outbox=outbox,
            metrics=metrics,
            clock=clock,
        ),
    )
    answers.watch(partial(_lasting, accounts, shredding))
    erasure = Erasure(
        database=store,
        shredding=shredding,
        ends=ends,
        memory=memory,
        repeating=Again(
            accounts=accounts,
            authenticators=authenticators,
            clients=clients,
            operators=operators,
            sessions=sessions,
            tokens=tokens,
            lives=lives,
            shredding=shredding,
            clock=clock,
        ).repeating(store),
    )
    _watch(store, key_store, audit, outbox, metrics, face, clock)

    key_admin, comparing = (
        KeyAdmin(
            keys,
            _long_jobs(
                store,
                keys,
                exports,
                lives,
                clock,
                bounds=settings,
                entitled=partial(_entitled, operators, clients),
            ),
            _readings(clock, audit, outbox, memory).require,
        ),
        Comparing(store, RowState(store, audit, clock), outbox, metrics),
    )
    tasks = (
        Task(
            name="audit.sequence",
            every=timedelta(seconds=1),
            run=lambda tx, _now: audit.sequence_waiting(tx),
        ),
        Task(name="ledger.note", every=timedelta(seconds=1), run=memory.remember_due),
        Task(name="ledger.remember", every=timedelta(minutes=1), run=erasure.remember_due),
        Task(
            name="keys.destroy",
            every=timedelta(minutes=1),
            run=keys.lifecycle.destroy_scheduled,
            final=True,
        ),
        Task(
            name="login_context.fold",
            every=timedelta(minutes=1),
            run=context.fold,
            paged=True,
            final=True,
        ),
        Task(name="identifiers.renew", every=timedelta(minutes=1), run=accounts.renew),
        Task(
            name="recoveries.send", every=timedelta(minutes=1), run=recoveries.send_due, final=True
        ),
        Task(name="faces.alert", every=timedelta(days=1), run=partial(_count_faces, face, outbox)),
        *ends_of(
            Ending(
                accounts=accounts,
                answers=answers,
                authenticators=authenticators,
                behaviors=behaviors,
                clients=clients,
                context=context,
                long_jobs=key_admin.jobs,
                devices=devices,
                exports=exports,
                login=login,
                operators=operators,
                outbox=outbox,
                policies=policies,
                recoveries=recoveries,
                sessions=sessions,
                throttling=throttling,
                tokens=tokens,
                totp=totp,
            )
        ),
    )
    return _measured(
        Container(
            settings=settings,
            clock=clock,
            store=store,
            key_store=key_store,
            signing=signing,
            audit=audit,
            outbox=outbox,
            delivery=delivery,
            accounts=accounts,
            clients=clients,
            throttling=throttling,
            authenticators=authenticators,
            enrolling=enrolling,
            sessions=sessions,
            tokens=tokens,
            operators=operators,
            recoveries=recoveries,
            keys=keys,
            shredding=shredding,
            erasure=erasure,
            memory=memory,
            watch=Watch(store, memory, erasure.compare, erasure.remember),
            exports=exports,
            key_admin=key_admin,
            devices=devices,
            behaviors=behaviors,
            measuring=Measuring(
                database=store,
                accounts=accounts,
                authenticators=authenticators,
                policies=policies,
                behaviors=behaviors,
                limits=Limits(key_store.purpose_key, clock),
            ),
            answers=answers,
            password=password,
            face=face,
            scores=FaceScores(
                database=store, accounts=accounts, throttling=throttling, face=face, audit=audit
            ),
            factors=factors,
            policies=policies,
            lives=lives,
            standing=standing,
            login=login,
            metrics=metrics,
            comparing=comparing,
            jobs=Jobs(
                database=store,
                tasks=tasks,
                clock=clock,
                readings=_readings(clock, audit, outbox, memory),
                apart=(
                    Apart("rows.compare", timedelta(days=1), comparing.due),
                    Apart(
                        "outbox.deliver",
                        timedelta(seconds=1),
                        delivery.delivering.due,
                        delivery.delivering.stop,
                    ),
                ),
            ),
        )
    )


def _measured(container: Container) -> Container:
    """Register gauges of queues and keys, and count runs of background tasks."""
    install(
        container.metrics,
        Gauges(
            store=container.store,
            instances=container.keys.instances,
            long_jobs=container.key_admin.jobs,
            jobs=container.jobs,
            outbox=container.outbox,
            hashing=container.password.busy,
            clock=container.clock,
        ),
    )
    return container


def _lasting(
    accounts: Accounts, shredding: Shredding, tx: Tx, subject: UUID, since: datetime
) -> bool:
    """Lock a subject; tell whether it exists and none of its data was erased since a time."""
    return accounts.hold(tx, subject) and not shredding.since(tx, subject, since)


def _long_jobs(  # noqa: PLR0913 - one argument per dependency
    store: Store,
    keys: KeyAdminDependencies,
    exports: Exports,
    lives: Lives,
    clock: Clock,
    *,
    bounds: Bounds,
    entitled: Callable[[Tx, str, str], bool],
) -> LongJobs:
    kinds = plans(keys)
    kinds |= {KIND: exports.work, BACKTEST: partial(backtest_plan, store, lives)}
    return LongJobs(database=store, plans=kinds, clock=clock, bounds=bounds, entitled=entitled)


def _end_with_suspension(
    accounts: Accounts, sessions: Sessions, recoveries: Recoveries, operators: Operators
) -> None:
    """On any suspension, end the subject's access, recoveries, and requests as an operator."""

    def suspended(tx: Tx, subject: UUID) -> None:
        sessions.end_access(tx, subject, "suspended")
        recoveries.stop(tx, subject, "suspended")
        operators.roles.suspended(tx, subject)

    accounts.when_suspended(suspended)


def _entitled(operators: Operators, clients: Clients, tx: Tx, actor: str, scope: str) -> bool:
    """Tell whether the actor that queued a job (operator, client or host) still has its scope."""
    client = parse_id(actor)
    if client is None:
        return operators.roles.entitled(tx, actor, scope)
    found = clients.active(tx, client)
    return found is not None and scope in found.scopes


def _sessions(  # noqa: PLR0913 - one argument per dependency
    accounts: Accounts,
    authenticators: Authenticators,
    policies: Policies,
    devices: Devices,
    audit: AuditLog,
    clock: Clock,
    *,
    bounds: Bounds,
) -> Sessions:
    ways = SessionDependencies(
        policies.session_idle, policies.keeps_sessions, authenticators.active, devices.delete_for
    )
    sessions = Sessions(
        accounts=accounts, audit=audit, clock=clock, dependencies=ways, bounds=bounds
    )
    authenticators.guard(sessions)
    return sessions


def _readings(clock: Clock, audit: AuditLog, outbox: Outbox, memory: Memory) -> Readings:
    # A clock that is set by hand, as in tests and replays, is not compared with the database.
    compared = database_time if isinstance(clock, SystemClock) else None
    return Readings(
        clock=clock, audit=audit, outbox=outbox, database=compared, ledger=memory.last_at
    )


def _exports(
    store: Store,
    accounts: Accounts,
    throttling: Throttling,
    audit: AuditLog,
    clock: Clock,
    settings: Settings,
) -> Exports:
    def bucket(tx: Tx, subject: UUID) -> str:
        return throttling.bucket(tx, f"subject:{subject}")

    return Exports(
        database=store,
        dependencies=ExportDependencies(accounts.lock, bucket, accounts.notify),
        audit=audit,
        clock=clock,
        issuer=settings.issuer,
        bounds=settings,
    )


def _context(settings: Settings, key_store: KeyStore) -> LoginContextSignal:
    return LoginContextSignal(key_store.purpose_key, settings.geoip_db, settings.bad_networks)


def _policies(store: Store, key_store: KeyStore, clock: Clock) -> Policies:
    policies = Policies(clock)
    policies.take_up(store, sealing="service" in key_store.classes())
    # Reload with the key states: every five seconds.
    key_store.on_refresh(policies.refresh)
    return policies


def _factors(
    settings: Settings,
    authenticators: Authenticators,
    hasher: PasswordHasher | None,
    clock: Clock,
    asked: LivenessRequirement,
    behaviors: Behaviors,
) -> tuple[PasswordFactor, TotpFactor, RecoveryCodeFactor, FaceFactor]:
    reader = EnginePool.of(settings, at_once=_cores())
    return (
        PasswordFactor(authenticators, hasher or _hasher(), DECOY, behaviors.delete_for),
        TotpFactor(
            authenticators,
            settings.totp_issuer or settings.service_name,
            DECOY,
            CodeForm(settings.totp_digits, settings.totp_period),
        ),
        RecoveryCodeFactor(authenticators, DECOY, settings.recovery_codes),
        FaceFactor(
            authenticators=authenticators,
            reader=reader,
            clock=clock,
            mode=Mode(settings.face_liveness),
            asked=asked,
        ),
    )


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


def _watch(  # noqa: PLR0913, PLR0917 - one argument per dependency
    store: Store,
    key_store: KeyStore,
    audit: AuditLog,
    outbox: Outbox,
    metrics: Metrics,
    face: FaceFactor,
    clock: Clock,
) -> None:
    metrics.faces.set_function(partial(_stored_faces, store, face))
    key_store.on_canary(partial(canary_opened, store, audit, outbox))
    store.on_refused(
        RefusedRows(store=store, audit=audit, outbox=outbox, metrics=metrics, clock=clock).tell
    )


def _hasher() -> PasswordHasher:
    return PasswordHasher(concurrency=max(2, _cores()))


def _cores() -> int:
    return os.cpu_count() or 1


def _ensure_decoy(
    store: Store,
    accounts: Accounts,
    password: PasswordFactor,
    totp: TotpFactor,
    codes: RecoveryCodeFactor,
) -> None:
    with store.transaction(read=True) as tx:
        if accounts.known(tx, DECOY):
            return
    verifier = password.hash(new_token())
    with store.transaction() as tx:
        take_start(tx)
        if accounts.ensure_decoy(tx, _NOBODY, DECOY):
            password.enroll(tx, DECOY, verifier)
            totp.enroll(tx, DECOY, "decoy", status=Status.ACTIVE)
            codes.enroll(tx, DECOY, CODES)
