"""Somebody who is not there is checked against the decoy, and fails like somebody who is."""

import uuid

import pyotp
import pytest
from sqlalchemy import event

from crypto.envelope import DataKey
from service.authenticators.factor import Presented
from service.domain.authenticator import Status
from service.domain.clock import unix
from service.domain.errors import VerificationFailed
from service.domain.ids import DECOY
from service.factors.recovery_codes.actions import RecoveryCodeInput
from service.store import authentic

UNKNOWN = uuid.UUID(int=404)
WRONG = {
    "password": {"password": "wrong password"},
    "totp": {"code": "000000"},
    "codes": {"code": "0000-0000-0000-0000"},
}


def equip(container, subject, password):
    """Give a subject every factor; return the secret of its TOTP and its codes."""
    verifier = container.password.hash(password)
    with container.store.transaction() as tx:
        container.password.enroll(tx, subject, verifier)
        _, shown = container.totp.enroll(tx, subject, "label", status=Status.ACTIVE)
        return shown["secret"], container.codes.enroll(tx, subject)[1]


@pytest.fixture
def decoy(container):
    """Equip the decoy and return its TOTP secret and codes."""
    return equip(container, DECOY, "nobody knows this one")


def load(container, name, subject):
    """Read what a check of a subject needs."""
    with container.store.transaction() as tx:
        return getattr(container, name).load(tx, subject)


def compared(container, name, subject):
    """Return whose secrets are compared with what a subject shows."""
    found = load(container, name, subject)
    return {one.subject for one in ((*found.own, *found.spare) if name == "totp" else (found,))}


def failure(container, name, subject, values):
    """Return everything that is known of a failed check."""
    material = load(container, name, subject)
    with pytest.raises(VerificationFailed) as failed:
        factor = getattr(container, name)
        factor.verify(material, Presented(factor.parse(values)), container.clock.now())
    return failed.value.code, failed.value.detail, failed.value.reason


def totp_values(container, secret):
    """Return a wrong code, sure to be none of the acceptable ones."""
    center = unix(container.clock.now()) // 30
    taken = {pyotp.TOTP(secret).generate_otp(center + delta) for delta in (-1, 0, 1)}
    return {"code": next(f"{number:06}" for number in range(4) if f"{number:06}" not in taken)}


def test_an_unknown_subject_gets_the_decoys_verifier(container, decoy):
    """There is always something to compare with, and it is never anybody else's."""
    container.register(username="alice")
    for name in ("password", "totp"):
        assert compared(container, name, UNKNOWN) == {DECOY}
    authenticator, codes = load(container, "codes", UNKNOWN)
    assert authenticator == load(container, "codes", DECOY)[0]
    assert len(codes) == 10


def test_a_subject_without_a_factor_gets_the_decoys_too(container, decoy):
    """Whether somebody has enrolled a factor is not told by the check."""
    alice = container.register(username="alice")
    for name in ("password", "totp"):
        assert compared(container, name, alice.id) == {DECOY}
    with container.store.transaction() as tx:
        assert container.authenticators.enrolled(tx, alice.id) == frozenset()


def test_a_subject_with_a_factor_gets_its_own(container, decoy):
    """The decoy stands in for nobody who is there."""
    alice = container.register(username="alice")
    equip(container, alice.id, "correct horse battery staple")
    assert load(container, "password", alice.id).subject == alice.id
    assert [one.subject for one in load(container, "totp", alice.id).own] == [alice.id]
    assert load(container, "codes", alice.id)[0] != load(container, "codes", DECOY)[0]


def test_unknown_and_known_fail_in_the_same_way(container, decoy):
    """Code, sentence and even the reason in the log are the same for all three."""
    alice, bare = container.register(username="alice"), container.register(username="bob")
    secret, _ = equip(container, alice.id, "correct horse battery staple")
    for name in ("password", "codes"):
        failures = {
            failure(container, name, subject, WRONG[name])
            for subject in (alice.id, bare.id, UNKNOWN)
        }
        assert len(failures) == 1, name
    assert (
        failure(container, "totp", alice.id, totp_values(container, secret))
        == failure(container, "totp", UNKNOWN, totp_values(container, decoy[0]))
        == failure(container, "totp", bare.id, totp_values(container, decoy[0]))
    )


