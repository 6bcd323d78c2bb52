"""Register webhooks, and return what signs their events (Standard Webhooks 1.0)."""

import hashlib
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from crypto import opaque
from service.audit.actions.audit_log import AuditLog
from service.domain.bounds import USUAL, Bounds
from service.domain.clock import Clock, in_force, rfc3339
from service.domain.errors import BadInput, Conflict, Fault, NotFound
from service.domain.ids import new_id
from service.notifications.model import readable
from service.notifications.store import webhooks as store
from service.notifications.store.webhooks import Webhook
from service.notifications.views import WebhookView, WebhookWithSecret
from service.store.engine import Tx
from service.store.turns import take_turn
from service.web.paging import Page, PageRequest

LONGEST_OVERLAP: Final = timedelta(days=30)
_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32
_LONGEST: Final = 512


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The URL of a webhook and its signing secrets, newest first."""

    url: str
    secrets: tuple[bytes, ...] = field(repr=False)


class Webhooks:
    """The webhooks that receive events."""

    def __init__(
        self, audit: AuditLog, clock: Clock, bounds: Bounds = USUAL, *, plain: bool
    ) -> None:
        self._bounds = bounds
        self._audit = audit
        self._clock = clock
        self._plain = plain
        """Whether plain http is allowed, as in development."""

    def add(
        self, tx: Tx, *, url: str, kinds: str, client: UUID | None, actor: str | None = None
    ) -> WebhookWithSecret:
        """Register a webhook; its secret is shown only once.

        Args:
            tx: A transaction.
            url: Where events are posted.
            kinds: Names separated by spaces, `name.*` for all below one, `*` for all.
            client: Only events of this client's requests; None for all events, and for alarms.
            actor: Who adds it; None for the current caller.

        Raises:
            BadInput: The URL or the kinds are invalid.
            Conflict: The limit of webhooks is reached.
        """
        url, kinds = self.checked(url, kinds)
        take_turn(tx, "webhooks")
        if store.count(tx) >= (most := self._bounds.max_webhooks):
            raise Conflict("too_many_webhooks", f"There are {most} webhooks; remove one.")
        now = self._clock.now()
        secret = opaque.random_bytes(_SECRET_BYTES)
        row = Webhook(
            id=new_id(now), url=url, kinds=kinds, client_id=client, created_at=now, old_until=None
        )
        row.secret = secret
        row.old_secret = None
        tx.add(row)
        tx.flush()
        self._audit.append(tx, "webhook.added", actor=actor, webhook=str(row.id), kinds=kinds)
        return {**_view(row), "secret": _shown(secret)}

    def checked(self, url: str, kinds: str) -> tuple[str, str]:
        """Return the normalized URL and kinds; raises BadInput if they are invalid."""
        url = url.strip()
        kinds = " ".join(kinds.replace(",", " ").split())
        self._check(url, kinds)
        return url, kinds

    def page(self, tx: Tx, page: PageRequest) -> Page[WebhookView]:
        """Return a page of the webhooks without their secrets, oldest first."""
        return page.answer(store.page(tx, page.after, page.fetched), lambda row: row.id, _view)

    def listed(self, tx: Tx) -> list[WebhookView]:
        """Return all webhooks without their secrets."""
        return [_view(row) for row in store.all_of(tx)]

    def listening(self, tx: Tx) -> list[Webhook]:
        """Return the webhooks that receive events."""
        return store.all_of(tx)

    def rotate(
        self, tx: Tx, webhook: UUID, overlap: timedelta, actor: str | None = None
    ) -> WebhookWithSecret:
        """Replace the secret of a webhook; the old one also signs during the overlap."""
        row = self._row(tx, webhook)
        if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
            days = LONGEST_OVERLAP.days
            raise BadInput(Fault("/overlap", "out_of_range", f"must be 0 to {days} days"))
        old = row.secret
        secret = opaque.random_bytes(_SECRET_BYTES)
        row.old_until = self._clock.now() + overlap if overlap else None
        row.secret = secret
        row.old_secret = old if overlap else None
        tx.flush()
        self._audit.append(tx, "webhook.rotated", actor=actor, webhook=str(row.id))
        return {**_view(row), "secret": _shown(secret)}

    def remove(self, tx: Tx, webhook: UUID) -> None:
        """Delete a webhook; its waiting messages end undelivered."""
        tx.delete(self._row(tx, webhook))
        tx.flush()
        self._audit.append(tx, "webhook.removed", webhook=str(webhook))

    def endpoint(self, tx: Tx, webhook: UUID) -> Endpoint | None:
        """Return the URL and secrets of a webhook; None if it was removed."""
        row = store.get(tx, webhook)
        if row is None:
            return None
        old = row.old_secret
        until = row.old_until
        still = until is not None and in_force(until, self._clock.now(), LONGEST_OVERLAP)
        return Endpoint(row.url, (row.secret, old) if old and still else (row.secret,))

    def _row(self, tx: Tx, webhook: UUID) -> Webhook:
        row = store.get(tx, webhook, lock=True)
        if row is None:
            raise NotFound("webhook_not_found", "There is no such webhook.")
        return row

    def _check(self, url: str, kinds: str) -> None:
        try:
            parts = urlsplit(url)
            host = parts.hostname
            _ = parts.port
        except ValueError:
            parts = None
            host = None
        allowed = {"https", "http"} if self._plain else {"https"}
        if parts is None or not host or parts.scheme not in allowed or len(url) > _LONGEST:
            detail = f"must be an https URL of at most {_LONGEST} characters"
            raise BadInput(Fault("/url", "invalid_url", detail))
        if (
            parts.username
            or parts.password
            or parts.fragment
            or not url.isascii()
            or not url.isprintable()
        ):
            detail = "must be ASCII, without credentials or fragment: requests are signed"
            raise BadInput(Fault("/url", "invalid_url", detail))
        if not readable(kinds) or len(kinds) > _LONGEST:
            detail = "must be names like authenticator.revoked, authenticator.* or *"
            raise BadInput(Fault("/kinds", "invalid_kinds", detail))


def named(url: str, kinds: str, client: UUID | None) -> tuple[str, dict[str, str]]:
    """Return the target and parameters by which two operators approve exactly one webhook.

    The path of a URL may be a secret of the receiver: the target is a digest of the whole URL.
    """
    params = {"host": str(urlsplit(url).hostname), "kinds": kinds}
    if client is not None:
        params["client"] = str(client)
    return hashlib.sha256(url.encode()).hexdigest(), params


def _view(row: Webhook) -> WebhookView:
    return {
        "id": str(row.id),
        "url": row.url,
        "kinds": row.kinds,
        "client": str(row.client_id) if row.client_id else None,
        "created_at": rfc3339(row.created_at),
        "old_secret_until": rfc3339(row.old_until) if row.old_until else None,
    }


def _shown(secret: bytes) -> str:
    return _PREFIX + b64encode(secret).decode()
