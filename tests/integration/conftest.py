"""A whole set of features on a fresh database: SQLite always, PostgreSQL where there is one."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from crypto.hashing import PasswordHasher
from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.accounts.actions.accounts import Accounts
from service.accounts.actions.suspension import Suspensions
from service.audit.actions.audit_log import AuditLog
from service.authenticators.actions import Authenticators
from service.clients.actions import Clients
from service.domain.caller import Caller
from service.domain.clock import FrozenClock
from service.domain.ids import DECOY
from service.factors.password.actions import PasswordFactor
from service.factors.recovery_codes.actions import RecoveryCodeFactor
from service.factors.totp.actions import TotpFactor
from service.idempotency.actions import Answers
from service.keys.actions import KeyStore, SigningKeys
from service.notifications.actions.outbox import Outbox
from service.notifications.model import Channel
from service.store.engine import Store, make_engine
from service.throttling.actions import Throttling
from tests.integration.behavior_profiles import (  # noqa: F401 - fixtures
    behaviors,
    models,
    people,
    signal,
)
from tests.integration.posting import mail  # noqa: F401 - a fixture

START = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Notary:
    """Keys of the vault; no key of records."""

    def __init__(self, key_store: KeyStore) -> None:
        self.key = key_store.purpose_key

    def sign(self, _tx, claims) -> str:
        """Return no signature: the MAC holds without."""
        assert claims["sub"] == "lamina:audit"
        return ""


@dataclass
class BareContainer:
    """The features, wired as the app wires them."""

    clock: FrozenClock
    key_store: KeyStore
    store: Store
    audit: AuditLog
    outbox: Outbox
    accounts: Accounts
    suspensions: Suspensions
    clients: Clients
    authenticators: Authenticators
    throttling: Throttling
    answers: Answers
    signing: SigningKeys
    password: PasswordFactor
    totp: TotpFactor
    codes: RecoveryCodeFactor
    caller: Caller

    def register(self, **identifiers):
        """Register a subject and return its account."""
        with self.store.transaction() as tx:
            return self.accounts.register(tx, self.caller, identifiers, segment=None)


def build(url: str, roots: FileRoot) -> BareContainer:
    """Wire the features on a database whose tables are made."""
    clock = FrozenClock(START)
    key_store = KeyStore(dict.fromkeys(KEY_CLASSES, roots), clock)
    store = Store(make_engine(url), key_store)
    audit, signing = AuditLog(clock, Notary(key_store)), SigningKeys(clock)
    outbox = Outbox(clock, list(Channel))
    with store.transaction() as tx:
        key_store.load(tx)
        signing.load(tx)
    accounts = Accounts(key_store=key_store, outbox=outbox, audit=audit, clock=clock)
    with store.transaction() as tx:
        accounts.ensure_decoy(tx, uuid.UUID(int=0), DECOY)
    # From here on, so that the log of a new house is empty.
    store.at_end(audit.close)
    authenticators = Authenticators(accounts, audit, clock)
    hasher = PasswordHasher.unsafe_for_tests()
    return BareContainer(
        clock,
        key_store,
        store,
        audit,
        outbox,
        accounts,
        Suspensions(accounts, audit, clock),
        Clients(audit, clock),
        authenticators,
        Throttling(key_store.purpose_key, clock),
        Answers(store, key_store.purpose_key, clock),
        signing,
        PasswordFactor(authenticators, hasher, DECOY),
        TotpFactor(authenticators, "Lamina", DECOY),
        RecoveryCodeFactor(authenticators, DECOY),
        Caller(client=uuid.UUID(int=5), scopes=frozenset()),
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, migrated, tmp_path) -> Iterator[str]:
    """A database of its own, with today's schema and no row in it."""
    with migrated.url(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def roots(tmp_path) -> FileRoot:
    """Root keys of every class."""
    return FileRoot.init(tmp_path / "keys", KEY_CLASSES)


@pytest.fixture
def container(url, roots) -> Iterator[BareContainer]:
    """The features on each database."""
    built = build(url, roots)
    yield built
    built.store.engine.dispose()
