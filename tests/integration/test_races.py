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
from service.factors.recovery_codes.actions import RecoveryCodeInput
from service.factors.totp.model import MatchedStep
from service.throttling.model import FREE, LIVE_FREE, Counter, Lane
from service.web.idempotency import Answer

AT_ONCE = 20


def together(container, act):
    """Act in twenty transactions that begin at the same moment; return answers and refusals."""
    barrier = threading.Barrier(AT_ONCE)

    def one(number):
        barrier.wait(120)
        try:
            with container.store.transaction() as tx:
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
def alice(container):
    """Return a subject."""
    return container.register(username="alice")


@pytest.fixture
def totp(container, alice):
    """Return an active TOTP."""
    with container.store.transaction() as tx:
        return container.totp.enroll(tx, alice.id, "alice", status=Status.ACTIVE)[0]


def test_a_totp_step_is_used_by_one(container, totp):
    """Twenty uses of the same step: exactly one is True."""
    found = together(
        container, lambda tx, _: container.authenticators.use_step(tx, totp.id, 100, 101)
    )
    assert sorted(found) == [False] * (AT_ONCE - 1) + [True]


def test_a_totp_code_settles_one_login(container, totp):
    """Twenty logins that checked the same code: one goes on."""
    match, now = Match(authenticator=totp.id, used=MatchedStep(100, 101, 0)), container.clock.now()
    found = together(container, lambda tx, _: container.totp.consume(tx, match, now))
    assert len(split(found, VerificationFailed)) == 1


def test_a_recovery_code_is_used_by_one(container, alice):
    """Twenty logins that checked the same code: one goes on, and nine codes are left."""
    with container.store.transaction() as tx:
        codes = container.codes.enroll(tx, alice.id)[1]
    with container.store.transaction() as tx:
        material = container.codes.load(tx, alice.id)
    now = container.clock.now()
    match = container.codes.verify(material, Presented(RecoveryCodeInput(code=codes[0])), now)
    found = together(container, lambda tx, _: container.codes.consume(tx, match, now))
    assert len(split(found, VerificationFailed)) == 1
    with container.store.transaction() as tx:
        assert len(container.codes.load(tx, alice.id)[1]) == 9


def test_different_codes_do_not_stand_in_each_others_way(container, alice):
    """Ten codes in twenty logins, two for each: ten go on."""
    with container.store.transaction() as tx:
        codes = container.codes.enroll(tx, alice.id)[1]
    with container.store.transaction() as tx:
        material = container.codes.load(tx, alice.id)
    now = container.clock.now()
    matches = [
        container.codes.verify(material, Presented(RecoveryCodeInput(code=code)), now)
        for code in codes
    ]
    found = together(
        container, lambda tx, number: container.codes.consume(tx, matches[number % 10], now)
    )
    assert len(split(found, VerificationFailed)) == 10


def test_a_grant_lets_one_through(container, alice):
    """Twenty changes with the same grant: one is made."""
    with container.store.transaction() as tx:
        grant = container.authenticators.grants.issue(
            tx, alice.id, client=container.caller.client, act="enroll:totp"
        )
    found = together(
        container,
        lambda tx, _: container.authenticators.grants.authorize(
            tx, container.caller, alice, act="enroll:totp", grant=grant
        ),
    )
    assert len(split(found, Forbidden)) == 1


def test_a_username_is_registered_by_one(container):
    """Twenty registrations of one name in several spellings: one subject, nothing else left."""
    spellings = ("alice", "Alice", " ALICE", "\uff41lice")
    with container.store.transaction(read=True) as tx:
        before = tx.execute(text("SELECT count(*) FROM subject")).scalar()
    found = together(
        container,
        lambda tx, number: container.accounts.register(
            tx, container.caller, {"username": spellings[number % len(spellings)]}, segment=None
        ),
    )
    (winner,) = split(found, Conflict)
    with container.store.transaction(read=True) as tx:
        assert tx.execute(text("SELECT count(*) FROM subject")).scalar() == before + 1
        assert tx.execute(text("SELECT count(*) FROM subject_index")).scalar() == 1
        assert container.accounts.lookup(tx, container.caller, "alice")["id"] == str(winner.id)


def test_twenty_subjects_register_at_once_on_an_empty_database(container):
    """The first keys of the service are made by one of them and used by all."""
    found = together(
        container,
        lambda tx, number: container.accounts.register(
            tx, container.caller, {"email": f"a{number}@example.com"}, segment=None
        ),
    )
    accounts = split(found, Conflict)
    assert len({account.id for account in accounts}) == AT_ONCE
    with container.store.transaction(read=True) as tx:
        for number, account in enumerate(accounts):
            view = container.accounts.lookup(tx, container.caller, f"a{number}@example.com")
            assert view["id"] == str(account.id)
            assert view["identifiers"] == {"email": f"a{number}@example.com"}


