"""Errors say what callers may know; values on their way to a check show no secret."""

from uuid import UUID

import pytest

from service.authenticators.factor import Match, Presented
from service.domain import errors
from service.domain.authenticator import FACTOR_OF_TYPE, TYPES, Verifier

ID = UUID(int=1)
SECRET = "canary"


@pytest.mark.parametrize(
    "kind",
    [
        errors.Malformed,
        errors.TooLarge,
        errors.Unauthorized,
        errors.Forbidden,
        errors.Denied,
        errors.NotFound,
        errors.Conflict,
        errors.Expired,
        errors.SetupError,
    ],
)
def test_a_refusal_has_a_code_and_a_sentence(kind):
    """Every expected refusal carries its code, its sentence and further members."""
    refused = kind("a_code", "A sentence.", act="enroll")
    assert isinstance(refused, errors.LaminaError)
    assert (refused.code, refused.detail, refused.extra) == (
        "a_code",
        "A sentence.",
        {"act": "enroll"},
    )
    assert str(refused) == "a_code"


def test_a_denial_is_a_kind_of_forbidden():
    """Whoever refuses the forbidden refuses the denied too."""
    assert issubclass(errors.Denied, errors.Forbidden)


def test_bad_input_speaks_with_its_first_fault():
    """The first fault gives the sentence; every fault is kept, in order."""
    faults = (errors.Fault("/a", "one", "first"), errors.Fault("/b", "two", "second"))
    refused = errors.BadInput(*faults)
    assert (refused.code, refused.detail, refused.faults) == ("invalid_input", "/a first", faults)
    assert errors.BadInput(faults[0], code="mismatch").code == "mismatch"
    assert (errors.BadInput().faults, errors.BadInput().detail) == ((), "The input is not valid.")


def test_a_failed_check_tells_its_reason_to_nobody_but_the_log():
    """Two different reasons look the same in everything a caller is shown."""
    one, other = (
        errors.VerificationFailed("password_mismatch"),
        errors.VerificationFailed("no_totp"),
    )
    assert one.reason != other.reason
    assert (one.code, one.detail, str(one), one.extra) == (
        other.code,
        other.detail,
        str(other),
        other.extra,
    )


@pytest.mark.parametrize(("asked", "told"), [(-5, 1), (0, 1), (1, 1), (3600, 3600)])
def test_a_wait_is_at_least_a_second(asked, told):
    """Nobody is told to try again at once."""
    assert errors.Throttled(asked).retry_after == told


def test_what_is_away_says_when_to_come_back():
    """A missing part has a time to wait; an OAuth refusal a status of its own."""
    assert errors.Unavailable("away", "Away.").retry_after == 5
    assert errors.Unavailable("away", "Away.", 60).retry_after == 60
    assert errors.OAuthError("invalid_request", "No.").status == 400
    assert errors.OAuthError("invalid_client", "No.", 401).status == 401


@pytest.mark.parametrize(
    "value",
    [
        Presented({"password": SECRET}, {"challenge": SECRET}),
        Match(authenticator=ID, used=None, verifier=SECRET.encode()),
        Verifier(ID, ID, "password", SECRET.encode()),
    ],
)
def test_a_value_on_its_way_to_a_check_shows_no_secret(value):
    """Logs and tracebacks print it without what it holds."""
    assert SECRET not in repr(value)
    assert SECRET not in str(value)


def test_every_type_has_the_factor_that_checks_it():
    """A set of recovery codes is checked one code at a time; the others by their own name."""
    assert set(FACTOR_OF_TYPE) == set(TYPES)
    assert FACTOR_OF_TYPE["recovery_codes"] == "recovery_code"
    assert FACTOR_OF_TYPE["password"] == "password"
