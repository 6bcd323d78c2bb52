"""The composition root: every feature is wired here, and nowhere else."""

import math
import os
import platform
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from werkzeug.middleware.proxy_fix import ProxyFix

from crypto.errors import CryptoError
from crypto.hashing import PasswordHasher
from crypto.opaque import new_token
from crypto.providers import open_root
from crypto.providers.base import RootProvider
from service.accounts.actions import Accounts
from service.accounts.actions.indexing import Indexing
from service.accounts.routes import Hooks, SubjectRoutes
from service.accounts.routes import routes as account_routes
from service.audit.actions import AuditLog
from service.authenticators.actions import Authenticators, Enrolling
from service.authenticators.routes import routes as authenticator_routes
from service.clients.actions import Clients
from service.custody.actions import Custody, Room, plans
from service.custody.routes import KeyRoutes
from service.custody.routes import routes as key_routes
from service.devices.actions import Devices
from service.domain.authenticator import Status
from service.domain.clock import Clock, SystemClock
from service.domain.errors import SetupError, Unavailable
from service.domain.factor import Enrollment, Factor
from service.domain.ids import DECOY
from service.factors.face.actions import CONSENT as FACE
from service.factors.face.actions import FaceFactor
from service.factors.face.model import Mode
from service.factors.face.reader import Reader
from service.factors.password.actions import PasswordFactor
from service.factors.recovery_codes.actions import RecoveryCodeFactor
from service.factors.totp.actions import TotpFactor
from service.idempotency.actions import Answers
from service.jobs.actions import Jobs, Task
from service.jobs.actions.long import LongJobs
from service.keys.actions import SigningKeys, Vault
from service.keys.actions.instances import Instances
from service.keys.actions.lifecycle import Lifecycle
from service.keys.actions.moving import Moving
from service.keys.actions.proving import Proving
from service.keys.actions.records import RecordKeys
from service.keys.actions.recovering import Recovery
from service.keys.actions.shredding import Shredding
from service.keys.ledger import Ledger
from service.login.actions import Login
from service.login.parts import Parts
from service.login.routes import FlowRoutes
from service.login.routes import routes as flow_routes
from service.notifications.actions import Outbox
from service.operators.actions import Act, Operators
from service.operators.model import required
from service.operators.routes import OperatorRoutes
from service.operators.routes import routes as operator_routes
from service.policy.actions.force import Policies
from service.policy.actions.isolation import Signals
from service.policy.actions.lives import Lives
from service.policy.actions.standing import Standing
from service.policy.routes import PolicyRoutes
from service.policy.routes import routes as policy_routes
from service.privacy.actions import Ends, Erasure
from service.privacy.routes import routes as privacy_routes
from service.sessions.actions import Sessions
from service.sessions.routes import routes as session_routes
from service.settings import Settings
from service.signals.behavior.actions import PURPOSE as BEHAVIOR
from service.signals.behavior.actions import Behaviors, BehaviorSignal
from service.signals.login_context.actions import LoginContextSignal
from service.store import migrate
from service.store.engine import Store, Tx, make_engine
from service.telemetry import logs
from service.telemetry.metrics import Metrics
from service.throttling.actions import Throttling
from service.tokens.actions import AccessTokens, Tokens
from service.tokens.routes import routes as token_routes
from service.web import system
from service.web.api import Api, Call

_NOBODY: Final = UUID(int=0)
_LARGEST_BODY: Final = 16 * 1024 * 1024
_FALLBACK: Final = "600/minute"


@dataclass(frozen=True, slots=True)
class House:
    """The features of one process."""

    settings: Settings
    clock: Clock
    store: Store
    vault: Vault
    signing: SigningKeys
    audit: AuditLog
    outbox: Outbox
    accounts: Accounts
    clients: Clients
    throttling: Throttling
    authenticators: Authenticators
    enrolling: Enrolling
    sessions: Sessions
    tokens: Tokens
    operators: Operators
    devices: Devices
    behaviors: Behaviors
    answers: Answers
    keys: Room
    shredding: Shredding
    custody: Custody
    erasure: Erasure
    password: PasswordFactor
    face: FaceFactor
    factors: dict[str, Factor]
    policies: Policies
    lives: Lives
    standing: Standing
    login: Login
    metrics: Metrics
    jobs: Jobs


