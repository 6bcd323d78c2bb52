"""The Flask app over the features."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from flask import Flask
from flask_limiter import Limiter
from werkzeug.middleware.proxy_fix import ProxyFix

from service.accounts.routes import Hooks, SubjectRoutes
from service.accounts.routes import routes as account_routes
from service.app.container import House
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
from service.privacy.routes import PrivacyRoutes, Rights
from service.privacy.routes import routes as privacy_routes
from service.sessions.routes import routes as session_routes
from service.signals.behavior.actions import PURPOSE as BEHAVIOR
from service.signals.behavior.routes import routes as behavior_routes
from service.store import migrate
from service.store.engine import Tx
from service.store.room import Room
from service.telemetry import logs
from service.tokens.routes import routes as token_routes
from service.web import limits, system
from service.web.api import Api, counted
from service.web.front import LARGEST_BODY
from service.web.pacing import Pace


def create_app(house: House) -> Flask:
    """Return the Flask app over the features."""
    settings = house.settings
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
    with house.store.transaction() as tx:
        pace = Pace(limiter, settings, house.vault.purpose_key(tx, "pace"))

    def guard(token: str) -> Caller:
        caller = house.tokens.authorize(token)
        if not counted():
            pace.call(caller.client)
        return caller

    api = Api(guard, house.answers, house.metrics, house.store.repeat)
    _routes(api, house, pace, limiter)
    api.install(app, limiter)
    return app


def _routes(api: Api, house: House, pace: Pace, limiter: Limiter) -> None:
    room = Room(house.store.engine, house.settings.sqlite_file)

    def findings() -> list[str]:
        only = ["database_read_only"] if room.read_only else []
        lost = [] if limiter.storage.check() else ["redis_lost"]
        return [*house.memory.codes(), *only, *lost]

    def withdrawn(tx: Tx, subject: UUID, purpose: str) -> None:
        key_class = {BEHAVIOR: "behavior", FACE: "biometric"}.get(purpose)
        if key_class:
            house.erasure.shred(tx, subject, None, key_class)

    hooks = Hooks(
        house.password.hash, house.password.enroll, house.authenticators.authorize, withdrawn
    )
    checks: dict[str, Callable[[], bool]] = {
        "database": lambda: migrate.current(house.store.engine) is not None,
        "migrations": lambda: migrate.current(house.store.engine) == migrate.HEAD,
        "room": room,
        "keys": lambda: house.vault.classes() >= frozenset(house.settings.key_classes),
        "audit": house.memory.sound,
        "ledger": house.memory.there,
    }
    system.routes(api, house.metrics, house.settings.issuer, checks, findings)
    token_routes(api, house.tokens, house.signing, house.metrics)
    audit_routes(api, house.store, house.audit)
    account_routes(api, SubjectRoutes(house.store, house.accounts, hooks))
    authenticator_routes(api, house.enrolling)
    face_routes(api, house.scores)
    accounts = house.accounts
    rights = Rights(
        accounts.served, accounts.served_locked, partial(_granted, house), house.operators.consume
    )
    privacy_routes(
        api,
        PrivacyRoutes(
            house.store, house.erasure, house.exports, house.custody.jobs, house.keys.records,
            rights,
        ),
    )  # fmt: skip
    client_routes(api, ClientRoutes(house.store, house.clients, house.operators.consume))
    webhook_routes(
        api,
        WebhookRoutes(
            house.store, house.delivery.webhooks, house.operators.consume, house.clients.registered
        ),
    )
    operator_routes(api, OperatorRoutes(house.store, house.operators, house.tokens.operator_of))
    key_routes(api, KeyRoutes(house.store, house.custody, house.operators.consume))
    policy_routes(
        api,
        PolicyRoutes(
            house.store,
            house.lives,
            house.custody.jobs.queue,
            house.standing,
            house.operators.consume,
            house.accounts.hold,
        ),
    )
    behavior_routes(api, house.measuring)
    tokens, login = house.tokens, house.login
    session_routes(api, house.store, accounts, house.sessions, tokens.named_session)
    flows = FlowRoutes(login, house.factors, house.clock, pace.flow, tokens.named_session)
    flow_routes(api, flows)


def _granted(house: House, tx: Tx, caller: Caller, subject: UUID, act: str, grant: str) -> None:
    account = house.accounts.get(tx, subject)
    house.authenticators.authorize(tx, caller, account, act, grant)
