"""Which time step a code belongs to (RFC 6238)."""

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.factors.totp.model import (
    LARGEST_OFFSET,
    PERIOD,
    CodeForm,
    MatchedStep,
    clean,
    match,
    next_in,
    shown_issuer,
)

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
NOW = 1_795_521_600
CENTER = NOW // PERIOD


def code(step):
    """Return the code of a step, counted from now."""
    return pyotp.TOTP(SECRET).generate_otp(CENTER + step)


def test_the_vectors_of_the_rfc_match():
    """The secret of RFC 6238 gives the last six digits of its test values."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    for moment, digits in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
        found = match(secret, code=digits, unix_now=moment, offset=0)
        assert found == MatchedStep(moment // 30, moment // 30 + 1, 0)


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_the_step_of_now_and_its_neighbors_match(delta):
    """The step that matched is told, with the newest acceptable one and the drift."""
    assert match(SECRET, code=code(delta), unix_now=NOW, offset=0) == MatchedStep(
        CENTER + delta, CENTER + 1, delta
    )


@pytest.mark.parametrize("delta", [-100, -3, -2, 2, 3, 100])
def test_other_steps_do_not_match(delta):
    """One step to either side is all a clock may be off before anything was learned."""
    assert match(SECRET, code=code(delta), unix_now=NOW, offset=0) is None


@pytest.mark.parametrize("second", [0, 1, 29])
def test_a_step_lasts_thirty_seconds(second):
    """Every second of a step gives the same answer, and the next one belongs to the next step."""
    assert match(SECRET, code=code(0), unix_now=NOW + second, offset=0) == MatchedStep(
        CENTER, CENTER + 1, 0
    )
    assert match(SECRET, code=code(0), unix_now=NOW + 30, offset=0) == MatchedStep(
        CENTER, CENTER + 2, -1
    )


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 2])
def test_the_window_moves_with_the_learned_offset(offset):
    """Around a learned offset the same three steps match and no other."""
    found = {
        delta
        for delta in range(-6, 7)
        if match(SECRET, code=code(delta), unix_now=NOW, offset=offset)
    }
    assert found == {offset - 1, offset, offset + 1}
    assert match(SECRET, code=code(offset), unix_now=NOW, offset=offset) == MatchedStep(
        CENTER + offset, CENTER + offset + 1, offset
    )


def test_the_offset_is_never_learned_beyond_two_steps():
    """At the edge the code still matches, and the offset stays at two."""
    assert (
        match(SECRET, code=code(3), unix_now=NOW, offset=LARGEST_OFFSET).offset
        == LARGEST_OFFSET
        == 2
    )
    assert (
        match(SECRET, code=code(-3), unix_now=NOW, offset=-LARGEST_OFFSET).offset == -LARGEST_OFFSET
    )
    assert match(SECRET, code=code(4), unix_now=NOW, offset=LARGEST_OFFSET) is None
    assert match(SECRET, code=code(-4), unix_now=NOW, offset=-LARGEST_OFFSET) is None


@pytest.mark.parametrize("separator", [" ", "  ", "\t", "\n", "\u00a0", "\u2009"])
def test_spaces_do_not_matter(separator):
    """Spaces that people and apps put in give the same step as the bare code."""
    digits = code(0)
    spaced = f"{separator}{digits[:3]}{separator}{digits[3:]}{separator}"
    assert clean(spaced) == digits
    assert match(SECRET, code=spaced, unix_now=NOW, offset=0) == match(
        SECRET, code=digits, unix_now=NOW, offset=0
    )


@pytest.mark.parametrize("change", ["", "12345", "1234567", "abcdef", "\uff11\uff12\uff13456"])
def test_what_is_no_code_of_six_digits_does_not_match(change):
    """Nothing, too few, too many, letters and full-width digits match no step."""
    assert match(SECRET, code=change, unix_now=NOW, offset=0) is None


def test_every_digit_counts():
    """A code that differs in one place does not match."""
    digits = code(0)
    neighbors = {code(delta) for delta in (-1, 0, 1)}
    for place in range(6):
        other = str((int(digits[place]) + 1) % 10)
        changed = digits[:place] + other + digits[place + 1 :]
        assert changed in neighbors or match(SECRET, code=changed, unix_now=NOW, offset=0) is None


@pytest.mark.parametrize("digits", [6, 7, 8])
@pytest.mark.parametrize("period", [30, 45, 60])
def test_codes_of_any_form_match_their_own_step_only(digits, period):
    """Each form has its steps, and a code of another length is none."""
    form = CodeForm(digits, period)
    totp, center = pyotp.TOTP(SECRET, digits=digits, interval=period), NOW // period
    for delta in (-1, 0, 1):
        found = match(
            SECRET, code=totp.generate_otp(center + delta), unix_now=NOW, offset=0, form=form
        )
        assert found == MatchedStep(center + delta, center + 1, delta, period)
    assert (
        match(SECRET, code=totp.generate_otp(center + 2), unix_now=NOW, offset=0, form=form) is None
    )
    other = pyotp.TOTP(SECRET, digits=6 + (digits - 5) % 3, interval=period)
    assert match(SECRET, code=other.generate_otp(center), unix_now=NOW, offset=0, form=form) is None


@given(st.integers(30, 60), st.integers(0, 10**9))
def test_steps_are_stored_in_their_order_and_by_their_beginning(period, number):
    """No two steps have one number, whatever the period, and one age holds for all."""
    step = MatchedStep(number, number + 1, 0, period)
    assert step.stored < step.newest_stored
    assert step.stored * 30 <= number * period < (step.stored + 1) * 30
    if period == 30:
        assert (step.stored, step.newest_stored) == (number, number + 1)


@given(st.integers(30, 60), st.integers(10**6, 10**9), st.integers(0, 59), st.integers(-1, 1))
def test_the_wait_for_the_next_code_ends_as_it_is_shown(period, number, second, delta):
    """After it the code of the first unused step is on the screen, and not a second before."""
    now = number * period + second % period
    matched = MatchedStep(number + delta, number + 1, 0, period)
    left = next_in(matched, matched.stored, now)
    assert (now + left) // period == max(number, number + delta + 1)
    assert left == 0 or (now + left - 1) // period < number + delta + 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Lamina", "Lamina"), ("a: b", "a- b"), ("x" * 40, "x" * 32), (" y ", "y")],
)
def test_the_issuer_fits_into_the_label(name, shown):
    """Without the colon that parts it from the account, and no longer than a picture holds."""
    assert shown_issuer(name) == shown