def open_house(
    settings: Settings, clock: Clock | None = None, hasher: PasswordHasher | None = None
) -> House:
    """Open database and keys, and wire the features.

    Raises:
        SetupError: A key file is missing or unsafe, the schema is another, or the keys are not
            those the database was made with; the detail says what to mend.
        Unavailable: The database does not answer.
    """
    clock = clock or SystemClock()
    store, vault, signing = _foundation(settings, clock)
    audit, outbox, metrics = AuditLog(clock), Outbox(clock), Metrics()
    accounts = Accounts(vault, outbox, audit, clock)
    authenticators = Authenticators(accounts, audit, clock)
    clients, sessions = Clients(audit, clock), Sessions(accounts, audit, clock)
    devices, behaviors = Devices(vault.purpose_key, clock), Behaviors(accounts, clock)
    throttling, context = Throttling(vault.purpose_key, clock), _context(settings, vault)
    answers = Answers(store, vault.purpose_key, clock)
    access = AccessTokens(signing, clock, settings.issuer)
    operators = Operators(
        accounts,
        audit,
        outbox,
        clock,
        required(development=settings.mode == "development"),
        {"clients.scopes": Act(clients.check_scopes, clients.approve_scopes)},
    )
    tokens = Tokens(store, clients, sessions, access, operators, audit, clock)
    password, totp, codes, face = _factors(settings, authenticators, hasher, clock)
    factors: dict[str, Factor] = {item.name: item for item in (password, totp, codes, face)}
    enrollments: dict[str, Enrollment] = {item.type: item for item in (password, totp, codes, face)}
    policies, standing = _policies(store, vault, clock), Standing(audit, clock)
    signals = Signals((BehaviorSignal(behaviors), context), lambda: policies.signal_budget_ms)
    login = Login(
        Parts(
            store, accounts, authenticators, sessions, tokens, devices, throttling,
            policies, standing, behaviors, signals, factors, audit, metrics, clock,
        )
    )  # fmt: skip
    enrolling = Enrolling(store, accounts, authenticators, throttling, enrollments, clock)
    _ensure_decoy(store, accounts, password, totp, codes)

    keys = _keys(settings, store, vault, signing, audit, clock)
    ends = Ends(
        accounts.get,
        {
            "contact": (accounts.erase_contact, outbox.forget),
            "biometric": (face.forget, policies.forget),
            "behavior": (behaviors.forget, context.forget, policies.forget),
            "factor": (authenticators.revoke_all, policies.forget, standing.forget),
        },
        (sessions.erase, devices.forget, accounts.mark_erased),
        sessions.end_everything,
    )
    shredding = Shredding(keys.records, audit, clock, timedelta(days=settings.backup_days))
    erasure = Erasure(store, shredding, ends, _ledger(settings, store, vault), audit, outbox)
    _watch(store, vault, audit, outbox, metrics, face)

    tasks = _tasks(
        audit=audit, login=login, tokens=tokens, sessions=sessions, answers=answers,
        authenticators=authenticators, devices=devices,
    )  # fmt: skip
    tasks += (
        Task("policy.drop", timedelta(minutes=5), policies.drop_old),
        Task("ledger.remember", timedelta(minutes=1), erasure.remember_due),
        Task("keys.destroy", timedelta(minutes=1), keys.lifecycle.destroy_scheduled),
        Task("login_context.fold", timedelta(minutes=1), context.fold),
        Task("login_context.drop", timedelta(hours=1), context.drop_older),
        Task("faces.alert", timedelta(days=1), partial(_count_faces, face, outbox)),
    )
    return House(
        settings=settings, clock=clock, store=store, vault=vault, signing=signing, audit=audit,
        outbox=outbox, accounts=accounts, clients=clients, throttling=throttling,
        authenticators=authenticators, enrolling=enrolling, sessions=sessions, tokens=tokens,
        operators=operators,
        keys=keys, shredding=shredding, erasure=erasure,
        custody=Custody(keys, LongJobs(store, plans(keys), clock)),
        devices=devices, behaviors=behaviors, answers=answers, password=password, face=face,
        factors=factors, policies=policies, lives=Lives(frozenset(factors), audit, clock),
        standing=standing,
        login=login, metrics=metrics, jobs=Jobs(store, tasks, clock),
    )  # fmt: skip


