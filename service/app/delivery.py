"""Build senders, outbox and webhooks from the settings."""

import sys
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit
from uuid import UUID

from service.accounts.actions.language import locale
from service.audit.actions.audit_log import AuditLog
from service.domain.clock import Clock
from service.domain.errors import SetupError
from service.notifications.actions.delivering import Delivering, Sender
from service.notifications.actions.outbox import Outbox
from service.notifications.actions.webhooks import Endpoint, Webhooks
from service.notifications.model import Channel
from service.notifications.senders.http import Poster, SmsSender, WebhookSender
from service.notifications.senders.smtp import ConsoleSender, Letters, SmtpSender, server
from service.notifications.texts.templates import Texts
from service.settings import CONSOLE, Settings
from service.store.engine import Store
from service.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class DeliveryService:
    """Delivery of messages, and the webhooks that receive events."""

    delivering: Delivering
    webhooks: Webhooks


def open_delivery(
    settings: Settings, *, store: Store, audit: AuditLog, clock: Clock, metrics: Metrics
) -> tuple[Outbox, DeliveryService]:
    """Return the outbox and the delivery of its messages.

    Raises:
        SetupError: A URL, secret or text is invalid; the detail names the setting.
    """
    webhooks = Webhooks(audit, clock, settings, plain=settings.mode == "development")
    senders = _senders(settings, partial(_endpoint, store, webhooks), clock)
    operators = len(settings.alarm_email)
    delivering = Delivering(
        database=store,
        webhooks=webhooks,
        senders=senders,
        locale=locale,
        clock=clock,
        metrics=metrics,
        alarmed=operators,
    )
    people = {Channel.EMAIL, Channel.SMS} & set(senders)
    return Outbox(clock, people), DeliveryService(delivering, webhooks)


def _senders(
    settings: Settings, endpoint: Callable[[UUID], Endpoint | None], clock: Clock
) -> Mapping[Channel, Sender]:
    texts = Texts(settings.service_name, settings.language, settings.texts)
    poster = Poster(clock)
    senders: dict[Channel, Sender] = {Channel.WEBHOOK: WebhookSender(poster, endpoint)}
    if settings.smtp_url:
        mail = _mail(settings, texts, clock)
        senders |= {Channel.EMAIL: mail, Channel.ALARM: mail}
    if settings.sms_url == CONSOLE:
        senders[Channel.SMS] = ConsoleSender(None, texts, _print)
    elif settings.sms_url:
        secret = _secret(settings.sms_secret)
        senders[Channel.SMS] = SmsSender(poster, texts, settings.sms_url, secret)
    return senders


def _mail(settings: Settings, texts: Texts, clock: Clock) -> Sender:
    sender = settings.smtp_from or f"no-reply@{urlsplit(settings.issuer).hostname}"
    if settings.smtp_url == CONSOLE:
        letters = Letters(
            texts=texts,
            sender=sender,
            name=settings.service_name,
            clock=clock,
            alarmed=settings.alarm_email,
        )
        return ConsoleSender(letters, texts, _print)
    try:
        where = server(settings.smtp_url)
    except ValueError as error:
        raise SetupError("bad_setting", f"LAMINA_SMTP_URL: {error}") from None
    if not settings.smtp_from:
        detail = "LAMINA_SMTP_FROM: LAMINA_SMTP_URL needs a sender address"
        raise SetupError("bad_setting", detail)
    name = settings.service_name
    alarmed = settings.alarm_email
    return SmtpSender(
        where=where, texts=texts, sender=sender, name=name, clock=clock, alarmed=alarmed
    )


def _secret(text: str) -> bytes:
    secret = b64decode(text.removeprefix("whsec_"))
    if not secret:
        detail = "LAMINA_SMS_SECRET: LAMINA_SMS_URL needs a secret to sign requests"
        raise SetupError("bad_setting", detail)
    return secret


def _endpoint(store: Store, webhooks: Webhooks, webhook: UUID) -> Endpoint | None:
    with store.transaction(read=True) as tx:
        return webhooks.endpoint(tx, webhook)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
