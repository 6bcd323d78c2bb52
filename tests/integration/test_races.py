"""Twenty threads at once, on both databases: what counts once counts once."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from crypto.signing import SigningKey, sign_jwt
from service.authenticators.factor import Match, Presented
from service.clients.model import NewClient
from service.domain.authenticator import Status
from service.domain.clock import unix
from service.domain.errors import (
    Conflict,
    Forbidden,
    LaminaError,
    Throttled,
    Unauthorized,
    VerificationFailed,
)
from service.factors.totp.model import Step
from service.throttling.model import FREE, LIVE_FREE, Counter, Lane
from service.web.idempotency import Answer

AT_ONCE = 20


def together(house, act):
    """Act in twenty transactions that begin at the same moment; return answers and refusals."""
    barrier = threading.Barrier(AT_ONCE)

    def one(number):
        barrier.wait(120)
        try:
            with house.store.transaction() as tx:
                return act(tx, number)
        except LaminaError as refused:
            return refused

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE)))


def split(outcomes, refusal):
    """Return what was answered, after checking that all the rest is one kind of refusal."""
    answered = [item for item in outcomes if not isinstance(item, LaminaError)]
    assert {type(item) for item in outcomes if isinstance(item, LaminaError)} <= {refusal}
    return answered


@pytest.fixture
def alice(house):
    """Return a subject."""
    return house.register(username="alice")


@pytest.fixture
def totp(house, alice):
    """Return an active TOTP."""
    with house.store.transaction() as tx:
        return house.totp.enroll(tx, alice.id, "alice", status=Status.ACTIVE)[0]


def test_a_totp_step_is_used_by_one(house, totp):
    """Twenty uses of the same step: exactly one is True."""
    found = together(house, lambda tx, _: house.authenticators.use_step(tx, totp.id, 100, 101))
    assert sorted(found) == [False] * (AT_ONCE - 1) + [True]


def test_a_totp_code_settles_one_login(house, totp):
    """Twenty logins that checked the same code: one goes on."""
    match, now = Match(totp.id, Step(100, 101, 0)), house.clock.now()
    found = together(house, lambda tx, _: house.totp.settle(tx, match, now))
    assert len(split(found, VerificationFailed)) == 1


def test_a_recovery_code_is_used_by_one(house, alice):
    """Twenty logins that checked the same code: one goes on, and nine codes are left."""
    with house.store.transaction() as tx:
        codes = house.codes.enroll(tx, alice.id)[1]
    with house.store.transaction() as tx:
        material = house.codes.load(tx, alice.id)
    now = house.clock.now()
    match = house.codes.check(material, Presented({"code": codes[0]}), now)
    found = together(house, lambda tx, _: house.codes.settle(tx, match, now))
    assert len(split(found, VerificationFailed)) == 1
    with house.store.transaction() as tx:
        assert len(house.authenticators.codes(tx, match.authenticator)) == 9


def test_different_codes_do_not_stand_in_each_others_way(house, alice):
    """Ten codes in twenty logins, two for each: ten go on."""
    with house.store.transaction() as tx:
        codes = house.codes.enroll(tx, alice.id)[1]
    with house.store.transaction() as tx:
        material = house.codes.load(tx, alice.id)
    now = house.clock.now()
    matches = [house.codes.check(material, Presented({"code": code}), now) for code in codes]
    found = together(house, lambda tx, number: house.codes.settle(tx, matches[number % 10], now))
    assert len(split(found, VerificationFailed)) == 10


def test_a_grant_lets_one_through(house, alice):
    """Twenty changes with the same grant: one is made."""
    with house.store.transaction() as tx:
        grant = house.authenticators.issue_grant(tx, alice.id, house.caller.client, "enroll:totp")
    found = together(
        house,
        lambda tx, _: house.authenticators.authorize(tx, house.caller, alice, "enroll:totp", grant),
    )
    assert len(split(found, Forbidden)) == 1


def test_a_username_is_registered_by_one(house):
    """Twenty registrations of one name in several spellings: one subject, nothing else left."""
    spellings = ("alice", "Alice", " ALICE", "\uff41lice")
    with house.store.transaction(read=True) as tx:
        before = tx.execute(text("SELECT count(*) FROM subject")).scalar()
    found = together(
        house,
        lambda tx, number: house.accounts.register(
            tx, house.caller, {"username": spellings[number % len(spellings)]}, segment=None
        ),
    )
    (winner,) = split(found, Conflict)
    with house.store.transaction(read=True) as tx:
        assert tx.execute(text("SELECT count(*) FROM subject")).scalar() == before + 1
        assert tx.execute(text("SELECT count(*) FROM subject_index")).scalar() == 1
        assert house.accounts.lookup(tx, house.caller, "alice")["id"] == str(winner.id)


def test_twenty_subjects_register_at_once_on_an_empty_database(house):
    """The first keys of the service are made by one of them and used by all."""
    found = together(
        house,
        lambda tx, number: house.accounts.register(
            tx, house.caller, {"email": f"a{number}@example.com"}, segment=None
        ),
    )
    accounts = split(found, Conflict)
    assert len({account.id for account in accounts}) == AT_ONCE
    with house.store.transaction(read=True) as tx:
        for number, account in enumerate(accounts):
            view = house.accounts.lookup(tx, house.caller, f"a{number}@example.com")
            assert view["id"] == str(account.id)
            assert view["identifiers"] == {"email": f"a{number}@example.com"}


def reserve(house):
    """Return an act that counts an attempt."""
    return lambda tx, _: house.throttling.reserve(tx, "alice", Lane.STRANGER, Counter.KNOWLEDGE)


def test_no_more_attempts_than_are_free_get_through(house):
    """Twenty guesses at once, the first ever: the free ones are let through, the rest must wait."""
    assert len(split(together(house, reserve(house)), Throttled)) == FREE


def test_each_wait_ends_with_one_more_attempt(house):
    """After the wait twenty guesses at once get one more attempt, and none during the next."""
    with house.store.transaction() as tx:
        for _ in range(FREE):
            reserve(house)(tx, 0)
    assert split(together(house, reserve(house)), Throttled) == []
    house.clock.advance(seconds=30)
    assert len(split(together(house, reserve(house)), Throttled)) == 1


def faces(house, kinds):
    """Return an act that reserves attempts of one kind after the other, in turn."""
    return lambda tx, number: house.throttling.reserve(
        tx, "alice", Lane.STRANGER, kinds[number % len(kinds)]
    )


def test_no_more_faces_than_are_free_get_through_in_any_mix(house):
    """Ten of those told to move; five where one had failed before that was not."""
    live, still = [Counter.LIVE_FACE], [Counter.LIVE_FACE, Counter.FACE]
    assert len(split(together(house, faces(house, live)), Throttled)) == LIVE_FREE
    with house.store.transaction() as tx:
        house.throttling.reset(tx, "alice")
        house.throttling.reserve(tx, "alice", Lane.STRANGER, Counter.FACE)
    assert len(split(together(house, faces(house, still)), Throttled)) == FREE - 1


def test_every_release_is_counted(house):
    """Attempts that verified at once are given back each by itself, whatever their order."""
    with house.store.transaction() as tx:
        taken = [reserve(house)(tx, 0) for _ in range(4)]

    def release(tx, number):
        if number < len(taken):
            house.throttling.release(tx, taken[number])

    assert together(house, release) == [None] * AT_ONCE
    assert len(split(together(house, reserve(house)), Throttled)) == FREE


def test_a_key_is_claimed_by_one(house):
    """Twenty requests with one Idempotency-Key: one acts, the rest hear that it is in flight."""
    caller, barrier = uuid.UUID(int=5), threading.Barrier(AT_ONCE)

    def begin(_number):
        barrier.wait(120)
        try:
            return house.answers.begin(caller, "register", "key", b"body")
        except Conflict as refused:
            return refused

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(begin, range(AT_ONCE)))
    assert split(found, Conflict) == [None]
    answer = Answer(200, b"done", "text/plain")
    house.answers.finish(caller, "register", "key", answer, secret=False)
    assert house.answers.begin(caller, "register", "key", b"body") == answer


def test_an_assertion_authenticates_once(house):
    """Twenty requests with one client assertion: one token."""
    key = SigningKey.generate()
    with house.store.transaction() as tx:
        new = NewClient("app", (), jwks={"keys": [key.public_jwk()]})
        client, _ = house.clients.create(tx, new)
    name, now = str(client.id), unix(house.clock.now())
    claims = {"iss": name, "sub": name, "aud": "x", "jti": "j", "iat": now, "exp": now + 60}
    token = sign_jwt(key, claims, "jwt")
    found = together(
        house, lambda tx, _: house.clients.authenticate_assertion(tx, name, token, ["x"])
    )
    assert split(found, Unauthorized) == [client]


def test_two_sequencers_make_one_chain(house):
    """Twenty jobs that sequence the log at once give each leaf one place."""
    with house.store.transaction() as tx:
        for _ in range(50):
            house.audit.append(tx, "test.done")
    counts = together(house, lambda tx, _: house.audit.sequence(tx, 10))
    assert sorted(counts, reverse=True) == [10] * 5 + [0] * 15
    with house.store.transaction() as tx:
        assert house.audit.verify(tx) == 50


def test_a_login_is_suspended_once(house, alice):
    """Twenty alarms at once suspend once and send one notice."""
    found = together(
        house,
        lambda tx, _: house.accounts.suspend(tx, alice.id, "login", "fraud", "operator"),
    )
    assert sorted(found) == [False] * (AT_ONCE - 1) + [True]
