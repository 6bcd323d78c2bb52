"""Senders, against real servers on this machine."""

import base64
import email
import hashlib
import hmac
import json
import socket
import socketserver
import ssl
import threading
import time
import uuid
from contextlib import suppress

import pytest

from service.notifications.actions.webhooks import Endpoint
from service.notifications.model import CODE, Undelivered
from service.notifications.senders import deadline
from service.notifications.senders.http import Poster, SmsSender, WebhookSender
from service.notifications.senders.smtp import ConsoleSender, Letters, SmtpSender, server
from tests.letterbox import USER, WORD, certificate, letterbox, listener, posted
from tests.messages import CLOCK, NOW, TEXTS, message


def sender(port, query="", scheme="smtp", user="", texts=TEXTS, alarmed=()):
    """Return a sender to a port of this machine."""
    where = server(f"{scheme}://{user}127.0.0.1:{port}{query}")
    return SmtpSender(
        where=where,
        texts=texts,
        sender="no-reply@bank.example",
        name="Bank & Co",
        clock=CLOCK,
        alarmed=alarmed,
    )


def read(envelope):
    """Return the letter in an envelope, as a mail program reads it."""
    return email.message_from_bytes(envelope.content, policy=email.policy.default)


def refusal(send, *arguments):
    """Return why something was not delivered, and whether for good."""
    with pytest.raises(Undelivered) as refused:
        send(*arguments)
    assert str(refused.value) == refused.value.reason
    return refused.value.reason, refused.value.final


def test_a_mail_arrives_as_it_should(tmp_path):
    """Plain text, from and to whom, with an id that stays, and marked as sent by a program."""
    with letterbox() as (box, port):
        sender(port, "?tls=off").send(message())
        sender(port, "?tls=off").send(message())
    envelope, again = box.letters
    letter = read(envelope)
    assert (envelope.mail_from, envelope.rcpt_tos) == (
        "no-reply@bank.example",
        ["alice@example.com"],
    )
    assert letter["From"] == "Bank & Co <no-reply@bank.example>"
    assert letter["To"] == "alice@example.com"
    assert letter["Subject"] == "12345678 is your Bank & Co code"
    assert letter["Message-ID"] == f"<{uuid.UUID(int=8)}@bank.example>" == read(again)["Message-ID"]
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Date"] == "Tue, 24 Nov 2026 12:00:00 +0000"
    assert "    12345678\n" in letter.get_content().replace("\r\n", "\n")


def tls(place):
    """Return a server's context and the file that trusts it."""
    pem, key = certificate(place)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return context, pem


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_mail_goes_over_tls_with_a_password(tmp_path, scheme):
    """STARTTLS or TLS from the first byte; a wrong password is tried again, and shown nowhere."""
    context, pem = tls(tmp_path)
    where = {"implicit" if scheme == "smtps" else "starttls": context}
    with letterbox(**where, auth=True) as (box, port):
        user = f"{USER}:{WORD.replace('@', '%40').replace('/', '%2F')}@"
        sender(port, f"?ca={pem}", scheme, user).send(message())
        assert len(box.letters) == 1
        wrong = sender(port, f"?ca={pem}", scheme, f"{USER}:wrong@")
        assert refusal(wrong.send, message()) == ("smtp_login", False)
        assert "wrong" not in repr(server(f"smtp://u:wrong@127.0.0.1:{port}"))


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_certificate_that_nobody_trusts_gets_no_mail(tmp_path, scheme):
    """Nothing is sent, and it is tried again."""
    context, _ = tls(tmp_path)
    where = {"implicit" if scheme == "smtps" else "starttls": context}
    with letterbox(**where) as (box, port):
        assert refusal(sender(port, "", scheme).send, message()) == ("tls", False)
        assert box.letters == []


def test_a_server_without_tls_gets_no_mail():
    """Without STARTTLS there is no fall-back to plain text."""
    with letterbox() as (box, port):
        assert refusal(sender(port).send, message()) == ("smtp_no_tls", False)
        assert box.letters == []


