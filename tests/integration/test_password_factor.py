"""Passwords: one verifier at a time, renewed when parameters move on."""

import pytest

from crypto.errors import HasherBusy
from crypto.hashing import PasswordHasher
from service.authenticators.factor import Match, Presented
from service.authenticators.store.authenticators import AuthenticatorRow
from service.domain.errors import BadInput, Unavailable, VerificationFailed
from service.domain.ids import DECOY
from service.factors.password.actions import PasswordFactor, PasswordInput

PASSWORD = "correct horse battery staple"


class Busy:
    """A hasher whose turns are all taken."""

    def hash(self, password):
        raise HasherBusy

    def verify(self, encoded, password):
        raise HasherBusy


@pytest.fixture
def alice(container):
    """Return a subject with a password."""
    account = container.register(username="alice")
    enroll(container, account.id, PASSWORD)
    return account


def enroll(container, subject, password):
    """Give a subject a password."""
    verifier = container.password.hash(password)
    with container.store.transaction() as tx:
        return container.password.enroll(tx, subject, verifier)


def stored(container, subject):
    """Return the verifier of a subject."""
    with container.store.transaction() as tx:
        return container.password.load(tx, subject)


def present(container, subject, password, factor=None):
    """Present a password as a login does: the hash outside every transaction."""
    factor, now = factor or container.password, container.clock.now()
    material = stored(container, subject)
    container.store.outside()
    match = factor.verify(material, Presented(PasswordInput(password=password)), now)
    with container.store.transaction() as tx:
        factor.consume(tx, match, now)
    return match


def refusal(container, subject, password):
    """Return the reason for which a password is refused."""
    with pytest.raises(VerificationFailed) as refused:
        present(container, subject, password)
    return refused.value.reason


def test_the_password_verifies_and_its_use_is_noted(container, alice):
    """The right password gives its authenticator, whose time of use moves."""
    container.clock.advance(hours=1)
    match = present(container, alice.id, PASSWORD)
    with container.store.transaction() as tx:
        (active,) = container.authenticators.listing(tx, alice.id)
    assert match.authenticator == active.id
    assert active.last_used_at == container.clock.now()


def test_another_password_is_a_mismatch(container, alice):
    """Case, spaces and cut or lengthened values are other passwords."""
    for wrong in (PASSWORD.upper(), f" {PASSWORD}", PASSWORD[:-1], f"{PASSWORD}x", "x"):
        assert refusal(container, alice.id, wrong) == "password_mismatch"


def test_two_keyboards_type_one_password(container, alice):
    """What normalizes alike verifies alike."""
    enroll(container, alice.id, "caf\u00e9 au lait \uff11\uff12")
    assert present(container, alice.id, "cafe\u0301 au lait 12")


def test_a_long_password_counts_to_its_last_character(container, alice):
    """256 characters are hashed whole."""
    long = "ab" * 128
    enroll(container, alice.id, long)
    assert present(container, alice.id, long)
    assert refusal(container, alice.id, long[:-1] + "c") == "password_mismatch"


def test_a_new_password_replaces_the_earlier_one(container, alice):
    """From then on the old one fails, and one authenticator is active."""
    enroll(container, alice.id, "another horse battery")
    assert refusal(container, alice.id, PASSWORD) == "password_mismatch"
    assert present(container, alice.id, "another horse battery")
    with container.store.transaction() as tx:
        assert len(container.authenticators.listing(tx, alice.id)) == 1


def test_a_password_is_its_owners_alone(container, alice):
    """The same password of two subjects has two verifiers, and each knows its own alone."""
    bob = container.register(username="bob")
    assert refusal(container, bob.id, PASSWORD) == "no_password"
    enroll(container, bob.id, PASSWORD)
    assert stored(container, bob.id).secret != stored(container, alice.id).secret
    enroll(container, bob.id, "another horse battery")
    assert present(container, alice.id, PASSWORD)


def test_a_hash_of_older_parameters_is_renewed_at_login(container, alice):
    """The first login after a change of parameters stores a new hash; the next one does not."""
    factor = PasswordFactor(container.authenticators, PasswordHasher(concurrency=1), DECOY)
    before = stored(container, alice.id).secret
    assert b"m=8,t=1" in before
    assert present(container, alice.id, PASSWORD, factor).verifier is not None
    after = stored(container, alice.id)
    assert b"m=19456,t=2" in after.secret
    assert present(container, alice.id, PASSWORD, factor).verifier is None
    assert stored(container, alice.id) == after


def test_a_wrong_password_renews_nothing(container, alice):
    """A hash is made anew only of the password that it verified."""
    factor = PasswordFactor(container.authenticators, PasswordHasher(concurrency=1), DECOY)
    before = stored(container, alice.id)
    with pytest.raises(VerificationFailed):
        present(container, alice.id, "wrong password", factor)
    assert stored(container, alice.id) == before


def test_a_bad_password_is_not_enrolled(container):
    """Short and common ones are refused before they are hashed, at the caller's pointer."""
    for password, code in (("short", "too_short"), ("password1", "blocklisted")):
        with pytest.raises(BadInput) as refused:
            container.password.hash(password, "/new")
        assert (refused.value.faults[0].pointer, refused.value.faults[0].code) == ("/new", code)


def test_the_form_of_the_input_is_checked(container):
    """Nothing, too much, other types and half characters are bad input, and are not repeated."""
    for typed in ("", "x" * 1025, None, 7, ["x"], "canary\ud800"):
        with pytest.raises(BadInput) as refused:
            container.password.parse({"password": typed})
        assert "canary" not in repr(refused.value.faults)
    with pytest.raises(BadInput):
        container.password.prepare({"password": PASSWORD, "more": 1})


def test_too_many_hashes_at_once_are_no_failure(container, alice):
    """When every turn is taken the caller is told to come back, and nothing is decided."""
    factor = PasswordFactor(container.authenticators, Busy(), DECOY)
    with pytest.raises(Unavailable) as refused:
        factor.hash(PASSWORD)
    assert (refused.value.code, refused.value.retry_after) == ("overloaded", 1)
    with pytest.raises(Unavailable):
        present(container, alice.id, PASSWORD, factor)


def test_a_revoked_password_verifies_nothing(container, alice):
    """Its hash is forgotten with it."""
    with container.store.transaction() as tx:
        (active,) = container.authenticators.listing(tx, alice.id)
        container.authenticators.revoke(tx, alice.id, active.id)
    assert refusal(container, alice.id, PASSWORD) == "no_password"


def test_a_password_that_ended_during_the_hash_does_not_count(container, alice):
    """Replaced or revoked between check and use, it fails, and no renewed hash comes back."""
    factor = PasswordFactor(container.authenticators, PasswordHasher(concurrency=1), DECOY)
    now, material = container.clock.now(), stored(container, alice.id)
    match = factor.verify(material, Presented(PasswordInput(password=PASSWORD)), now)
    enroll(container, alice.id, "another horse battery")
    for found in (match, Match(authenticator=match.authenticator, used=None)):
        with pytest.raises(VerificationFailed), container.store.transaction() as tx:
            factor.consume(tx, found, now)
    with container.store.transaction(read=True) as tx:
        assert tx.get(AuthenticatorRow, match.authenticator).verifier == b""
    assert refusal(container, alice.id, PASSWORD) == "password_mismatch"
