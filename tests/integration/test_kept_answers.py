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


def begin(house, body=BODY, caller=CALLER, operation="register", key="key-1"):
    """Ask for the kept answer, or claim the key."""
    return house.answers.begin(caller, operation, key, body)


def finish(house, *, secret=False):
    """Keep the answer."""
    house.answers.finish(CALLER, "register", "key-1", ANSWER, secret)


def test_the_same_body_gets_the_same_answer(house):
    """The first request claims the key; every later one gets status, body and type of it."""
    assert begin(house) is None
    finish(house)
    assert begin(house) == ANSWER
    assert begin(house) == ANSWER


def test_another_body_is_refused(house):
    """A key is for one request: a body that differs in one byte is a mismatch, done or not."""
    assert begin(house) is None
    for _ in range(2):
        for body in (b"", BODY + b" ", BODY.upper()):
            with pytest.raises(BadInput) as refused:
                begin(house, body)
            assert refused.value.code == refused.value.faults[0].code == "idempotency_mismatch"
        finish(house)


def test_a_request_in_flight_is_a_conflict(house):
    """Until the first one is answered the second is told to wait."""
    assert begin(house) is None
    with pytest.raises(Conflict) as refused:
        begin(house)
    assert refused.value.code == "request_in_flight"


def test_callers_operations_and_keys_are_apart(house):
    """The same key of another caller or for another operation is another key."""
    assert begin(house) is None
    finish(house)
    assert begin(house, caller=uuid.UUID(int=6)) is None
    assert begin(house, operation="update") is None
    assert begin(house, key="key-2") is None
    assert begin(house, operation="register\nkey-1", key="") is None


def test_an_abandoned_request_may_be_tried_again(house):
    """A request that failed frees its key, for another body too."""
    assert begin(house) is None
    house.answers.abandon(CALLER, "register", "key-1")
    assert begin(house, b"other") is None
    house.answers.abandon(CALLER, "register", "unknown")


def test_a_request_that_never_ended_frees_its_key(house):
    """After two minutes the mark of a request in flight is worth nothing."""
    assert begin(house) is None
    house.clock.advance(seconds=119)
    with pytest.raises(Conflict):
        begin(house)
    house.clock.advance(seconds=1)
    assert begin(house) is None


def test_an_answer_is_kept_for_a_day_and_a_secret_for_ten_minutes(house):
    """To the last second the answer is given again; from then on the key is free."""
    for secret, seconds in ((False, 86_400), (True, 600)):
        assert begin(house) is None
        finish(house, secret=secret)
        house.clock.advance(seconds=seconds - 1)
        assert begin(house) == ANSWER
        house.clock.advance(seconds=1)
        assert begin(house, b"another body") is None
        house.answers.abandon(CALLER, "register", "key-1")


def test_an_answer_without_a_claim_is_not_kept(house):
    """What nobody began cannot be finished."""
    finish(house)
    assert begin(house) is None


def test_a_kept_answer_is_sealed(house):
    """The row holds ciphertext, and neither body nor key in the clear."""
    assert begin(house) is None
    finish(house)
    with house.store.transaction(read=True) as tx:
        row = tx.execute(text("SELECT answer, name, body_mac FROM kept_answer")).one()
    assert bytes(row.answer)[0] == 0xF9
    assert b"canary" not in bytes(row.answer)
    assert "key-1" not in row.name
    assert b"alice" not in bytes(row.body_mac)


def test_an_answer_copied_to_another_row_does_not_open(house):
    """An answer is bound to its row, so that nobody gets another's."""
    for key in ("one", "two"):
        assert begin(house, key=key) is None
        answer = Answer(200, key.encode(), "text/plain")
        house.answers.finish(CALLER, "register", key, answer, secret=False)
    with house.store.transaction() as tx:
        rows = tx.execute(text("SELECT name, answer FROM kept_answer")).all()
        swap = {"answer": rows[0].answer, "name": rows[1].name}
        tx.execute(text("UPDATE kept_answer SET answer = :answer WHERE name = :name"), swap)
    outcomes = []
    for key in ("one", "two"):
        try:
            outcomes.append(begin(house, key=key).body.decode() == key)
        except OpenError:
            outcomes.append("refused")
    assert sorted(map(str, outcomes)) == ["True", "refused"]


def test_expired_answers_are_forgotten(house):
    """The cleaning job drops what is past its time and nothing else."""
    for key in ("old", "older"):
        begin(house, key=key)
    house.clock.advance(minutes=2)
    begin(house, key="new")
    with house.store.transaction() as tx:
        assert house.answers.drop_expired(tx, house.clock.now()) == 2
        assert tx.execute(text("SELECT count(*) FROM kept_answer")).scalar() == 1
