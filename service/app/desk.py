"""Features for commands on the host: database, keys, and each feature only when used.

Loads no web framework, face or behavior model, and no background work: listing needs none.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from service.app.ground import ground, open_audit
from service.audit.actions.audit_log import AuditLog
from service.domain.clock import Clock, SystemClock
from service.keys.actions import KeyStore
from service.settings import Settings
from service.store.engine import Store

if TYPE_CHECKING:
    from service.clients.actions import Clients
    from service.notifications.actions.outbox import Outbox
    from service.notifications.actions.webhooks import Webhooks
    from service.operators.actions import Operators
    from service.policy.actions.documents import Lives


class Desk:
    """Opens each feature on first use."""

    def __init__(self, settings: Settings, clock: Clock, store: Store, key_store: KeyStore) -> None:
        self.settings = settings
        self.clock = clock
        self.store = store
        self.key_store = key_store
        store.on_refused(self._refused)
        key_store.on_canary(self._canary)

    @cached_property
    def audit(self) -> AuditLog:
        """The audit log."""
        return open_audit(self.settings, self.key_store, self.clock)

    @cached_property
    def clients(self) -> "Clients":
        """The registered clients."""
        from service.clients.actions import Clients  # noqa: PLC0415 - a feature when asked for

        return Clients(self.audit, self.clock)

    @cached_property
    def outbox(self) -> "Outbox":
        """The messages that wait for delivery."""
        from service.notifications.actions.outbox import Outbox  # noqa: PLC0415 - as above

        return Outbox(self.clock)

    @cached_property
    def webhooks(self) -> "Webhooks":
        """The registered webhooks."""
        from service.notifications.actions.webhooks import Webhooks  # noqa: PLC0415 - as above

        return Webhooks(self.audit, self.clock, plain=self.settings.mode == "development")

    @cached_property
    def operators(self) -> "Operators":
        """Operators and break-glass alarms; no act can be approved here."""
        from service.accounts.actions.accounts import Accounts  # noqa: PLC0415 - as above
        from service.operators.actions import Operators  # noqa: PLC0415 - as above
        from service.operators.model import required  # noqa: PLC0415 - as above

        accounts = Accounts(
            key_store=self.key_store,
            outbox=self.outbox,
            audit=self.audit,
            clock=self.clock,
            bounds=self.settings,
        )
        level = required(development=self.settings.mode == "development")
        return Operators(
            accounts=accounts,
            audit=self.audit,
            outbox=self.outbox,
            clock=self.clock,
            level=level,
            acts={},
            bounds=self.settings,
        )

    @cached_property
    def lives(self) -> "Lives":
        """The policy documents, for listing and showing; none can be validated here."""
        from service.policy.actions.documents import Lives  # noqa: PLC0415 - as above
        from service.policy.actions.evaluation import Policies  # noqa: PLC0415 - as above

        # The first process that starts stores the shipped document.
        Policies(self.clock).take_up(self.store, sealing="service" in self.key_store.classes())
        return Lives(frozenset(), self.audit, self.clock, self.settings)

    def _refused(self, rows: Sequence[tuple[str, str]]) -> None:
        from service.app.watching import RefusedRows  # noqa: PLC0415 - seldom needed
        from service.telemetry.metrics import Metrics  # noqa: PLC0415 - as above

        RefusedRows(
            store=self.store,
            audit=self.audit,
            outbox=self.outbox,
            metrics=Metrics(),
            clock=self.clock,
        ).tell(rows)

    def _canary(self, subject: UUID) -> None:
        from service.app.watching import canary_opened  # noqa: PLC0415 - seldom needed

        canary_opened(self.store, self.audit, self.outbox, subject)


def open_desk(settings: Settings, clock: Clock | None = None) -> Desk:
    """Open database and keys to read; raises SetupError or Unavailable as `open_container` does."""
    clock = clock or SystemClock()
    store, key_store = ground(settings, clock)
    return Desk(settings, clock, store, key_store)