def _foundation(settings: Settings, clock: Clock) -> tuple[Store, Vault, SigningKeys]:
    vault, signing = open_vault(settings, clock), SigningKeys(clock)
    engine = make_engine(settings.database_url)
    migrate.require_current(engine)
    store = Store(engine, vault)
    _load(store, vault, signing)
    vault.on_refresh(signing.refresh)
    return store, vault, signing


def _context(settings: Settings, vault: Vault) -> LoginContextSignal:
    return LoginContextSignal(vault.purpose_key, settings.geoip_db, settings.bad_networks)


def _policies(store: Store, vault: Vault, clock: Clock) -> Policies:
    policies = Policies(clock)
    policies.take_up(store, sealing="service" in vault.classes())
    # Read again whenever key states are: every five seconds.
    vault.on_refresh(policies.refresh)
    return policies


def _factors(
    settings: Settings, authenticators: Authenticators, hasher: PasswordHasher | None, clock: Clock
) -> tuple[PasswordFactor, TotpFactor, RecoveryCodeFactor, FaceFactor]:
    reader = Reader.of(settings.face_engine, settings.face_models, at_once=_cores())
    return (
        PasswordFactor(authenticators, hasher or _hasher(), DECOY),
        TotpFactor(authenticators, "Lamina", DECOY), RecoveryCodeFactor(authenticators, DECOY),
        FaceFactor(authenticators, reader, clock, Mode(settings.face_liveness)),
    )  # fmt: skip


def _tasks(  # noqa: PLR0913 - one argument per feature that forgets
    *, audit: AuditLog, login: Login, tokens: Tokens, sessions: Sessions, answers: Answers,
    authenticators: Authenticators, devices: Devices,
) -> tuple[Task, ...]:  # fmt: skip
    def sequence(tx: Tx, _now: datetime) -> int:
        return audit.sequence(tx)

    return (
        Task("audit.sequence", timedelta(seconds=1), sequence),
        Task("flows.drop", timedelta(minutes=5), login.drop_ended),
        Task("tokens.drop", timedelta(minutes=5), tokens.drop_expired),
        Task("sessions.drop", timedelta(hours=1), sessions.drop_ended),
        Task("answers.drop", timedelta(minutes=1), answers.drop_expired),
        Task("grants.drop", timedelta(minutes=5), authenticators.drop_expired),
        Task("devices.drop", timedelta(hours=1), devices.drop_expired),
    )


def _ledger(settings: Settings, store: Store, vault: Vault) -> Ledger | None:
    if settings.ledger_path is None:
        return None
    with store.transaction() as tx:
        return Ledger(settings.ledger_path, vault.purpose_key(tx, "ledger"))


def _stored_faces(store: Store, face: FaceFactor) -> float:
    try:
        with store.transaction(read=True) as tx:
            return float(face.stored(tx))
    except Unavailable:
        # The other metrics are wanted most while the database is away.
        return math.nan


def _count_faces(face: FaceFactor, outbox: Outbox, tx: Tx, _now: datetime) -> int:
    """Raise the alarm every day on which too many faces are stored."""
    count = face.stored(tx)
    if face.near_limit(count):
        outbox.put(tx, "alarm.stored_faces", None, {"stored": count, "filing_at": 100_000})
    return count


def _watch(
    store: Store, vault: Vault, audit: AuditLog, outbox: Outbox, metrics: Metrics, face: FaceFactor
) -> None:
    metrics.faces.set_function(partial(_stored_faces, store, face))

    def alarm(subject: UUID) -> None:
        with store.transaction() as tx:
            audit.append(tx, "canary.opened", subject=subject)
            outbox.put(tx, "alarm.canary_opened", None, {"subject": str(subject)})

    vault.on_canary(alarm)


def _keys(
    settings: Settings,
    store: Store,
    vault: Vault,
    signing: SigningKeys,
    audit: AuditLog,
    clock: Clock,
) -> Room:
    records = RecordKeys(clock, settings.issuer)
    instances = Instances(store, vault, signing, clock, f"{platform.node()} {os.getpid()}")
    return Room(
        store, vault, signing, instances,
        Lifecycle(
            vault, signing, instances, audit, clock, timedelta(days=settings.backup_days)
        ),
        Moving(store, vault, instances, clock), Proving(store, vault),
        Indexing(store, vault, clock), records,
        Recovery(vault, audit, clock, settings.issuer), clock,
    )  # fmt: skip


