"""A local mail server for the demo: received mail is read from a list."""

import email
import email.policy
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from service.domain.errors import SetupError


class Envelope(Protocol):
    """A received mail, as aiosmtpd passes it."""

    content: bytes


@dataclass
class Mailbox:
    """Received mail, oldest first."""

    port: int
    letters: list[str] = field(default_factory=list)

    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:  # noqa: N802 - as aiosmtpd calls it
        """Receive a mail."""
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        body = letter.get_body(("plain",))
        text = body.get_content() if body is not None else ""
        self.letters.append(f"To: {letter['To']}\nSubject: {letter['Subject']}\n\n{text}")
        return "250 OK"


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Run a mail server, without TLS because it is reachable only from this machine.

    Raises:
        SetupError: aiosmtpd is not installed.
    """
    try:
        from aiosmtpd.controller import Controller
    except ImportError:
        detail = "the demo needs aiosmtpd: make demo"
        raise SetupError("no_mail_server", detail) from None
    # The controller connects to its own port to test it, so the port must be known in advance.
    with socket.create_server(("127.0.0.1", 0)) as free:
        box = Mailbox(free.getsockname()[1])
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
