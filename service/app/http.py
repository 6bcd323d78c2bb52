"""The Flask app of the service."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from flask import Flask
from flask_limiter import Limiter
from werkzeug.middleware.proxy_fix import ProxyFix

from service.accounts.routes import AccountDependencies, SubjectRoutes
from service.accounts.routes import routes as account_routes
from service.app.container import Container
from service.audit.routes import routes as audit_routes
from service.authenticators.routes import routes as authenticator_routes
from service.clients.routes import ClientRoutes
from service.clients.routes import routes as client_routes
from service.domain.caller import Caller
from service.factors.face.actions import CONSENT as FACE
from service.factors.face.routes import routes as face_routes
from service.key_admin.routes import KeyRoutes
from service.key_admin.routes import routes as key_routes
from service.login.routes import FlowRoutes
from service.login.routes import routes as flow_routes
from service.notifications.routes import WebhookRoutes
from service.notifications.routes import routes as webhook_routes
from service.operators.routes import OperatorRoutes
from service.operators.routes import routes as operator_routes
from service.policy.routes import PolicyRoutes
from service.policy.routes import routes as policy_routes
from service.privacy.routes import PrivacyDependencies, PrivacyRoutes
from service.privacy.routes import routes as privacy_routes
from service.sessions.routes import routes as session_routes
from service.signals.behavior.actions import PURPOSE as BEHAVIOR
from service.signals.behavior.routes import routes as behavior_routes
from service.store import migrate
from service.store.engine import Tx
from service.store.room import DiskSpace
from service.telemetry import logs
from service.tokens.routes import routes as token_routes
from service.web import limits, system
from service.web.api import Api, counted
from service.web.front import LARGEST_BODY
from service.web.pacing import RequestRates


def create_app(container: Container) -> Flask:
    """Return the Flask app that serves the features of a container."""
    settings = container.settings
    logs.configure(settings.log_level)
    app = Flask("lamina", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, hops, hops, hops)  # type: ignore[method-assign]  # as werkzeug documents it
    limiter = Limiter(
        limits.caller,
        app=app,
        storage_uri=limits.STORAGE,
        storage_options={"redis_url": settings.redis_url, "processes": settings.workers},
    )
    with container.store.transaction() as tx:
        pace = RequestRates(limiter, settings, container.key_store.purpose_key(tx, "pace"))

    def guard(token: str) -> Caller:
        caller = container.tokens.authorize(token)
        if not counted():
            pace.call(caller.client)
        return caller

    api = Api(guard, container.answers, container.metrics, container.store.repeat)
    _routes(api, container, pace, limiter)
    api.install(app, limiter)
    return app


def _routes(api: Api, container: Container, pace: RequestRates, limiter: Limiter) -> None:
    room = DiskSpace(container.store.engine, container.settings.sqlite_file)

    def findings() -> list[str]:
        only = ["database_read_only"] if room.read_only else []
        lost = [] if limiter.storage.check() else ["redis_lost"]
        return [*container.memory.codes(), *only, *lost]

    def withdrawn(tx: Tx, subject: UUID, purpose: str) -> None:
        key_class = {BEHAVIOR: "behavior", FACE: "biometric"}.get(purpose)
        if key_class:
            container.erasure.shred(tx, subject, None, key_class)

    dependencies = AccountDependencies(
        container.password.hash,
        container.password.enroll,
        container.authenticators.authorize,
        withdrawn,
    )
    checks: dict[str, Callable[[], bool]] = {
        "database": lambda: migrate.current(container.store.engine) is not None,
        "migrations": lambda: migrate.current(container.store.engine) == migrate.HEAD,
        "room": room,
        "keys": lambda: container.key_store.classes() >= frozenset(container.settings.key_classes),
        "audit": container.memory.sound,
        "ledger": container.memory.there,
    }
    system.routes(api, container.metrics, container.settings.issuer, checks, findings)
    token_routes(api, container.tokens, container.signing, container.metrics)
    audit_routes(api, container.store, container.audit)
    account_routes(api, SubjectRoutes(container.store, container.accounts, dependencies))
    authenticator_routes(api, container.enrolling)
    face_routes(api, container.scores)
    accounts = container.accounts
    rights = PrivacyDependencies(
        accounts.served,
        accounts.served_locked,
        partial(_granted, container),
        container.operators.consume,
    )
    privacy_routes(
        api,
        PrivacyRoutes(
            container.store,
            container.erasure,
            container.exports,
            container.key_admin.jobs,
            container.keys.records,
            rights,
        ),
    )
    client_routes(
        api, ClientRoutes(container.store, container.clients, container.operators.consume)
    )
    webhook_routes(
        api,
        WebhookRoutes(
            container.store,
            container.delivery.webhooks,
            container.operators.consume,
            container.clients.registered,
        ),
    )
    operator_routes(
        api, OperatorRoutes(container.store, container.operators, container.tokens.operator_of)
    )
    key_routes(api, KeyRoutes(container.store, container.key_admin, container.operators.consume))
    policy_routes(
        api,
        PolicyRoutes(
            container.store,
            container.lives,
            container.key_admin.jobs.queue,
            container.standing,
            container.operators.consume,
            container.accounts.hold,
        ),
    )
    behavior_routes(api, container.measuring)
    tokens, login = container.tokens, container.login
    session_routes(api, container.store, accounts, container.sessions, tokens.named_session)
    flows = FlowRoutes(login, container.factors, container.clock, pace.flow, tokens.named_session)
    flow_routes(api, flows)


def _granted(
    container: Container, *, tx: Tx, caller: Caller, subject: UUID, act: str, grant: str
) -> None:
    account = container.accounts.get(tx, subject)
    container.authenticators.authorize(tx, caller, account, act, grant)
