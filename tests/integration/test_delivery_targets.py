"""Alarms, webhooks and hanging targets."""

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import text

from service.domain.errors import BadInput, NotFound
from service.notifications.actions.delivering import Delivering
from service.notifications.model import CODE, Channel, Undelivered, pause


def test_an_alarm_that_nobody_is_named_for_is_held(mail):
    """No delivery dies for it; webhooks hear of it all the same, and a retry sends it later."""
    mail.delivering = Delivering(
        database=mail.container.store,
        webhooks=mail.webhooks,
        senders=mail.posts,
        locale=lambda _tx, _subject: "",
        clock=mail.container.clock,
        metrics=mail.metrics,
        alarmed=0,
    )
    mail.put("alarm.ledger_lost")
    mail.run()
    (row,) = mail.rows()
    assert (row["state"], mail.posts[Channel.ALARM].got) == ("held", [])
    mail.hook("alarm.*")
    with mail.container.store.transaction() as tx:
        assert mail.container.outbox.retry(tx, [uuid.UUID(row["id"])]) == 1
    mail.run()
    assert mail.posts[Channel.WEBHOOK].kinds == ["alarm.ledger_lost"]
    assert mail.rows() == []


def test_a_code_goes_before_notices(mail):
    """It is of use for the shortest time."""
    for _ in range(30):
        mail.put(to="a@example.com")
    with mail.container.store.transaction() as tx:
        payload = {"to": "b@example.com", "code": "12345678"}
        mail.container.outbox.put(
            tx, kind=CODE, subject=None, payload=payload, life=timedelta(minutes=10)
        )
    mail.delivering._route()
    assert mail.delivering._claim("email").kind == CODE


def test_what_cannot_be_read_is_told_to_nobody_and_listed(mail, monkeypatch):
    """A webhook gets no empty event; a list shows the others; an alarm goes out by its kind."""
    subject = mail.container.register(username="alice").id
    mail.hook()
    mail.put(subject=subject)
    mail.put("alarm.canary_opened", subject=subject)
    with mail.container.store.transaction() as tx:
        tx.execute(text("UPDATE outbox SET kind = kind || '.x'"))
    mail.run()
    assert mail.posts[Channel.WEBHOOK].got == []
    assert mail.posts[Channel.ALARM].kinds == ["alarm.canary_opened.x"]
    with mail.container.store.transaction() as tx:
        rows = mail.container.outbox.waiting(tx, reveal=True)
        assert [row["payload"] for row in rows] == [None, None]
        assert mail.container.outbox.retry(tx, [uuid.UUID(row["id"]) for row in rows]) == 0


def test_hanging_webhooks_leave_a_turn_to_others(mail):
    """After a failure a target waits until all others have had their turn."""
    hooks = [mail.hook() for _ in range(7)]
    for _ in range(4):
        mail.put()
    mail.posts[Channel.WEBHOOK].failures = [Undelivered("timeout") for _ in range(7)]
    for _ in range(2):
        mail.delivering.all_due()
        mail.container.clock.advance(milliseconds=10)
    assert len(mail.delivering._begun) == len(hooks)


def test_a_stop_begins_nothing_more(mail):
    """What waits is left for the next process."""
    mail.put(to="a@example.com")
    mail.delivering.stop()
    mail.run()
    assert mail.posts[Channel.EMAIL].got == []
    mail.another().all_due()
    assert mail.posts[Channel.EMAIL].kinds == ["authenticator.revoked"]


def test_depth_and_age_are_measured(mail):
    """Metrics tell what waits and what is dead, by channel, and how tries ended."""
    mail.posts[Channel.EMAIL].failures = [Undelivered("x", final=True), Undelivered("y")]
    for _ in range(2):
        mail.put(to="alice@example.com")
    mail.run()
    mail.container.clock.advance(seconds=60)
    mail.delivering._measure()

    def value(name, **labels):
        return mail.metrics.private.get_sample_value(name, labels)

    assert value("lamina_delivery_messages", channel="email", state="dead") == 1
    assert value("lamina_delivery_messages", channel="email", state="waiting") == 1
    assert value("lamina_delivery_oldest_seconds", channel="email", state="dead") > 60
    assert value("lamina_deliveries_total", channel="email", outcome="dead") == 1
    assert value("lamina_deliveries_total", channel="email", outcome="failed") == 1


@pytest.mark.parametrize(
    ("place", "kinds"),
    [
        ("http://shop.example/", "*"),
        ("ftp://shop.example/", "*"),
        ("https://", "*"),
        ("https://u:p@shop.example/", "*"),
        ("https://shop.example/#a", "*"),
        ("https://shop.example:99999/", "*"),
        ("https://shop.example/\n", "*|"),
        ("https://shop.example/", ""),
        ("https://shop.example/", "A"),
        ("https://shop.example/", "a..b"),
        ("https://shop.example/" + "a" * 500, "*"),
        ("https://[::1", "*"),
        ("https://shóp.example/", "*"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused(mail, place, kinds):
    """The error points at the URL or the kinds."""
    with mail.container.store.transaction() as tx, pytest.raises(BadInput) as refused:
        mail.webhooks.add(tx, url=place, kinds=kinds, client=None)
    assert refused.value.faults[0].pointer in {"/url", "/kinds"}


def test_a_secret_rotates_with_an_overlap_and_a_webhook_ends(mail):
    """Both sign for a day, then the new one alone; what waits for a removed webhook is dead."""
    made = mail.hook()
    hook = uuid.UUID(made["id"])
    with mail.container.store.transaction() as tx:
        again = mail.webhooks.rotate(tx, hook, timedelta(days=1))
        assert len(mail.webhooks.endpoint(tx, hook).secrets) == 2
    assert again["secret"] != made["secret"]
    mail.container.clock.advance(days=1, seconds=1)
    with mail.container.store.transaction() as tx:
        assert len(mail.webhooks.endpoint(tx, hook).secrets) == 1
        mail.webhooks.remove(tx, hook)
        assert mail.webhooks.listed(tx) == []
        with pytest.raises(NotFound):
            mail.webhooks.rotate(tx, hook, timedelta(0))


def test_a_webhook_that_somebody_wrote_into_the_database_hears_nothing(mail):
    """The row has a MAC: another address is none."""
    mail.hook()
    with mail.container.store.transaction() as tx:
        tx.execute(text("UPDATE webhook SET url = 'https://evil.example/'"))
    mail.put()
    mail.run()
    assert mail.posts[Channel.WEBHOOK].got == []


def test_pauses_grow_from_seconds_to_an_hour():
    """5 s doubling to an hour, give or take half; what the receiver asks for is kept to an hour."""
    assert [pause(n, 0.5).total_seconds() for n in (1, 2, 3, 11, 99)] == [5, 10, 20, 3600, 3600]
    assert pause(1, 0.0).total_seconds() == 2.5
    assert pause(1, 0.5, after=60).total_seconds() == 60
    assert pause(1, 0.5, after=99_999).total_seconds() == 3600
