"""Deliver by a signed POST: to webhooks, and to the text message adapter."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from socket import socket
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

import orjson

from service.domain.clock import Clock, rfc3339, unix
from service.notifications.actions.webhooks import Endpoint
from service.notifications.model import Message, Undelivered
from service.notifications.senders import signing
from service.notifications.senders.deadline import Deadline, deadline
from service.notifications.texts.templates import Texts

if TYPE_CHECKING:
    from ssl import SSLContext

_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 5.0
_GONE: Final = 410
_OPENED: Final = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})


class _Stream(Protocol):
    """A connection, as httpx hands it to a trace."""

    def get_extra_info(self, info: str) -> socket: ...


def _trusted() -> "SSLContext":
    """Return a TLS context with the trusted certificates."""
    # Whoever posts nothing, as a server beside a worker, does without 5 MiB of it.
    import httpx  # noqa: PLC0415

    return httpx.create_ssl_context()


class Poster:
    """Posts signed JSON; follows no redirects, and reads only the status of the response."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Loading the trusted certificates takes 25 ms: once, not for each request.
        self._trusted = lru_cache(maxsize=1)(_trusted)

    def post(
        self, message: str, url: str, secrets: tuple[bytes, ...], value: Mapping[str, object]
    ) -> None:
        """Post a value; raises Undelivered unless the response is 2xx."""
        body = orjson.dumps(value)
        headers = signing.headers(message, unix(self._clock.now()), body, secrets)
        headers |= {"Content-Type": "application/json", "User-Agent": "lamina"}
        with deadline() as kept:
            self._send(url, body, headers, kept)

    def _send(self, url: str, body: bytes, headers: dict[str, str], kept: Deadline) -> None:
        import httpx  # noqa: PLC0415 - as in `_trusted`

        def opened(name: str, info: Mapping[str, _Stream]) -> None:
            if name in _OPENED:
                kept.watch(info["return_value"].get_extra_info("socket"))

        timeout = httpx.Timeout(_SECONDS, connect=_CONNECT_SECONDS)
        try:
            # A separate connection, which the deadline may shut; the environment is ignored,
            # because a proxy named there would read the content.
            with (
                httpx.Client(timeout=timeout, trust_env=False, verify=self._trusted()) as client,
                client.stream(
                    "POST", url, content=body, headers=headers, extensions={"trace": opened}
                ) as answer,
            ):
                status = answer.status_code
                after = answer.headers.get("Retry-After", "")
        except httpx.TimeoutException:
            raise Undelivered("timeout") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
            raise Undelivered("unreachable") from None
        if status == _GONE:
            raise Undelivered("http_410", final=True)
        if not 200 <= status < 300:  # noqa: PLR2004 - the class of success
            seconds = int(after) if after.isascii() and after.isdigit() and len(after) < 6 else 0  # noqa: PLR2004 - a day
            raise Undelivered(f"http_{status}", after=seconds)


class WebhookSender:
    """Sends events to webhooks, without address and code, which only the person may receive.

    Args:
        poster: Posts signed requests.
        endpoint: Returns the URL and secrets of a webhook; opens its own transaction.
    """

    def __init__(self, poster: Poster, endpoint: Callable[[UUID], Endpoint | None]) -> None:
        self._poster = poster
        self._endpoint = endpoint

    def send(self, message: Message) -> None:
        """Post the event; raises Undelivered."""
        found = self._endpoint(UUID(message.target.partition(":")[2]))
        if found is None:
            raise Undelivered("removed", final=True)
        data = message.public | {
            "subject": str(message.subject) if message.subject else None,
            "client": str(message.client) if message.client else None,
        }
        event = {"type": message.kind, "timestamp": rfc3339(message.at), "data": data}
        self._poster.post(str(message.id), found.url, found.secrets, event)


class SmsSender:
    """Passes text messages to an adapter: `{"id", "to", "text", "kind"}`, signed.

    Args:
        poster: Posts signed requests.
        texts: The texts of messages.
        url: The URL of the adapter.
        secret: Signs requests; the adapter has it too.
    """

    def __init__(self, poster: Poster, texts: Texts, url: str, secret: bytes) -> None:
        self._poster = poster
        self._texts = texts
        self._url = url
        self._secret = secret

    def send(self, message: Message) -> None:
        """Post the text with the normalized number; raises Undelivered."""
        text = self._texts.of(message).sms
        value = {
            "id": str(message.id),
            "to": message.payload["to"],
            "text": text,
            "kind": message.kind,
        }
        self._poster.post(str(message.id), self._url, (self._secret,), value)
