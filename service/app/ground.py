"""The base of every process: database, keys and audit log.

It depends on no user-facing feature, so that commands which only read start fast.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Final

from crypto.errors import ChainBroken, CryptoError
from crypto.providers.base import RootProvider
from crypto.providers.opening import open_root
from service.audit.actions.audit_log import AuditLog
from service.audit.actions.state import RowState
from service.domain.clock import Clock
from service.domain.errors import SetupError
from service.keys.actions import KeyStore, SigningKeys
from service.keys.actions.keystore import ROWS_CLASS
from service.privacy.model import ABOUT
from service.settings import Settings
from service.store import migrate
from service.store.engine import Store, Tx, make_engine
from service.store.turns import take_start
from service.telemetry import logs

if TYPE_CHECKING:
    from service.keys.actions.record_signing import RecordKeys

_EVERY_TABLE: Final = "service.app.container"


def foundation(settings: Settings, clock: Clock) -> tuple[Store, KeyStore, SigningKeys]:
    """Return the database and the loaded keys of this process; raises SetupError."""
    signing = SigningKeys(clock)
    store, key_store = ground(settings, clock, signing.load)
    key_store.on_refresh(signing.refresh)
    return store, key_store, signing


def ground(
    settings: Settings, clock: Clock, *loads: Callable[[Tx], None]
) -> tuple[Store, KeyStore]:
    """Return the database, and the keys that seal and authenticate its rows; raises SetupError.

    Args:
        settings: The settings.
        clock: The time.
        loads: What else is loaded in the same transaction.
    """
    key_store = open_key_store(settings, clock)
    engine = make_engine(settings.database_url, settings.connections)
    try:
        migrate.require_current(engine)
        store = Store(engine, key_store)
        store.at_end(AuditLog(clock).close)
        _load(store, (key_store.load, *loads))
        _settle(store, key_store, clock)
    except BaseException:
        engine.dispose()
        raise
    return store, key_store


class _Notary:
    """Authenticates the audit log: by purpose keys of the key store, and by the record key."""

    def __init__(self, key_store: KeyStore, clock: Clock, issuer: str) -> None:
        self._key_store = key_store
        self._clock = clock
        self._issuer = issuer

    def key(self, tx: Tx, purpose: str) -> bytes:
        """Return a 32-byte key for a purpose; raises KeyUnavailable without the class `service`."""
        return self._key_store.purpose_key(tx, purpose)

    def sign(self, tx: Tx, claims: Mapping[str, object]) -> str:
        """Return a JWS; empty if this process does not have the class `receipt`."""
        if "receipt" not in self._key_store.classes():
            return ""
        return self._records.sign(tx, "checkpoint", claims)

    @cached_property
    def _records(self) -> "RecordKeys":
        from service.keys.actions.record_signing import RecordKeys  # noqa: PLC0415 - readers sign nothing

        return RecordKeys(self._clock, self._issuer)


def open_audit(settings: Settings, key_store: KeyStore, clock: Clock) -> AuditLog:
    """Return the audit log, authenticated by the key store."""
    return AuditLog(clock, _Notary(key_store, clock, settings.issuer), ABOUT)


def open_key_store(settings: Settings, clock: Clock) -> KeyStore:
    """Open the root keys; raises SetupError that names the file and what to correct."""

    def reopen(key_class: str) -> RootProvider:
        return open_root(settings.root_for(key_class), [key_class])

    def first(key_class: str) -> RootProvider:
        try:
            return reopen(key_class)
        except CryptoError as error:
            own = key_class in settings.root_key_classes
            name = f"LAMINA_ROOT_KEY_{key_class.upper()}" if own else "LAMINA_ROOT_KEY"
            detail = f"{name}: {error} (new here? run: lamina keys init)"
            raise SetupError("bad_key_file", detail) from None

    return KeyStore(
        {key_class: first(key_class) for key_class in settings.key_classes}, clock, reopen
    )


def _settle(store: Store, key_store: KeyStore, clock: Clock) -> None:
    if ROWS_CLASS not in key_store.classes():
        return
    state = RowState(store, AuditLog(clock), clock)
    if state.settled():
        return
    # Rows of every table get a MAC, so import all tables, even if few features are open.
    import_module(_EVERY_TABLE)
    try:
        count = state.settle()
    except ChainBroken as error:
        detail = f"rows have no MACs yet, and the log to compare them with is broken: {error}"
        raise SetupError("log_broken", detail) from None
    if count:
        logs.get().warning("rows_authenticated", rows=count)


def _load(store: Store, loads: Iterable[Callable[[Tx], None]]) -> None:
    try:
        with store.transaction() as tx:
            take_start(tx)
            for load in loads:
                load(tx)
    except CryptoError:
        detail = "the root keys are not those of this database"
        raise SetupError("wrong_root_keys", detail) from None
