"""Limit the total time of a delivery, even if the peer sends bytes slowly."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from service.notifications.model import DEADLINE, Undelivered


class Deadline:
    """Shuts the sockets of a delivery at its deadline, so that blocked reads fail."""

    def __init__(self) -> None:
        self.over = False
        self._guard = threading.Lock()
        self._sockets: list[socket.socket] = []

    def watch(self, opened: socket.socket | None) -> None:
        """Add a socket to those that the deadline shuts."""
        with self._guard:
            if opened is not None:
                self._sockets.append(opened)
            if self.over:
                self._shut()

    def end(self) -> None:
        """Shut all sockets now."""
        with self._guard:
            self.over = True
            self._shut()

    def _shut(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def deadline(seconds: float = DEADLINE) -> Iterator[Deadline]:
    """Limit the time of a delivery; a failure caused by the deadline is reported as `timeout`."""
    kept = Deadline()
    timer = threading.Timer(seconds, kept.end)
    timer.daemon = True
    timer.start()
    try:
        yield kept
    except Undelivered as failure:
        if kept.over and not failure.final:
            raise Undelivered("timeout") from None
        raise
    finally:
        timer.cancel()
