"""A request that is sent again gets the first answer, and nobody else does."""

import uuid

import pytest
from sqlalchemy import text

from crypto.errors import OpenError
from service.domain.errors import BadInput, Conflict
from service.web.idempotency import Answer

CALLER = uuid.UUID(int=5)
BODY = b'{"username": "alice"}'
ANSWER = Answer(201, '{"id": "canary-é"}'.encode(), "application/json")


def begin(container, body=BODY, caller=CALLER, operation="register", key="key-1"):
    """Ask for the kept answer, or claim the key."""
    return container.answers.begin(caller, operation, key, body)


def finish(container, *, secret=False):
    """Keep the answer."""
    container.answers.finish(CALLER, "register", "key-1", answer=ANSWER, secret=secret)


def test_the_same_body_gets_the_same_answer(container):
    """The first request claims the key; every later one gets status, body and type of it."""
    assert begin(container) is None
    finish(container)
    assert begin(container) == ANSWER
    assert begin(container) == ANSWER


def test_another_body_is_refused(container):
    """A key is for one request: a body that differs in one byte is a mismatch, done or not."""
    assert begin(container) is None
    for _ in range(2):
        for body in (b"", BODY + b" ", BODY.upper()):
            with pytest.raises(BadInput) as refused:
                begin(container, body)
            assert refused.value.code == refused.value.faults[0].code == "idempotency_mismatch"
        finish(container)


def test_a_request_in_flight_is_a_conflict(container):
    """Until the first one is answered the second is told to wait."""
    assert begin(container) is None
    with pytest.raises(Conflict) as refused:
        begin(container)
    assert refused.value.code == "request_in_flight"


def test_callers_operations_and_keys_are_apart(container):
    """The same key of another caller or for another operation is another key."""
    assert begin(container) is None
    finish(container)
    assert begin(container, caller=uuid.UUID(int=6)) is None
    assert begin(container, operation="update") is None
    assert begin(container, key="key-2") is None
    assert begin(container, operation="register\nkey-1", key="") is None


def test_an_abandoned_request_may_be_tried_again(container):
    """A request that failed frees its key, for another body too."""
    assert begin(container) is None
    container.answers.abandon(CALLER, "register", "key-1")
    assert begin(container, b"other") is None
    container.answers.abandon(CALLER, "register", "unknown")


def test_a_request_that_never_ended_frees_its_key(container):
    """After two minutes the mark of a request in flight is worth nothing."""
    assert begin(container) is None
    container.clock.advance(seconds=119)
    with pytest.raises(Conflict):
        begin(container)
    container.clock.advance(seconds=1)
    assert begin(container) is None


def test_an_answer_is_kept_for_a_day_and_a_secret_for_ten_minutes(container):
    """To the last second the answer is given again; from then on the key is free."""
    for secret, seconds in ((False, 86_400), (True, 600)):
        assert begin(container) is None
        finish(container, secret=secret)
        container.clock.advance(seconds=seconds - 1)
        assert begin(container) == ANSWER
        container.clock.advance(seconds=1)
        assert begin(container, b"another body") is None
        container.answers.abandon(CALLER, "register", "key-1")


def test_an_answer_without_a_claim_is_not_kept(container):
    """What nobody began cannot be finished."""
    finish(container)
    assert begin(container) is None


def test_a_kept_answer_is_sealed(container):
    """The row holds ciphertext, and neither body nor key in the clear."""
    assert begin(container) is None
    finish(container)
    with container.store.transaction(read=True) as tx:
        row = tx.execute(text("SELECT answer, name, body_mac FROM kept_answer")).one()
    assert bytes(row.answer)[0] == 0xF9
    assert b"canary" not in bytes(row.answer)
    assert "key-1" not in row.name
    assert b"alice" not in bytes(row.body_mac)


def test_an_answer_copied_to_another_row_does_not_open(container):
    """An answer is bound to its row, so that nobody gets another's."""
    for key in ("one", "two"):
        assert begin(container, key=key) is None
        answer = Answer(200, key.encode(), "text/plain")
        container.answers.finish(CALLER, "register", key, answer=answer, secret=False)
    with container.store.transaction() as tx:
        rows = tx.execute(text("SELECT name, answer FROM kept_answer")).all()
        swap = {"answer": rows[0].answer, "name": rows[1].name}
        tx.execute(text("UPDATE kept_answer SET answer = :answer WHERE name = :name"), swap)
    outcomes = []
    for key in ("one", "two"):
        try:
            outcomes.append(begin(container, key=key).body.decode() == key)
        except OpenError:
            outcomes.append("refused")
    assert sorted(map(str, outcomes)) == ["True", "refused"]


def test_expired_answers_are_forgotten(container):
    """The cleaning job drops what is past its time and nothing else."""
    for key in ("old", "older"):
        begin(container, key=key)
    container.clock.advance(minutes=2)
    begin(container, key="new")
    with container.store.transaction() as tx:
        assert container.answers.drop_expired(tx, container.clock.now()) == 2
        assert tx.execute(text("SELECT count(*) FROM kept_answer")).scalar() == 1
