"""HTTP of webhooks: list, add or replace a secret under two-person control, remove."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.domain import figures
from service.domain.caller import Caller
from service.domain.errors import BadInput, Fault, Forbidden
from service.notifications.actions.webhooks import LONGEST_OVERLAP, Webhooks, named
from service.store.engine import Store, Tx
from service.web.api import Api, Call, Operation

Consume = Callable[[Tx, Caller, UUID, str, str, Mapping[str, object]], str]
_SCOPE: Final = "clients:admin"
_PATH: Final = "/v1/webhooks"
_MOST: Final = int(LONGEST_OVERLAP.total_seconds())
_Text = Annotated[str, Field(min_length=1, max_length=512)]


class NewWebhook(BaseModel):
    """The URL, event kinds and optional client of a webhook, and the approval."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: _Text
    kinds: _Text = "*"
    client: UUID | None = None
    approval: UUID | None = None


class WebhookSecretRotation(BaseModel):
    """How many seconds the old secret also signs, and the approval of two operators."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    overlap: Annotated[int, Field(ge=0, le=_MOST)] = figures.WEBHOOK_OVERLAP
    approval: UUID | None = None


class WebhookRoutes:
    """HTTP views of webhooks.

    Args:
        consume: Uses an approval of the caller for one act, target and parameters; returns the
            actors who agreed on it.
        registered: Tells whether a client exists.
    """

    def __init__(
        self,
        database: Store,
        webhooks: Webhooks,
        consume: Consume,
        registered: Callable[[Tx, UUID], bool],
    ) -> None:
        self._database = database
        self._webhooks = webhooks
        self._consume = consume
        self._registered = registered

    def listing(self, call: Call) -> Mapping[str, Any]:
        """List the webhooks, without their secrets."""
        with self._database.transaction(read=True) as tx:
            return self._webhooks.page(tx, call.page)

    def add(self, call: Call) -> Mapping[str, Any]:
        """Add a webhook; a new recipient of personal data needs two operators."""
        wanted: NewWebhook = call.body
        url, kinds = self._webhooks.checked(wanted.url, wanted.kinds)
        target, params = named(url, kinds, wanted.client)
        with self._database.transaction() as tx:
            if wanted.client is not None and not self._registered(tx, wanted.client):
                raise BadInput(Fault("/client", "client_not_found", "is not a client"))
            actor = self._approved(tx, call, act="webhooks.add", target=target, params=params)
            return self._webhooks.add(tx, url=url, kinds=kinds, client=wanted.client, actor=actor)

    def secret(self, call: Call) -> Mapping[str, Any]:
        """Replace a secret; its holder can forge events."""
        wanted: WebhookSecretRotation = call.body
        webhook, params = call.id("webhook", "webhook"), {"overlap": str(wanted.overlap)}
        with self._database.transaction() as tx:
            actor = self._approved(
                tx, call, act="webhooks.secret", target=str(webhook), params=params
            )
            return self._webhooks.rotate(tx, webhook, timedelta(seconds=wanted.overlap), actor)

    def remove(self, call: Call) -> None:
        """Remove a webhook; its waiting messages are not delivered."""
        with self._database.transaction() as tx:
            self._webhooks.remove(tx, call.id("webhook", "webhook"))

    def _approved(
        self, tx: Tx, call: Call, *, act: str, target: str, params: Mapping[str, str]
    ) -> str:
        approval: UUID | None = call.body.approval
        if approval is None:
            detail = "This needs another operator's approval of this act, target and parameters."
            raise Forbidden("approval_required", detail, act=act, target=target, params=params)
        return self._consume(tx, call.by, approval, act, target, params)


def routes(api: Api, webhooks: WebhookRoutes) -> None:
    """Register the operations of webhooks."""
    one = f"{_PATH}/{{webhook}}"
    table = (
        (Operation("GET", _PATH, "List the webhooks", _SCOPE, paged=True), webhooks.listing),
        (
            Operation(
                "POST",
                _PATH,
                "Add a webhook, with an approval",
                _SCOPE,
                NewWebhook,
                201,
                idempotent=True,
                secret=True,
            ),
            webhooks.add,
        ),
        (
            Operation(
                "POST",
                f"{one}/secret",
                "Replace a webhook's secret, with an approval",
                _SCOPE,
                WebhookSecretRotation,
                idempotent=True,
                secret=True,
            ),
            webhooks.secret,
        ),
        (Operation("DELETE", one, "Remove a webhook", _SCOPE, status=204), webhooks.remove),
    )
    for operation, view in table:
        api.add(operation, view)
