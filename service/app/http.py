"""The Flask app of the service."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from flask import Flask
from flask_limiter import Limiter
from werkzeug.middleware.proxy_fix import ProxyFix

from service.accounts.routes import AccountDependencies, SubjectRoutes
from service.app.container import Container
from service.audit.routes import AuditRoutes
from service.authenticators.routes import AuthenticatorRoutes
from service.clients.routes import ClientRoutes
from service.domain.caller import Caller
from service.factors.face.actions import CONSENT as FACE
from service.factors.face.routes import FaceRoutes
from service.key_admin.routes import KeyRoutes
from service.login.routes import FlowRoutes
from service.notifications.routes import WebhookRoutes
from service.operators.routes import OperatorRoutes
from service.policy.routes import PolicyRoutes
from service.privacy.routes import PrivacyDependencies, PrivacyRoutes
from service.sessions.routes import SessionRoutes
from service.signals.behavior.actions import PURPOSE as BEHAVIOR
from service.signals.behavior.routes import BehaviorRoutes
from service.store import migrate
from service.store.engine import Tx
from service.store.room import DiskSpace
from service.telemetry import logs
from service.tokens.routes import TokenRoutes
from service.web import limits
from service.web.api import Api
from service.web.front import LARGEST_BODY
from service.web.limits import RequestRates
from service.web.system import SystemRoutes


class _App(Flask):
    """A Flask app without what this service has no use for, at each request."""

    def ensure_sync(self, func: Callable[..., object]) -> Callable[..., object]:
        """Return the function: no view is a coroutine."""
        return func


def create_app(container: Container) -> Flask:
    """Return the Flask app that serves the features of a container."""
    settings = container.settings
    logs.configure(settings.log_level)
    app = _App("lamina", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, hops, hops, hops)  # type: ignore[method-assign]  # as werkzeug documents it
    limiter = limits.limiter(app, settings.redis_url, settings.workers)
    with container.store.transaction() as tx:
        pace = RequestRates(limiter.limiter, settings, container.key_store.purpose_key(tx, "pace"))

    api = Api(
        guard=container.tokens.authorize,
        rates=pace,
        answers=container.answers,
        metrics=container.metrics,
        repeat=container.store.repeat,
    )
    _routes(api, container, pace, limiter)
    container.tokens.on_authenticated(api.authenticated)
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
        container.authenticators.grants.authorize,
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
    api.mount(
        SystemRoutes(
            api=api,
            metrics=container.metrics,
            issuer=container.settings.issuer,
            checks=checks,
            findings=findings,
        )
    )
    api.mount(TokenRoutes(container.tokens, container.signing, container.metrics))
    api.mount(AuditRoutes(container.store, container.audit))
    api.mount(
        SubjectRoutes(container.store, container.accounts, container.suspensions, dependencies)
    )
    api.mount(AuthenticatorRoutes(container.enrolling))
    api.mount(FaceRoutes(container.scores))
    accounts = container.accounts
    rights = PrivacyDependencies(
        accounts.served,
        accounts.served_locked,
        partial(_granted, container),
        container.operators.consume,
    )
    api.mount(
        PrivacyRoutes(
            container.store,
            erasure=container.erasure,
            exports=container.exports,
            jobs=container.key_admin.jobs,
            records=container.keys.records,
            dependencies=rights,
        ),
    )
    api.mount(ClientRoutes(container.store, container.clients, container.operators.consume))
    api.mount(
        WebhookRoutes(
            container.store,
            container.delivery.webhooks,
            container.operators.consume,
            container.clients.registered,
        ),
    )
    api.mount(OperatorRoutes(container.store, container.operators, container.tokens.operator_of))
    api.mount(KeyRoutes(container.store, container.key_admin, container.operators.consume))
    api.mount(
        PolicyRoutes(
            database=container.store,
            lives=container.lives,
            queue=container.key_admin.jobs.queue,
            standing=container.standing,
            consume=container.operators.consume,
            hold=container.accounts.hold,
        ),
    )
    api.mount(BehaviorRoutes(container.measuring))
    tokens = container.tokens
    login = container.login
    api.mount(SessionRoutes(container.store, accounts, container.sessions, tokens.named_session))
    flows = FlowRoutes(
        login,
        factors=container.factors,
        clock=container.clock,
        pace=pace.flow,
        named=tokens.named_session,
    )
    api.mount(flows)


def _granted(
    container: Container, tx: Tx, caller: Caller, *, subject: UUID, act: str, grant: str
) -> None:
    account = container.accounts.get(tx, subject)
    container.authenticators.grants.authorize(tx, caller, account, act=act, grant=grant)
