"""Tell the other processes through Redis that a client changed or a token was revoked."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from service.telemetry import logs

if TYPE_CHECKING:
    from redis import Redis

_CHANNEL: Final = "lamina:callers"
_PATIENCE: Final = 0.25
"""Seconds that a request which changed something waits for Redis."""
_LISTEN: Final = 5.0
_AGAIN: Final = 1.0


class Announcements:
    """Publishes changes, and listens for those of other processes.

    Nothing rests on a message: what is kept of callers ends by itself (`LAMINA_CALLER_SECONDS`).
    With Redis it ends at once.

    Args:
        url: Redis; empty for one process alone.
        heard: Handles a change that another process may have made.

    `listening` is set while Redis has this process among its listeners.
    """

    def __init__(self, url: str, heard: Callable[[], None]) -> None:
        self._url = url
        self._heard = heard
        self._publisher: Redis | None = None
        self._stopped = threading.Event()
        self.listening = threading.Event()
        self._thread: threading.Thread | None = None

    def publish(self) -> None:
        """Announce a change that was committed here; a failure is logged and raises nothing."""
        if not self._url:
            return
        from redis import RedisError  # noqa: PLC0415 - commands that change nothing skip it

        try:
            if self._publisher is None:
                self._publisher = _client(self._url, _PATIENCE)
            self._publisher.publish(_CHANNEL, b"")
        except (RedisError, OSError) as error:
            logs.get().warning("change_not_announced", error=type(error).__name__)

    def start(self) -> None:
        """Listen in a thread."""
        if self._url:
            self._thread = threading.Thread(
                target=self._loop, name="lamina-announcements", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(2 * _LISTEN)

    def _loop(self) -> None:
        from redis import RedisError  # noqa: PLC0415 - as above

        while not self._stopped.is_set():
            try:
                self._listen()
            except (RedisError, OSError):
                self.listening.clear()
                # What was announced meanwhile was not heard.
                self._heard()
                self._stopped.wait(_AGAIN)

    def _listen(self) -> None:
        redis = _client(self._url, _LISTEN)
        with redis.pubsub() as channel:  # type: ignore[no-untyped-call]  # redis-py names no types of it
            channel.subscribe(_CHANNEL)
            while not self._stopped.is_set():
                # The answer to the subscription counts, too: changes before it were not heard.
                if channel.get_message(timeout=_AGAIN) is not None:
                    self._heard()
                    self.listening.set()


def _client(url: str, patience: float) -> "Redis":
    from redis import Redis  # noqa: PLC0415 - as above

    options: dict[str, float] = {"socket_timeout": patience, "socket_connect_timeout": patience}
    return Redis.from_url(url, health_check_interval=_LISTEN, **options)
