"""Codes and notices arrive: over a real mail server, to a real listener, by commands."""

import email
import email.policy
import json
import re
from uuid import UUID

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from crypto.hashing import PasswordHasher
from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.accounts.store.subjects import VerificationCode
from service.app import open_container
from service.cli import main
from service.domain.errors import SetupError
from service.notifications.store.outbox import Outgoing
from service.settings import load
from service.store import migrate
from service.store.engine import make_engine
from service.throttling.store.limits import Limit
from tests.functional.conftest import PASSWORD, Service
from tests.letterbox import letterbox, listener, posted

SECRET = "whsec_" + "a" * 43 + "="


@pytest.fixture
def opened(settings, clock):
    """Open the service with other settings; all of it is closed in the end."""
    houses = []

    def open_it(**changes):
        changed = settings.model_copy(update={"smtp_url": "", "sms_url": ""} | changes)
        houses.append(open_container(changed, clock, PasswordHasher.unsafe_for_tests()))
        return Service(houses[-1], clock)

    yield open_it
    for container in houses:
        assert container.comparing.all().found == []
        container.store.engine.dispose()


def somebody(service, **profile):
    """Register somebody with addresses; return the path of an identifier's verification."""
    body = {
        "identifiers": {"email": "alice@example.com", "phone": "+4930123456"},
        "password": PASSWORD,
        "profile": profile or None,
    }
    made = service.call("POST", "/v1/subjects", body)
    assert made.status_code == 201, made.json
    return lambda name: f"/v1/subjects/{made.json['id']}/identifiers/{name}/verification"


def counts(service):
    """Return what is stored of codes, counts and messages."""
    with service.container.store.transaction(read=True) as tx:
        tables = (VerificationCode, Limit, Outgoing)
        return [tx.scalar(select(func.count()).select_from(table)) for table in tables]


def deliver(service):
    """Deliver what is due."""
    service.container.delivery.delivering.all_due()


def test_a_code_comes_by_mail_and_verifies_the_address(opened):
    """Sent in the person's language; the code in the letter is the one that counts."""
    with letterbox() as (box, port):
        service = opened(smtp_url=f"smtp://127.0.0.1:{port}?tls=off", smtp_from="a@bank.example")
        path = somebody(service, locale="zh-CN")("email")
        assert service.call("POST", path, {}).json == {"status": "sent"}
        deliver(service)
        (envelope,) = box.letters
    letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert envelope.rcpt_tos == ["alice@example.com"]
    assert "验证码" in letter["Subject"]
    code = re.search(r"\d{8}", letter.get_content())[0]
    assert service.call("POST", path, {"code": code}).json == {"status": "verified"}


def test_a_code_comes_by_text_message(opened):
    """The adapter gets the number in its normal form."""
    with listener() as (got, _, url):
        service = opened(sms_url=url, sms_secret=SECRET)
        path = somebody(service)("phone")
        assert service.call("POST", path, {}).json == {"status": "sent"}
        deliver(service)
    (value,) = posted(got)
    assert value["to"] == "+4930123456"
    code = re.search(r"\d{8}", value["text"])[0]
    assert service.call("POST", path, {"code": code}).json == {"status": "verified"}


@pytest.mark.parametrize(("name", "set_"), [("email", "sms_url"), ("phone", "smtp_url")])
def test_without_a_channel_nothing_is_said_to_be_sent(opened, name, set_):
    """503 with what to set; nothing is counted, no code is made, the other channel is no help."""
    service = opened(**{set_: "console:"})
    path, before = somebody(service)(name), counts(service)
    for _ in range(12):
        refused = service.call("POST", path, {})
        assert (refused.status_code, refused.json["code"]) == (503, "delivery_not_configured")
    setting = "LAMINA_SMTP_URL" if name == "email" else "LAMINA_SMS_URL"
    assert setting in refused.json["detail"]
    assert counts(service) == before
    assert service.call("POST", path, {"code": "12345678"}).status_code == 410