def reserve(container):
    """Return an act that counts an attempt."""
    return lambda tx, _: container.throttling.reserve(tx, "alice", Lane.STRANGER, Counter.KNOWLEDGE)


def test_no_more_attempts_than_are_free_get_through(container):
    """Twenty guesses at once, the first ever: the free ones are let through, the rest must wait."""
    assert len(split(together(container, reserve(container)), Throttled)) == FREE


def test_each_wait_ends_with_one_more_attempt(container):
    """After the wait twenty guesses at once get one more attempt, and none during the next."""
    with container.store.transaction() as tx:
        for _ in range(FREE):
            reserve(container)(tx, 0)
    assert split(together(container, reserve(container)), Throttled) == []
    container.clock.advance(seconds=30)
    assert len(split(together(container, reserve(container)), Throttled)) == 1


def faces(container, kinds):
    """Return an act that reserves attempts of one kind after the other, in turn."""
    return lambda tx, number: container.throttling.reserve(
        tx, "alice", Lane.STRANGER, kinds[number % len(kinds)]
    )


def test_no_more_faces_than_are_free_get_through_in_any_mix(container):
    """Ten of those told to move; five where one had failed before that was not."""
    live, still = [Counter.LIVE_FACE], [Counter.LIVE_FACE, Counter.FACE]
    assert len(split(together(container, faces(container, live)), Throttled)) == LIVE_FREE
    with container.store.transaction() as tx:
        container.throttling.reset(tx, "alice")
        container.throttling.reserve(tx, "alice", Lane.STRANGER, Counter.FACE)
    assert len(split(together(container, faces(container, still)), Throttled)) == FREE - 1


def test_every_release_is_counted(container):
    """Attempts that verified at once are given back each by itself, whatever their order."""
    with container.store.transaction() as tx:
        taken = [reserve(container)(tx, 0) for _ in range(4)]

    def release(tx, number):
        if number < len(taken):
            container.throttling.release(tx, taken[number])

    assert together(container, release) == [None] * AT_ONCE
    assert len(split(together(container, reserve(container)), Throttled)) == FREE


def test_a_key_is_claimed_by_one(container):
    """Twenty requests with one Idempotency-Key: one acts, the rest hear that it is in flight."""
    caller, barrier = uuid.UUID(int=5), threading.Barrier(AT_ONCE)

    def begin(_number):
        barrier.wait(120)
        try:
            return container.answers.begin(caller, "register", "key", b"body")
        except Conflict as refused:
            return refused

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(begin, range(AT_ONCE)))
    assert split(found, Conflict) == [None]
    answer = Answer(200, b"done", "text/plain")
    container.answers.finish(caller, "register", "key", answer=answer, secret=False)
    assert container.answers.begin(caller, "register", "key", b"body") == answer


def test_an_assertion_authenticates_once(container):
    """Twenty requests with one client assertion: one token."""
    key = SigningKey.generate()
    with container.store.transaction() as tx:
        new = NewClient(name="app", scopes=(), jwks={"keys": [key.public_jwk()]})
        client, _ = container.clients.create(tx, new)
    name, now = str(client.id), unix(container.clock.now())
    claims = {"iss": name, "sub": name, "aud": "x", "jti": "j", "iat": now, "exp": now + 60}
    token = sign_jwt(key, claims, "jwt")
    found = together(
        container, lambda tx, _: container.clients.authenticate_assertion(tx, name, token, ["x"])
    )
    assert split(found, Unauthorized) == [client]


def test_two_sequencers_make_one_chain(container):
    """Twenty jobs that sequence the log at once give each leaf one place."""
    with container.store.transaction() as tx:
        for _ in range(50):
            container.audit.append(tx, "test.done")
    counts = together(container, lambda tx, _: container.audit.sequence(tx, 10))
    assert sorted(counts, reverse=True) == [10] * 5 + [0] * 15
    with container.store.transaction() as tx:
        assert container.audit.verify(tx) == 50


def test_a_login_is_suspended_once(container, alice):
    """Twenty alarms at once suspend once and send one notice."""
    found = together(
        container,
        lambda tx, _: container.suspensions.suspend(
            tx, alice.id, capability="login", reason="fraud", actor="operator"
        ),
    )
    assert sorted(found) == [False] * (AT_ONCE - 1) + [True]
