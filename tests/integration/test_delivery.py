"""Delivery: from put to delivered or dead, once for each target, never after its time."""

import json
import threading
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import text

from service.domain.caller import Caller, acting
from service.domain.errors import BadInput, NotFound
from service.notifications.actions.delivering import Delivering
from service.notifications.actions.webhooks import Webhooks
from service.notifications.model import CODE, CODES, TRIED, Channel, Undelivered, pause
from service.telemetry.metrics import Metrics


class Post:
    """A sender that keeps what it is given, and fails as it is told."""

    def __init__(self):
        self.got, self.failures, self.guard = [], [], threading.Lock()

    def send(self, message):
        """Take a message, or fail."""
        with self.guard:
            if self.failures:
                raise self.failures.pop(0)
            self.got.append(message)

    @property
    def kinds(self):
        """Return what kinds arrived, in order."""
        return [message.kind for message in self.got]


class Mail:
    """Delivery with senders of its own on the features of a house."""

    def __init__(self, container, *channels):
        self.container = container
        self.posts = {channel: Post() for channel in channels or Channel}
        self.webhooks = Webhooks(container.audit, container.clock, plain=False)
        self.metrics = Metrics()
        self.delivering = self.another()

    def another(self):
        """Return what another process would deliver with."""
        return Delivering(
            self.container.store,
            self.webhooks,
            self.posts,
            lambda _tx, _subject: "zh-CN",
            self.container.clock,
            self.metrics,
        )

    def put(self, kind="authenticator.revoked", subject=None, **payload):
        """Put a message in."""
        with self.container.store.transaction() as tx:
            self.container.outbox.put(tx, kind, subject, payload)
        self.container.clock.advance(milliseconds=2)

    def run(self, **after):
        """Let some time pass, then deliver what is due."""
        self.container.clock.advance(**after or {"seconds": 0})
        self.delivering.all_due()

    def rows(self):
        """Return what was not delivered."""
        with self.container.store.transaction(read=True) as tx:
            return self.container.outbox.waiting(tx)

    def hook(self, kinds="*", client=None):
        """Register a webhook."""
        with self.container.store.transaction() as tx:
            return self.webhooks.add(tx, "https://shop.example/hook", kinds, client)


@pytest.fixture
def mail(container):
    """Return delivery by senders that keep what they are given."""
    return Mail(container)


def test_a_message_goes_to_its_person_once(mail):
    """It is delivered by the channel of its address, in the language of the profile."""
    subject = mail.container.register(username="alice").id
    mail.put(subject=subject, to="alice@example.com")
    mail.put("identifier.changed", subject=subject, to="+4930123456", field="phone")
    mail.run()
    mail.run(hours=1)
    (letter,), (sms,) = mail.posts[Channel.EMAIL].got, mail.posts[Channel.SMS].got
    assert (letter.payload, letter.locale) == ({"to": "alice@example.com"}, "zh-CN")
    assert sms.payload["to"] == "+4930123456"
    assert mail.rows() == []


def test_a_failure_is_tried_again_later_each_time(mail):
    """The pauses double, within half of it; the error is a code, and the same id comes again."""
    post = mail.posts[Channel.EMAIL]
    post.failures = [Undelivered("smtp_451") for _ in range(3)]
    mail.put(to="alice@example.com")
    mail.run()
    (row,) = mail.rows()
    assert (row["state"], row["attempts"], row["error"]) == ("waiting", 1, "smtp_451")
    mail.run(seconds=2)
    assert len(post.failures) == 2
    for seconds in (6, 15, 30):
        mail.run(seconds=seconds)
    assert post.kinds == ["authenticator.revoked"]
    assert mail.rows() == []


def test_what_is_refused_for_good_is_dead_until_somebody_says_otherwise(mail):
    """A dead message is not tried by itself, is retried by an operator, and can be dropped."""
    post = mail.posts[Channel.EMAIL]
    post.failures = [Undelivered("smtp_550", final=True)] * 2
    mail.put(to="alice@example.com")
    mail.put(to="bob@example.com")
    mail.run()
    mail.run(days=1)
    assert [row["state"] for row in mail.rows()] == ["dead", "dead"]
    first, second = (uuid.UUID(row["id"]) for row in mail.rows())
    with mail.container.store.transaction() as tx:
        assert mail.container.outbox.dead(tx) == [first, second]
        assert mail.container.outbox.retry(tx, [first]) == 1
        assert mail.container.outbox.drop(tx, [second]) == 1
    mail.run()
    assert [message.payload["to"] for message in post.got] == ["alice@example.com"]
    with mail.container.store.transaction(read=True) as tx:
        assert tx.execute(text("SELECT count(*) FROM delivery")).scalar() == 1