@pytest.mark.parametrize(
    ("what", "said", "told"),
    [
        ("rcpt", "550 nobody", ("smtp_550", True)),
        ("rcpt", "451 later", ("smtp_451", False)),
        ("data", "554 spam", ("smtp_554", True)),
        ("data", "452 full", ("smtp_452", False)),
    ],
)
def test_a_refusal_is_for_good_or_for_now(what, said, told):
    """A recipient or a letter that is refused with 5xx is dead; all else is tried again."""
    with letterbox() as (box, port):
        setattr(box, what, said)
        assert refusal(sender(port, "?tls=off").send, message()) == told


def test_a_server_that_is_not_there_is_tried_again():
    """The reason is a code; the text of the error is not kept."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert refusal(sender(port, "?tls=off").send, message()) == ("unreachable", False)


def test_an_address_beyond_ascii_needs_a_server_that_takes_it():
    """With SMTPUTF8 it arrives; without, it never will."""
    to = "алиса@example.com"
    with letterbox() as (box, port):
        sender(port, "?tls=off").send(message(to=to))
        assert box.letters[0].rcpt_tos == [to]
        assert read(box.letters[0])["To"] == to
    with letterbox(utf8=False) as (_, port):
        assert refusal(sender(port, "?tls=off").send, message(to=to)) == ("smtp_utf8", True)


def test_an_alarm_goes_to_the_operators():
    """Each by a delivery of its own; with nobody named there is nobody to tell."""
    alarm = message("alarm.break_glass", command="keys destroy", target="alarm:1")
    with letterbox() as (box, port):
        sender(port, "?tls=off", alarmed=("a@ops.example", "b@ops.example")).send(alarm)
        assert box.letters[0].rcpt_tos == ["b@ops.example"]
        assert "keys destroy" in read(box.letters[0]).get_content()
        assert refusal(sender(port, "?tls=off").send, alarm) == ("not_configured", False)


@pytest.mark.parametrize(
    "url",
    [
        "smtp://",
        "mail.example",
        "smtp://h:x",
        "smtp://h/path",
        "smtp://h?x=1",
        "smtp://h?tls=no",
        "smtp://h?tls=off",
        "smtp://u:secret@localhost?tls=off",
        "smtp://h:99999",
        "http://h",
        "smtp://u:p%C3%A4@h",
        "smtp://" + "a" * 70,
        "smtp://h?ca=/nowhere.pem",
        "smtp://a..b",
    ],
)
def test_an_address_of_a_server_that_cannot_be_is_refused(url):
    """The text says what to mend and repeats no password."""
    with pytest.raises(ValueError, match=r"\w") as refused:
        server(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "local", ["=?utf-8?q?x=0d=0aBcc=3a_evil=40x.example?=", "a=?utf-8?b?DQo=?=", "=?us-ascii?q?a?="]
)
def test_an_address_that_is_an_encoded_word_makes_no_header(local):
    """It would be decoded into the header, line ends and all: such a message is dead."""
    with letterbox() as (box, port):
        to = f"{local}@example.com"
        assert refusal(sender(port, "?tls=off").send, message(to=to)) == ("address", True)
        assert box.letters == []


class Dripping(socketserver.BaseRequestHandler):
    """Says a byte now and then, and never comes to an end."""

    def handle(self):
        """Drip until the other side has gone."""
        with suppress(OSError):
            while True:
                self.request.sendall(b"2")
                time.sleep(0.05)


@pytest.mark.parametrize("kind", ["smtp", "http"])
def test_a_server_that_drips_is_left_in_time(monkeypatch, kind):
    """However often a byte comes, a delivery ends with its deadline."""
    monkeypatch.setattr(deadline.deadline.__wrapped__, "__defaults__", (0.5,))
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dripping) as drips:
        drips.daemon_threads = True
        threading.Thread(target=drips.serve_forever, daemon=True).start()
        port = drips.server_address[1]
        target = message(target=f"webhook:{uuid.UUID(int=9)}")
        url = f"http://127.0.0.1:{port}"
        send = sender(port, "?tls=off").send if kind == "smtp" else hook((b"k",), url).send
        assert refusal(send, target) == ("timeout", False)
        drips.shutdown()


def test_the_console_prints_what_would_be_sent():
    """Mail and text message, whole."""
    out = []
    letters = Letters(
        texts=TEXTS, sender="no-reply@bank.example", name="Bank & Co", clock=CLOCK, alarmed=()
    )
    ConsoleSender(letters, TEXTS, out.append).send(message())
    ConsoleSender(None, TEXTS, out.append).send(message(to="+4930123456"))
    assert "mail to alice@example.com" in out[0]
    assert "12345678" in out[0]
    assert out[1].splitlines()[:2] == ["--- text message to +4930123456", TEXTS.of(message()).sms]


def hook(secrets, url):
    """Return a sender to a webhook."""
    return WebhookSender(Poster(CLOCK), lambda _id: Endpoint(url, secrets) if url else None)


def test_a_webhook_is_told_by_a_signed_request():
    """As Standard Webhooks says: an id that stays, a time, and a signature by each secret."""
    secrets, target = (b"n" * 32, b"o" * 32), f"webhook:{uuid.UUID(int=9)}"
    with listener() as (got, _, url):
        hook(secrets, f"{url}/in").send(message("identifier.changed", target=target, field="email"))
    ((path, headers, body),) = got
    assert path == "/in"
    assert json.loads(body) == {
        "type": "identifier.changed",
        "timestamp": "2026-11-24T12:00:00Z",
        "data": {"field": "email", "subject": None, "client": None},
    }
    assert headers["webhook-id"] == str(uuid.UUID(int=7))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert headers["webhook-signature"].split(" ") == [
        "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        for key in secrets
    ]


@pytest.mark.parametrize(
    ("answer", "told", "after"),
    [
        ((500, {}), ("http_500", False), 0),
        ((404, {}), ("http_404", False), 0),
        ((410, {}), ("http_410", True), 0),
        ((429, {"Retry-After": "90"}), ("http_429", False), 90),
        ((503, {"Retry-After": "soon"}), ("http_503", False), 0),
        ((302, {"Location": "/elsewhere"}), ("http_302", False), 0),
    ],
)
def test_what_a_webhook_answers_decides_what_becomes_of_it(answer, told, after):
    """Only 2xx is delivered; 410 ends it; no redirect is followed."""
    with listener() as (got, answers, url):
        answers.append(answer)
        with pytest.raises(Undelivered) as refused:
            hook((b"k" * 32,), url).send(message(target=f"webhook:{uuid.UUID(int=9)}"))
        assert (refused.value.reason, refused.value.final) == told
        assert refused.value.after == after
        assert len(got) == 1


def test_a_webhook_that_is_away_or_gone():
    """Away is tried again; removed is over."""
    target = f"webhook:{uuid.UUID(int=9)}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    away = hook((b"k",), f"http://127.0.0.1:{port}")
    assert refusal(away.send, message(target=target)) == ("unreachable", False)
    assert refusal(hook((), "").send, message(target=target)) == ("removed", True)


def test_a_text_message_goes_to_its_adapter():
    """The number in its normal form, the text, and a signature."""
    with listener() as (got, _, url):
        SmsSender(Poster(CLOCK), TEXTS, url, b"k" * 32).send(message(to="+4930123456"))
    (value,) = posted(got)
    assert value == {
        "id": str(uuid.UUID(int=7)),
        "to": "+4930123456",
        "kind": CODE,
        "text": "12345678 is your Bank & Co code, valid for 10 minutes. Never tell it to anyone.",
    }
    assert got[0][1]["webhook-signature"].startswith("v1,")