def create_app(house: House) -> Flask:
    """Return the Flask app over the features."""
    settings = house.settings
    logs.configure(settings.log_level)
    app = Flask("lamina", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_BODY
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, hops, hops, hops)  # type: ignore[method-assign]  # as werkzeug documents it
    limiter = Limiter(
        get_remote_address,
        app=app,
        storage_uri=settings.redis_url or "memory://",
        # With Redis away each process counts by itself, more strictly than together.
        in_memory_fallback_enabled=True,
        in_memory_fallback=[_FALLBACK],
    )
    api = Api(house.tokens.authorize, house.answers, house.metrics)
    _routes(api, house)
    api.install(app, limiter)
    return app


def _routes(api: Api, house: House) -> None:
    def withdrawn(tx: Tx, subject: UUID, purpose: str) -> None:
        key_class = {BEHAVIOR: "behavior", FACE: "biometric"}.get(purpose)
        if key_class:
            house.erasure.shred(tx, subject, "consent withdrawn", key_class)

    def suspended(tx: Tx, subject: UUID) -> None:
        house.sessions.end_all(tx, subject, "suspended")
        house.devices.forget(tx, subject)

    hooks = Hooks(
        house.password.hash, house.password.enroll, house.authenticators.authorize, withdrawn,
        suspended,
    )  # fmt: skip
    checks = {
        "database": lambda: migrate.current(house.store.engine) is not None,
        "migrations": lambda: migrate.current(house.store.engine) == migrate.HEAD,
        "keys": lambda: house.vault.classes() >= frozenset(house.settings.key_classes),
    }
    system.routes(api, house.metrics, house.settings.issuer, checks)
    token_routes(api, house.tokens, house.signing, house.metrics)
    account_routes(api, SubjectRoutes(house.store, house.accounts, hooks))
    authenticator_routes(api, house.enrolling)
    privacy_routes(api, house.store, house.erasure, house.keys.records, partial(_served, house))
    operator_routes(api, OperatorRoutes(house.store, house.operators, house.tokens.operator_of))
    key_routes(api, KeyRoutes(house.store, house.custody, house.operators.consume))
    policy_routes(
        api, PolicyRoutes(house.store, house.lives, house.standing, house.operators.consume)
    )
    session_routes(api, house.store, house.accounts, house.sessions)
    flow_routes(api, FlowRoutes(house.login, house.factors, house.clock))


def _served(house: House, call: Call) -> None:
    with house.store.transaction(read=True) as tx:
        house.accounts.served(tx, call.by, call.id("subject", "subject"))


def open_recovery(settings: Settings) -> tuple[Store, Recovery]:
    """Open a database whose KEKs may be under roots that are lost, to recover them; raises."""
    clock = SystemClock()
    vault = open_vault(settings, clock)
    engine = make_engine(settings.database_url)
    migrate.require_current(engine)
    return Store(engine, vault), Recovery(vault, AuditLog(clock), clock, settings.issuer)


def open_vault(settings: Settings, clock: Clock) -> Vault:
    """Read the root keys; raises SetupError that names the file and what to mend."""

    def reopen(key_class: str) -> RootProvider:
        return open_root(settings.root_for(key_class), [key_class])

    try:
        roots = {key_class: reopen(key_class) for key_class in settings.key_classes}
    except CryptoError as error:
        raise SetupError("bad_key_file", f"{error} (new here? run: lamina keys init)") from None
    return Vault(roots, clock, reopen)


def _load(store: Store, vault: Vault, signing: SigningKeys) -> None:
    try:
        with store.transaction() as tx:
            vault.load(tx)
            signing.load(tx)
    except CryptoError:
        detail = "the root keys are not those that this database was made with"
        raise SetupError("wrong_root_keys", detail) from None


def _hasher() -> PasswordHasher:
    return PasswordHasher(concurrency=max(2, _cores()))


def _cores() -> int:
    return os.cpu_count() or 1


def _ensure_decoy(
    store: Store, accounts: Accounts, password: PasswordFactor, totp: TotpFactor,
    codes: RecoveryCodeFactor,
) -> None:  # fmt: skip
    with store.transaction(read=True) as tx:
        if accounts.known(tx, DECOY):
            return
    verifier = password.hash(new_token())
    with store.transaction() as tx:
        if accounts.ensure_decoy(tx, _NOBODY, DECOY):
            password.enroll(tx, DECOY, verifier)
            totp.enroll(tx, DECOY, "decoy", status=Status.ACTIVE)
            codes.enroll(tx, DECOY)
