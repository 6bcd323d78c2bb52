"""HTTP of webhooks: list, add or replace a secret under two-person control, remove."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Final, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.domain import figures
from service.domain.caller import Caller
from service.domain.errors import BadInput, Fault, Forbidden
from service.notifications.actions.webhooks import LONGEST_OVERLAP, Webhooks, named
from service.notifications.views import WebhookView, WebhookWithSecret
from service.store.engine import Store, Tx
from service.web.approvals import REQUIRED as APPROVAL
from service.web.approvals import UseApproval
from service.web.call import Call
from service.web.operation import delete, get, post
from service.web.paging import Page

_SCOPE: Final = "clients:admin"
_PATH: Final = "/v1/webhooks"
_ONE: Final = f"{_PATH}/{{webhook}}"
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


class _Act(NamedTuple):
    """An act that an approval is for."""

    act: str
    target: str
    params: Mapping[str, str]


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
        consume: UseApproval,
        registered: Callable[[Tx, UUID], bool],
    ) -> None:
        self._database = database
        self._webhooks = webhooks
        self._consume = consume
        self._registered = registered

    @get(_PATH, scope=_SCOPE, paged=True, answer=Page[WebhookView])
    def list_webhooks(self, call: Call) -> Page[WebhookView]:
        """List the webhooks.

        Their secrets are not shown.
        """
        with self._database.transaction(read=True) as tx:
            return self._webhooks.page(tx, call.page)

    @post(
        _PATH,
        scope=_SCOPE,
        body=NewWebhook,
        status=201,
        idempotent=True,
        secret=True,
        answer=WebhookWithSecret,
        problems=(*APPROVAL, "409 too_many_webhooks"),
    )
    def add_webhook(self, call: Call) -> WebhookWithSecret:
        """Add a webhook, with an approval.

        A new recipient of personal data needs two operators.
        """
        wanted = call.read(NewWebhook)
        url, kinds = self._webhooks.checked(wanted.url, wanted.kinds)
        target, params = named(url, kinds, wanted.client)
        with self._database.transaction() as tx:
            if wanted.client is not None and not self._registered(tx, wanted.client):
                raise BadInput(Fault("/client", "client_not_found", "is not a client"))
            actor = self._approved(
                tx, call.by, wanted.approval, _Act("webhooks.add", target, params)
            )
            return self._webhooks.add(tx, url=url, kinds=kinds, client=wanted.client, actor=actor)

    @post(
        f"{_ONE}/secret",
        scope=_SCOPE,
        body=WebhookSecretRotation,
        idempotent=True,
        secret=True,
        answer=WebhookWithSecret,
        problems=APPROVAL,
    )
    def rotate_webhook_secret(self, call: Call) -> WebhookWithSecret:
        """Replace a webhook's secret, with an approval.

        The holder of a secret can forge events.
        """
        wanted = call.read(WebhookSecretRotation)
        webhook = call.id("webhook", "webhook")
        act = _Act("webhooks.secret", str(webhook), {"overlap": str(wanted.overlap)})
        with self._database.transaction() as tx:
            actor = self._approved(tx, call.by, wanted.approval, act)
            return self._webhooks.rotate(tx, webhook, timedelta(seconds=wanted.overlap), actor)

    @delete(_ONE, scope=_SCOPE, status=204)
    def remove_webhook(self, call: Call) -> None:
        """Remove a webhook.

        Its waiting messages are not delivered.
        """
        with self._database.transaction() as tx:
            self._webhooks.remove(tx, call.id("webhook", "webhook"))

    def _approved(self, tx: Tx, by: Caller, approval: UUID | None, act: _Act) -> str:
        if approval is None:
            detail = "This needs another operator's approval of this act, target and parameters."
            raise Forbidden("approval_required", detail, **act._asdict())
        return self._consume(tx, by, number=approval, **act._asdict())