def test_one_subjects_secret_does_not_open_an_unknown_one(container, decoy):
    """The right password of somebody is wrong for somebody who is not there."""
    alice = container.register(username="alice")
    password = "correct horse battery staple"
    secret, codes = equip(container, alice.id, password)
    assert failure(container, "password", UNKNOWN, {"password": password})[2] == "password_mismatch"
    assert failure(container, "codes", UNKNOWN, {"code": codes[0]})[2] == "recovery_code_mismatch"
    assert load(container, "totp", UNKNOWN).own == ()
    for one in (*load(container, "totp", UNKNOWN).spare, *load(container, "totp", alice.id).spare):
        assert secret.encode() not in one.secret


def test_without_a_decoy_an_unknown_subject_fails_all_the_same(container):
    """Where the decoy has no factor, there is nothing to compare with and nothing verifies."""
    for name, values in WRONG.items():
        code, _, reason = failure(container, name, UNKNOWN, values)
        assert code == "verification_failed"
        assert reason in {"no_password", "no_totp", "recovery_code_mismatch"}


def test_nobody_finds_the_decoy(container, decoy):
    """No identifier leads to it, and it has no name to show."""
    with container.store.transaction() as tx:
        for typed in ("", "decoy", str(DECOY), "@", "+"):
            assert container.accounts.find(tx, typed).account is None


def test_what_matches_the_decoy_counts_for_nobody_else(container, decoy):
    """Its secret fills up what is compared, and opens no account that is somebody's."""
    alice = container.register(username="alice")
    equip(container, alice.id, "correct horse battery staple")
    for subject in (alice.id, DECOY):
        assert [len(part) for part in load(container, "totp", subject)] == [1, 2]
    typed = pyotp.TOTP(decoy[0]).generate_otp(unix(container.clock.now()) // 30)
    for subject in (alice.id, UNKNOWN):
        assert failure(container, "totp", subject, {"code": typed})[2] == "totp_mismatch"


@pytest.mark.parametrize(("set_to", "used"), [(10, 0), (10, 3), (10, 10), (5, 0), (5, 2)])
def test_as_many_codes_cost_the_same_however_few_are_left(
    container, decoy, monkeypatch, set_to, used
):
    """Cells opened, MACs checked and statements are those of an unknown subject and a full set."""
    alice = container.register(username="alice")
    with container.store.transaction() as tx:
        codes = container.codes.enroll(tx, alice.id, set_to)[1]
    for code in codes[:used]:
        with container.store.transaction() as tx:
            values, now = Presented(RecoveryCodeInput(code=code)), container.clock.now()
            match = container.codes.verify(container.codes.load(tx, alice.id), values, now)
            container.codes.consume(tx, match, now)
    done = []
    for home, name in ((DataKey, "open"), (DataKey, "open_cell"), (authentic, "_object_holds")):
        inner = getattr(home, name)

        def counted(*given, inner=inner):
            done.append(inner.__name__)
            return inner(*given)

        monkeypatch.setattr(home, name, counted)
    event.listen(
        container.store.engine, "before_cursor_execute", lambda *_: done.append("statement")
    )
    counts = []
    for subject in (alice.id, UNKNOWN):
        done.clear()
        (_, left) = load(container, "codes", subject)
        opened = done.count("open") + done.count("open_cell")
        counts.append((opened, done.count("_object_holds"), done.count("statement")))
    assert (counts[0], len(left)) == (counts[1], 10)
    assert counts[0][:2] == (10, 10)
    assert len(load(container, "codes", alice.id)[1]) == set_to - used
