"""Somebody who is not there is checked against the decoy, and fails like somebody who is."""

import uuid

import pyotp
import pytest

from service.authenticators.factor import Presented
from service.domain.authenticator import Status
from service.domain.clock import unix
from service.domain.errors import VerificationFailed
from service.domain.ids import DECOY

UNKNOWN = uuid.UUID(int=404)
WRONG = {
    "password": {"password": "wrong password"},
    "totp": {"code": "000000"},
    "codes": {"code": "0000-0000-0000-0000"},
}


def equip(house, subject, password):
    """Give a subject every factor; return the secret of its TOTP and its codes."""
    verifier = house.password.hash(password)
    with house.store.transaction() as tx:
        house.password.enroll(tx, subject, verifier)
        _, shown = house.totp.enroll(tx, subject, "label", status=Status.ACTIVE)
        return shown["secret"], house.codes.enroll(tx, subject)[1]


@pytest.fixture
def decoy(house):
    """Equip the decoy and return its TOTP secret and codes."""
    return equip(house, DECOY, "nobody knows this one")


def load(house, name, subject):
    """Read what a check of a subject needs."""
    with house.store.transaction() as tx:
        return getattr(house, name).load(tx, subject)


def compared(house, name, subject):
    """Return whose secrets are compared with what a subject shows."""
    found = load(house, name, subject)
    return {one.subject for one in ((*found.own, *found.spare) if name == "totp" else (found,))}


def failure(house, name, subject, values):
    """Return everything that is known of a failed check."""
    material = load(house, name, subject)
    with pytest.raises(VerificationFailed) as failed:
        getattr(house, name).check(material, Presented(values), house.clock.now())
    return failed.value.code, failed.value.detail, failed.value.reason


def totp_values(house, secret):
    """Return a wrong code, sure to be none of the acceptable ones."""
    center = unix(house.clock.now()) // 30
    taken = {pyotp.TOTP(secret).generate_otp(center + delta) for delta in (-1, 0, 1)}
    return {"code": next(f"{number:06}" for number in range(4) if f"{number:06}" not in taken)}


def test_an_unknown_subject_gets_the_decoys_verifier(house, decoy):
    """There is always something to compare with, and it is never anybody else's."""
    house.register(username="alice")
    for name in ("password", "totp"):
        assert compared(house, name, UNKNOWN) == {DECOY}
    authenticator, codes = load(house, "codes", UNKNOWN)
    assert authenticator == load(house, "codes", DECOY)[0]
    assert len(codes) == 10


def test_a_subject_without_a_factor_gets_the_decoys_too(house, decoy):
    """Whether somebody has enrolled a factor is not told by the check."""
    alice = house.register(username="alice")
    for name in ("password", "totp"):
        assert compared(house, name, alice.id) == {DECOY}
    with house.store.transaction() as tx:
        assert house.authenticators.enrolled(tx, alice.id) == frozenset()


def test_a_subject_with_a_factor_gets_its_own(house, decoy):
    """The decoy stands in for nobody who is there."""
    alice = house.register(username="alice")
    equip(house, alice.id, "correct horse battery staple")
    assert load(house, "password", alice.id).subject == alice.id
    assert [one.subject for one in load(house, "totp", alice.id).own] == [alice.id]
    assert load(house, "codes", alice.id)[0] != load(house, "codes", DECOY)[0]


def test_unknown_and_known_fail_in_the_same_way(house, decoy):
    """Code, sentence and even the reason in the log are the same for all three."""
    alice, bare = house.register(username="alice"), house.register(username="bob")
    secret, _ = equip(house, alice.id, "correct horse battery staple")
    for name in ("password", "codes"):
        failures = {
            failure(house, name, subject, WRONG[name]) for subject in (alice.id, bare.id, UNKNOWN)
        }
        assert len(failures) == 1, name
    assert (
        failure(house, "totp", alice.id, totp_values(house, secret))
        == failure(house, "totp", UNKNOWN, totp_values(house, decoy[0]))
        == failure(house, "totp", bare.id, totp_values(house, decoy[0]))
    )


def test_one_subjects_secret_does_not_open_an_unknown_one(house, decoy):
    """The right password of somebody is wrong for somebody who is not there."""
    alice = house.register(username="alice")
    password = "correct horse battery staple"
    secret, codes = equip(house, alice.id, password)
    assert failure(house, "password", UNKNOWN, {"password": password})[2] == "password_mismatch"
    assert failure(house, "codes", UNKNOWN, {"code": codes[0]})[2] == "recovery_code_mismatch"
    assert load(house, "totp", UNKNOWN).own == ()
    for one in (*load(house, "totp", UNKNOWN).spare, *load(house, "totp", alice.id).spare):
        assert secret.encode() not in one.secret


def test_without_a_decoy_an_unknown_subject_fails_all_the_same(house):
    """Where the decoy has no factor, there is nothing to compare with and nothing verifies."""
    for name, values in WRONG.items():
        code, _, reason = failure(house, name, UNKNOWN, values)
        assert code == "verification_failed"
        assert reason in {"no_password", "no_totp", "recovery_code_mismatch"}


def test_nobody_finds_the_decoy(house, decoy):
    """No identifier leads to it, and it has no name to show."""
    with house.store.transaction() as tx:
        for typed in ("", "decoy", str(DECOY), "@", "+"):
            assert house.accounts.find(tx, typed).account is None


def test_what_matches_the_decoy_counts_for_nobody_else(house, decoy):
    """Its secret fills up what is compared, and opens no account that is somebody's."""
    alice = house.register(username="alice")
    equip(house, alice.id, "correct horse battery staple")
    for subject in (alice.id, DECOY):
        assert [len(part) for part in load(house, "totp", subject)] == [1, 2]
    typed = pyotp.TOTP(decoy[0]).generate_otp(unix(house.clock.now()) // 30)
    for subject in (alice.id, UNKNOWN):
        assert failure(house, "totp", subject, {"code": typed})[2] == "totp_mismatch"