def test_a_webhook_hears_of_what_its_client_did(opened):
    """Not of what another did; neither address nor code is in it."""
    with listener() as (got, _, url):
        service = opened(smtp_url="console:")
        with service.container.store.transaction() as tx:
            hooks = service.container.delivery.webhooks
            hooks.add(
                tx,
                url=url,
                kinds="identifier.* authenticator.*",
                client=UUID(service.client_id),
            )
        path = somebody(service)("email")
        service.call("POST", path, {})
        other = service.access(service.new_client(name="other"))
        body = {"identifiers": {"email": "b@example.com"}, "password": PASSWORD}
        bob = service.call("POST", "/v1/subjects", body, bearer=other).json["id"]
        asked = f"/v1/subjects/{bob}/identifiers/email/verification"
        assert service.call("POST", asked, {}, bearer=other).status_code == 200
        deliver(service)
        (event,) = posted(got)
    assert event["type"] == "identifier.verification"
    assert event["data"]["client"] == service.client_id
    assert "example.com" not in json.dumps(event)
    assert not re.search(r"\d{8}", json.dumps(event["data"].get("code", "")))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"SMTP_URL": "smtp://h?tls=off"}, "LAMINA_SMTP_URL"),
        ({"SMTP_URL": "mail"}, "LAMINA_SMTP_URL"),
        ({"SMTP_URL": "smtp://mail.example"}, "LAMINA_SMTP_FROM"),
        ({"SMTP_FROM": "nobody"}, "LAMINA_SMTP_FROM"),
        ({"ALARM_EMAIL": "a@b,c"}, "LAMINA_ALARM_EMAIL"),
        ({"SMS_URL": "ftp://x"}, "LAMINA_SMS_URL"),
        ({"SMS_URL": "https://x", "SMS_SECRET": "short"}, "LAMINA_SMS_SECRET"),
        ({"SMTP_URL": "console:", "MODE": "production", "ISSUER": "https://x"}, "development"),
        ({"SMS_URL": "http://x", "MODE": "production", "ISSUER": "https://x"}, "LAMINA_SMS_URL"),
        ({"LANGUAGE": "tlh"}, "LAMINA_LANGUAGE"),
        ({"TEXTS": "/nowhere/texts"}, "LAMINA_TEXTS"),
        ({"SERVICE_NAME": "a\nb"}, "LAMINA_SERVICE_NAME"),
    ],
)
def test_settings_that_cannot_be_stop_the_start(tmp_path, changes, said):
    """One line that names the setting; a secret is not repeated."""
    FileRoot.init(tmp_path / "keys", KEY_CLASSES)
    environment = {
        "LAMINA_MODE": "development",
        "LAMINA_FACE_ENGINE": "off",
        "LAMINA_DATABASE_URL": f"sqlite:///{tmp_path / 'lamina.db'}",
        "LAMINA_ROOT_KEY": f"file:{tmp_path / 'keys'}",
    } | {f"LAMINA_{name}": value for name, value in changes.items()}
    migrate.upgrade(make_engine(environment["LAMINA_DATABASE_URL"]))
    with pytest.raises(SetupError) as refused:
        open_container(load(environment, tmp_path / "none"))
    assert said in refused.value.detail
    assert "short" not in refused.value.detail


@pytest.fixture
def lamina(settings, service):
    """Run a command beside the service."""
    environment = {
        "LAMINA_MODE": "development",
        "LAMINA_DATABASE_URL": settings.database_url,
        "LAMINA_ROOT_KEY": settings.root_key,
        "LAMINA_FACE_ENGINE": "off",
    }

    def run(*arguments):
        return CliRunner().invoke(main, [*arguments, "--json"], env=environment)

    return run


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_operator_lists_retries_and_drops(service, lamina):
    """What waits has its state and reason; ids that are none, and nothing chosen, are refused."""
    somebody(service)
    with service.container.store.transaction() as tx:
        service.container.outbox.put(tx, kind="subject.suspended", subject=None, payload={})
    deliver(service)
    (held,) = json.loads(lamina("outbox", "list").stdout)
    assert (held["state"], held["kind"]) == ("held", "subject.suspended")
    assert json.loads(lamina("outbox", "retry", held["id"]).stdout) == {"retried": 1, "asked": 1}
    assert json.loads(lamina("outbox").stdout)[0]["state"] == "new"
    assert json.loads(lamina("outbox", "drop", held["id"]).stdout) == {"dropped": 1}
    kinds = [row["kind"] for row in json.loads(lamina("outbox", "list").stdout)]
    assert kinds == ["alarm.break_glass"]
    for arguments in ((), ("--dead", held["id"])):
        assert lamina("outbox", "retry", *arguments).exit_code == 1
    assert "is not the id" in lamina("outbox", "drop", "x").stderr
    assert json.loads(lamina("outbox", "drop", "--dead").stdout) == {"dropped": 0}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_operator_makes_rotates_and_removes_a_webhook(service, lamina):
    """A secret is shown when it is made; each act is in the log and calls the other operators."""
    url = "https://shop.example/lamina"
    added = json.loads(lamina("webhooks", "add", url, "--client", service.client_id).stdout)
    assert added["secret"].startswith("whsec_")
    (listed,) = json.loads(lamina("webhooks", "list").stdout)
    assert (listed["url"], listed["client"], "secret" in listed) == (url, service.client_id, False)
    again = json.loads(lamina("webhooks", "rotate-secret", added["id"], "--overlap", "7d").stdout)
    assert again["secret"] != added["secret"]
    assert lamina("webhooks", "rotate-secret", added["id"], "--overlap", "60d").exit_code == 1
    assert lamina("webhooks", "remove", added["id"]).exit_code == 0
    assert "webhooks list" in lamina("webhooks", "remove", added["id"]).stderr
    assert lamina("webhooks", "add", "http://", "--kinds", "*").exit_code == 1
    assert lamina("webhooks", "add", url, "--client", "nobody").exit_code == 1
    with service.container.store.transaction(read=True) as tx:
        kinds = [row["kind"] for row in service.container.outbox.waiting(tx)]
    assert kinds == ["alarm.break_glass"] * 3