def test_a_code_is_never_delivered_after_its_time(mail):
    """After ten minutes it is dead, and stays so."""
    post = mail.posts[Channel.EMAIL]
    post.failures = [Undelivered("unreachable") for _ in range(40)]
    with mail.container.store.transaction() as tx:
        payload = {"to": "a@example.com", "code": "12345678"}
        mail.container.outbox.put(tx, CODE, None, payload, timedelta(minutes=10))
    for _ in range(30):
        mail.run(seconds=40)
    (row,) = mail.rows()
    assert row["state"] == "dead"
    post.failures = []
    with mail.container.store.transaction() as tx:
        assert mail.container.outbox.retry(tx, [uuid.UUID(row["id"])]) == 0
    mail.run(minutes=1)
    assert post.got == []


def test_a_notice_is_tried_for_three_days(mail):
    """What nothing delivers is dead in the end, with the reason."""
    del mail.posts[Channel.EMAIL]
    mail.put(to="alice@example.com")
    for _ in range(80):
        mail.run(hours=1)
    (row,) = mail.rows()
    assert (row["state"], row["error"]) == ("dead", "not_configured")
    assert row["attempts"] > TRIED / timedelta(hours=2)


def test_webhooks_hear_what_they_asked_for_and_nothing_that_is_the_persons(mail):
    """Kinds and client decide; neither address nor code goes out."""
    client = uuid.uuid4()
    every, own, some = mail.hook(), mail.hook(client=client), mail.hook("identifier.* alarm.*")
    caller = Caller(client, frozenset(), first_party=True)
    with acting(caller):
        mail.put(CODE, to="a@example.com", code="12345678", field="email")
    mail.put("authenticator.revoked", to="a@example.com")
    mail.put("alarm.break_glass", command="keys destroy")
    mail.run()
    got = Counter(
        (message.target.partition(":")[2], message.kind)
        for message in mail.posts[Channel.WEBHOOK].got
    )
    assert got == Counter(
        [
            (hook["id"], kind)
            for hook, kinds in (
                (every, (CODE, "authenticator.revoked", "alarm.break_glass")),
                (own, (CODE,)),
                (some, (CODE, "alarm.break_glass")),
            )
            for kind in kinds
        ]
    )
    shown = json.dumps([message.public for message in mail.posts[Channel.WEBHOOK].got])
    assert "12345678" not in shown
    assert "example.com" not in shown
    assert mail.posts[Channel.ALARM].kinds == ["alarm.break_glass"]


