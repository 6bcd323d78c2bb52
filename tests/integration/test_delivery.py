"""Delivery: from put to delivered or dead, once for each target, never after its time."""

import json
import threading
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import text

from service.domain.caller import Caller, acting
from service.notifications.actions.delivering import Delivering
from service.notifications.model import CODE, CODES, TRIED, Channel, Undelivered


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
        mail.container.outbox.put(
            tx, kind=CODE, subject=None, payload=payload, life=timedelta(minutes=10)
        )
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
    caller = Caller(client=client, scopes=frozenset(), first_party=True)
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
        mail.container.outbox.put(
            tx, kind=kind, subject=None, payload=payload, life=timedelta(minutes=10)
        )
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
        database=mail.container.store,
        webhooks=mail.webhooks,
        senders=mail.posts,
        locale=lambda _tx, _subject: "",
        clock=mail.container.clock,
        metrics=mail.metrics,
        alarmed=2,
    )
    mail.put("alarm.ledger_lost")
    mail.posts[Channel.ALARM].failures = [Undelivered("smtp_450")]
    mail.run()
    mail.run(minutes=1)
    targets = sorted(message.target for message in mail.posts[Channel.ALARM].got)
    assert targets == ["alarm:0", "alarm:1"]
