"""What every process stands on, whatever part of the house it opens: database, keys, log.

It leans on no feature that people see, so that a command which only reads waits for little.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from crypto.errors import ChainBroken, CryptoError
from crypto.providers import open_root
from crypto.providers.base import RootProvider
from service.audit.actions import AuditLog
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
    """Return the database and the keys of this process, read; raises SetupError."""
    signing = SigningKeys(clock)
    store, key_store = ground(settings, clock, signing.load)
    key_store.on_refresh(signing.refresh)
    return store, key_store, signing


def ground(
    settings: Settings, clock: Clock, *loads: Callable[[Tx], None]
) -> tuple[Store, KeyStore]:
    """Return the database and the keys that seal and prove its rows; raises SetupError.

    Args:
        settings: The settings.
        clock: Tells when.
        loads: What else is read in the same unit of work.
    """
    key_store, engine = open_key_store(settings, clock), make_engine(settings.database_url)
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
    """What authenticates the audit log: keys of the vault, and the key of records."""

    def __init__(self, key_store: KeyStore, clock: Clock, issuer: str) -> None:
        self._key_store = key_store
        self._clock = clock
        self._issuer = issuer

    def key(self, tx: Tx, purpose: str) -> bytes:
        """Return 32 bytes for a purpose; raises KeyUnavailable without the class `service`."""
        return self._key_store.purpose_key(tx, purpose)

    def sign(self, tx: Tx, claims: Mapping[str, Any]) -> str:
        """Return a JWS, empty where this process does not hold the class `receipt`."""
        if "receipt" not in self._key_store.classes():
            return ""
        return self._records.sign(tx, "checkpoint", claims)

    @cached_property
    def _records(self) -> "RecordKeys":
        from service.keys.actions.record_signing import RecordKeys  # noqa: PLC0415 - readers sign nothing

        return RecordKeys(self._clock, self._issuer)


def open_audit(settings: Settings, key_store: KeyStore, clock: Clock) -> AuditLog:
    """Return the audit log under keys of the vault."""
    return AuditLog(clock, _Notary(key_store, clock, settings.issuer), ABOUT)


def open_key_store(settings: Settings, clock: Clock) -> KeyStore:
    """Read the root keys; raises SetupError that names the file and what to mend."""

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
    # Rows of every table get a MAC, so each must be known, however little of the house is open.
    import_module(_EVERY_TABLE)
    try:
        count = state.settle()
    except ChainBroken as error:
        detail = f"rows have no MACs yet, and the log they must agree with is broken: {error}"
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
        detail = "the root keys are not those that this database was made with"
        raise SetupError("wrong_root_keys", detail) from None