def test_two_processes_deliver_each_message_once(mail):
    """What one has claimed, no other has; nothing is left out."""
    for number in range(60):
        mail.put(to=f"p{number}@example.com")
    pair = [mail.delivering, mail.another()]
    threads = [threading.Thread(target=each.all_due) for each in pair for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in pair:
        each.all_due()
    got = [message.payload["to"] for message in mail.posts[Channel.EMAIL].got]
    assert sorted(got) == sorted(f"p{number}@example.com" for number in range(60))


def test_what_a_process_left_half_done_is_delivered_by_another(mail):
    """One that died after it had claimed a message keeps it for two minutes, no longer."""
    mail.put(to="alice@example.com")
    mail.delivering._route()
    assert mail.delivering._claim("email") is not None
    mail.run(minutes=1)
    assert mail.posts[Channel.EMAIL].got == []
    mail.run(minutes=2)
    assert mail.posts[Channel.EMAIL].kinds == ["authenticator.revoked"]


def test_a_late_answer_of_one_that_lost_its_claim_changes_nothing(mail):
    """The newer try decides what becomes of the delivery."""
    mail.put(to="alice@example.com")
    mail.delivering._route()
    old = mail.delivering._claim("email")
    mail.run(minutes=3)
    with mail.container.store.transaction() as tx:
        mail.delivering._settle(tx, old, Undelivered("smtp_550", final=True))
    assert mail.rows() == []


def test_a_delivery_put_off_by_a_clock_that_went_wrong_is_due(mail):
    """A next time a year ahead holds nothing up once the clock is right again."""
    mail.posts[Channel.EMAIL].failures = [Undelivered("timeout")]
    mail.put(to="alice@example.com")
    mail.container.clock.advance(days=365)
    mail.delivering._route()
    mail.delivering._claim("email")
    mail.container.clock.advance(days=-365)
    mail.run()
    mail.run(minutes=1)
    assert mail.posts[Channel.EMAIL].kinds == ["authenticator.revoked"]


def test_an_erased_person_hears_nothing_more(mail):
    """Messages and their deliveries go with the person."""
    subject = mail.container.register(username="alice").id
    mail.put(subject=subject, to="alice@example.com")
    mail.delivering._route()
    with mail.container.store.transaction() as tx:
        mail.container.outbox.delete_for(tx, subject)
    mail.run()
    assert mail.posts[Channel.EMAIL].got == []
    with mail.container.store.transaction(read=True) as tx:
        assert tx.execute(text("SELECT count(*) FROM delivery")).scalar() == 0


def test_a_sender_that_breaks_holds_up_no_other_target(mail):
    """An error that nobody expects is logged; the message is tried again after its lease."""
    mail.posts[Channel.SMS].failures = [ZeroDivisionError()]
    mail.put(to="+4930123456")
    mail.put(to="alice@example.com")
    mail.run()
    assert mail.posts[Channel.EMAIL].kinds == ["authenticator.revoked"]
    mail.run(minutes=3)
    assert mail.posts[Channel.SMS].kinds == ["authenticator.revoked"]


def test_one_message_that_breaks_its_sender_holds_up_no_other(mail):
    """Whatever it raises, the others are delivered, and it is tried again."""
    mail.posts[Channel.EMAIL].failures = [UnicodeEncodeError("ascii", "secret", 0, 1, "no")]
    for number in range(5):
        mail.put(to=f"p{number}@example.com")
    mail.run()
    mail.run()
    assert len(mail.posts[Channel.EMAIL].got) == 4
    (row,) = mail.rows()
    assert (row["state"], row["error"]) == ("waiting", "error")
    mail.run(minutes=1)
    assert mail.rows() == []


@pytest.mark.parametrize("kind", sorted(CODES))
def test_a_retry_lets_no_code_live_longer(mail, kind):
    """Neither one that is new nor one that is dead before its time."""
    with mail.container.store.transaction() as tx:
        payload = {"to": "a@example.com", "code": "12345678"}
        mail.container.outbox.put(tx, kind, None, payload, timedelta(minutes=10))
    mail.posts[Channel.EMAIL].failures = [Undelivered("smtp_550", final=True)]
    ids = [uuid.UUID(mail.rows()[0]["id"])]
    for _ in range(2):
        with mail.container.store.transaction() as tx:
            mail.container.outbox.retry(tx, ids)
        with mail.container.store.transaction(read=True) as tx:
            ends = tx.execute(text("SELECT until FROM delivery")).all()
            assert all(str(row[0]) < "2026-11-24 12:10:01" for row in ends)
        mail.delivering._route()
        mail.run()
    mail.posts[Channel.EMAIL].got.clear()


def test_an_alarm_without_details_reaches_every_operator(mail):
    """Each has a delivery of its own; what one server refuses is no loss of the others."""
    mail.delivering = Delivering(
        mail.container.store,
        mail.webhooks,
        mail.posts,
        lambda _tx, _subject: "",
        mail.container.clock,
        mail.metrics,
        2,
    )
    mail.put("alarm.ledger_lost")
    mail.posts[Channel.ALARM].failures = [Undelivered("smtp_450")]
    mail.run()
    mail.run(minutes=1)
    targets = sorted(message.target for message in mail.posts[Channel.ALARM].got)
    assert targets == ["alarm:0", "alarm:1"]


def test_an_alarm_that_nobody_is_named_for_is_held(mail):
    """No delivery dies for it; webhooks hear of it all the same, and a retry sends it later."""
    mail.delivering = Delivering(
        mail.container.store,
        mail.webhooks,
        mail.posts,
        lambda _tx, _subject: "",
        mail.container.clock,
        mail.metrics,
        0,
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
        mail.container.outbox.put(tx, CODE, None, payload, timedelta(minutes=10))
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
        mail.webhooks.add(tx, place, kinds, None)
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
