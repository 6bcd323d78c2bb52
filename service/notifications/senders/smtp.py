"""Deliver by SMTP (RFC 5321), over TLS unless configured otherwise."""

import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from functools import lru_cache, partial
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from service.domain.clock import Clock
from service.notifications.model import ALARM, Message, Undelivered
from service.notifications.senders.deadline import Deadline, deadline
from service.notifications.texts.templates import Texts

_TIMEOUT: Final = 15
_ENCODED: Final = "=?"
"""The prefix of an encoded word (RFC 2047)."""
_PORTS: Final = {"smtp": 587, "smtps": 465}
_FINAL: Final = 500
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(kw_only=True, frozen=True, slots=True)
class Server:
    """A mail server and its credentials.

    Args:
        host: The host name, which its certificate must match.
        port: The port.
        tls: `implicit`, `starttls` or `off`.
        user: The user name; empty for no authentication.
        password: The password.
        ca: A file of certificates to trust instead of the system's; empty for the system's.
    """

    host: str
    port: int
    tls: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""


def server(url: str) -> Server:
    """Parse smtp://USER:PASSWORD@HOST:PORT?tls=off&ca=FILE or smtps://…; raises ValueError."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        # Python's own message may repeat the password.
        raise ValueError("has an invalid port; write signs in a password as %XX") from None
    query = parse_qs(parts.query, keep_blank_values=True)
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in {"", "/"}:
        raise ValueError("must be smtp://HOST:PORT, smtps://HOST:PORT or console:")
    if unknown := set(query) - {"tls", "ca"}:
        raise ValueError(f"knows tls=off and ca=FILE, not {min(unknown)[:20]}")
    tls = "implicit" if parts.scheme == "smtps" else query.get("tls", ["starttls"])[-1]
    if tls not in {"implicit", "starttls", "off"}:
        raise ValueError("tls must be starttls or off")
    user = unquote(parts.username or "")
    password = unquote(parts.password or "")
    if tls == "off" and (user or parts.hostname not in _LOOPBACK):
        raise ValueError("tls=off is for a server on this machine, without a password")
    found = Server(
        host=parts.hostname,
        port=port,
        tls=tls,
        user=user,
        password=password,
        ca=query.get("ca", [""])[-1],
    )
    _check(found)
    return found


def _check(where: Server) -> None:
    """Check that the settings allow a connection; raises ValueError."""
    if not (where.user + where.password).isascii():
        raise ValueError("must have a user and a password in ASCII")
    try:
        where.host.encode("idna")
        _context(where)
    except UnicodeError:
        raise ValueError("has an invalid host") from None
    except OSError:
        raise ValueError("has a ca= file that holds no readable certificates") from None


class SmtpSender:
    """Sends mail, each over a separate connection.

    Args:
        where: The server.
        texts: The texts of messages.
        sender: The sender address.
        name: The display name of the sender.
        clock: The time.
        alarmed: The operators' addresses, for alarms.
    """

    def __init__(
        self,
        *,
        where: Server,
        texts: Texts,
        sender: str,
        name: str,
        clock: Clock,
        alarmed: tuple[str, ...] = (),
    ) -> None:
        self._where = where
        # Loading the trusted certificates takes 25 ms: once, not for each mail.
        self._trusted = lru_cache(maxsize=1)(partial(_context, where))
        self._letters = Letters(texts=texts, sender=sender, name=name, clock=clock, alarmed=alarmed)

    def send(self, message: Message) -> None:
        """Send one mail; raises Undelivered."""
        letter = self._letters.write(message)
        with deadline() as kept, _error_codes(), self._connected(kept) as smtp:
            try:
                smtp.send_message(letter)
            except smtplib.SMTPRecipientsRefused as refused:
                codes = [code for code, _ in refused.recipients.values()]
                raise Undelivered(f"smtp_{codes[0]}", final=min(codes) >= _FINAL) from None
            except smtplib.SMTPDataError as refused:
                final = refused.smtp_code >= _FINAL
                raise Undelivered(f"smtp_{refused.smtp_code}", final=final) from None
            except smtplib.SMTPNotSupportedError:
                raise Undelivered("smtp_utf8", final=True) from None

    def check(self) -> None:
        """Connect and authenticate as for a mail, but send none; raises Undelivered."""
        with deadline() as kept, _error_codes(), self._connected(kept) as smtp:
            smtp.noop()

    @contextmanager
    def _connected(self, kept: Deadline) -> Iterator[smtplib.SMTP]:
        where = self._where
        context = self._trusted()
        smtp: smtplib.SMTP = (
            _Implicit(where, kept, context) if where.tls == "implicit" else _Plain(where, kept)
        )
        try:
            if where.tls == "starttls":
                smtp.starttls(context=context)
                kept.watch(smtp.sock)
            if where.user:
                smtp.login(where.user, where.password)
            yield smtp
            # The mail is delivered: errors of QUIT do not matter.
            with suppress(smtplib.SMTPException, OSError):
                smtp.quit()
        finally:
            smtp.close()


def _context(where: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=where.ca or None)


class _Plain(smtplib.SMTP):
    """An SMTP connection that a deadline can shut, even before the first byte."""

    def __init__(self, where: Server, kept: Deadline) -> None:
        self._kept = kept
        super().__init__(where.host, where.port, timeout=_TIMEOUT)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        opened = socket.create_connection((host, port), timeout)
        self._kept.watch(opened)
        return opened


class _Implicit(_Plain):
    """The same, with implicit TLS."""

    def __init__(self, where: Server, kept: Deadline, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(where, kept)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        opened = super()._get_socket(host, port, timeout)
        wrapped = self._context.wrap_socket(opened, server_hostname=host)
        self._kept.watch(wrapped)
        return wrapped


@contextmanager
def _error_codes() -> Iterator[None]:
    """Convert failures of the server or connection to codes; such deliveries are retried."""
    try:
        yield
    except smtplib.SMTPAuthenticationError:
        raise Undelivered("smtp_login") from None
    except smtplib.SMTPNotSupportedError:
        raise Undelivered("smtp_no_tls") from None
    except smtplib.SMTPResponseException as refused:
        raise Undelivered(f"smtp_{refused.smtp_code}") from None
    except ssl.SSLError:
        raise Undelivered("tls") from None
    except TimeoutError:
        raise Undelivered("timeout") from None
    except (smtplib.SMTPException, OSError, ValueError):
        raise Undelivered("unreachable") from None


class Letters:
    """Writes plain-text mails from fixed texts, without user input."""

    def __init__(
        self, *, texts: Texts, sender: str, name: str, clock: Clock, alarmed: tuple[str, ...]
    ) -> None:
        self._texts = texts
        self._from = Address(name, addr_spec=sender)
        self._clock = clock
        self._alarmed = alarmed

    def write(self, message: Message) -> EmailMessage:
        """Return the mail; raises Undelivered if it has no valid recipient."""
        text = self._texts.of(message)
        to = self._to(message)
        letter = EmailMessage(policy.SMTP if to.isascii() else policy.SMTPUTF8)
        letter["From"] = self._from
        letter["To"] = _address(to)
        letter["Subject"] = text.subject
        letter["Date"] = format_datetime(self._clock.now())
        # The same for each attempt, so that a mailbox can drop repetitions.
        letter["Message-ID"] = f"<{message.delivery}@{self._from.domain}>"
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(text.body)
        if not _whole(letter):
            raise Undelivered("address", final=True)
        return letter

    def _to(self, message: Message) -> str:
        if not message.kind.startswith(ALARM):
            return str(message.payload["to"])
        number = int(message.target.partition(":")[2] or 0)
        if number >= len(self._alarmed):
            raise Undelivered("not_configured")
        return self._alarmed[number]


def _whole(letter: EmailMessage) -> bool:
    """Tell whether the encoded headers are exactly those set, so that no value injects another."""
    sent = message_from_bytes(letter.as_bytes())
    values = [str(value) for value in letter.values()]
    return sent.keys() == letter.keys() and not any(set("\r\n") & set(each) for each in values)


def _address(text: str) -> Address:
    # An encoded word would be decoded into the header, including line breaks.
    if _ENCODED in text:
        raise Undelivered("address", final=True)
    # Given as one string, Python accepts only ASCII before the @.
    local, _, domain = text.rpartition("@")
    return Address(username=local, domain=domain)


class ConsoleSender:
    """Prints messages instead of sending them, for development.

    Args:
        letters: Writes mails; None for text messages.
        texts: The texts of messages.
        out: Prints the text.
    """

    def __init__(self, letters: Letters | None, texts: Texts, out: Callable[[str], None]) -> None:
        self._letters = letters
        self._texts = texts
        self._out = out

    def send(self, message: Message) -> None:
        """Print the message."""
        if self._letters is None:
            text = self._texts.of(message).sms
            to = message.payload["to"]
            self._out(f"--- text message to {to}\n{text}\n---")
            return
        letter = self._letters.write(message)
        head = f"--- mail to {letter['To']}\nSubject: {letter['Subject']}"
        self._out(f"{head}\n\n{letter.get_content().rstrip()}\n---")
