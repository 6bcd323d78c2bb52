"""What evidence is worth: less with time, nothing once its authenticator is gone."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.assurance import (
    AAL1_LIFE,
    AAL2_LIFE,
    SKEW,
    Acr,
    Evidence,
    Kind,
    current_assurance,
    lasting,
    recent,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FACTORS = ("password", "totp", "recovery_code", "webauthn", "face")
EVERY = {UUID(int=number) for number in range(10)}


def shown(factor, ago=timedelta(), number=None, **flags):
    """Return evidence of an age, by the authenticator of its factor unless told otherwise."""
    authenticator = UUID(int=FACTORS.index(factor) if number is None else number)
    return Evidence(
        subject=UUID(int=99),
        flow="flow",
        factor=factor,
        authenticator=authenticator,
        kind=Kind.KNOWLEDGE,
        amr=(factor,),
        at=NOW - ago,
        **flags,
    )


SEVERAL = st.lists(
    st.builds(
        shown,
        st.sampled_from(FACTORS),
        st.timedeltas(timedelta(), timedelta(days=40)),
        st.integers(0, 9),
        user_verified=st.booleans(),
        phishing_resistant=st.booleans(),
    ),
    max_size=6,
)
ACTIVE = st.sets(st.sampled_from(sorted(EVERY)))


@pytest.mark.parametrize(
    ("password", "totp", "acr"),
    [
        (AAL2_LIFE, timedelta(), Acr.AAL2),
        (timedelta(), AAL2_LIFE, Acr.AAL2),
        (AAL2_LIFE + SECOND, timedelta(), Acr.AAL1),
        (timedelta(), AAL2_LIFE + SECOND, Acr.AAL1),
        (AAL1_LIFE, AAL1_LIFE, Acr.AAL1),
        (AAL1_LIFE + SECOND, AAL1_LIFE, Acr.AAL1),
        (AAL1_LIFE + SECOND, AAL1_LIFE + SECOND, Acr.NONE),
        (timedelta(days=147), timedelta(days=147), Acr.NONE),
    ],
)
def test_a_level_needs_all_it_rests_on_to_be_young_enough(password, totp, acr):
    """AAL2 for a day, AAL1 for thirty, to the second."""
    found = current_assurance([shown("password", password), shown("totp", totp)], NOW, EVERY)
    assert found.level.acr is acr


def test_a_bound_of_the_caller_only_shortens():
    """`max_age` beyond a level's own age changes nothing."""
    evidence = [shown("password", AAL2_LIFE + SECOND), shown("totp")]
    assert current_assurance(evidence, NOW, EVERY, 10**8).level.acr is Acr.AAL1
    assert current_assurance(evidence[1:], NOW, EVERY, 0).level.acr is Acr.AAL1
    assert current_assurance(evidence[:1], NOW, EVERY, 60).level.acr is Acr.NONE


def test_what_an_authenticator_gave_goes_with_it():
    """Whatever is left of a level rests on the rest."""
    evidence = [shown("password"), shown("totp")]
    password, totp = (item.authenticator for item in evidence)
    assert current_assurance(evidence, NOW, {password}).level.acr is Acr.AAL1
    assert current_assurance(evidence, NOW, {totp}).evidence == (evidence[1],)
    assert current_assurance(evidence, NOW, ()).level.acr is Acr.NONE


def test_an_older_piece_stands_in_for_a_fresh_one_that_is_void():
    """The code of a generator that was replaced hides no code of the one that is active."""
    evidence = [shown("password"), shown("totp", SECOND, 7), shown("totp", number=8)]
    assert current_assurance(evidence, NOW, EVERY - {UUID(int=8)}).level.acr is Acr.AAL2


def test_evidence_from_the_future_is_worth_nothing():
    """A clock that ran ahead and came back leaves no level that lasts for ever."""
    early = shown("password", -SKEW)
    assert current_assurance([early], NOW, EVERY).level.acr is Acr.AAL1
    assert current_assurance([shown("password", -SKEW - SECOND)], NOW, EVERY).level.acr is Acr.NONE


@given(SEVERAL, ACTIVE, st.timedeltas(timedelta(), timedelta(days=40)))
def test_assurance_only_falls_with_time(evidence, active, later):
    """Neither a level nor what carries it comes back by waiting."""
    now, then = (
        current_assurance(evidence, NOW, active),
        current_assurance(evidence, NOW + later, active),
    )
    assert then.level.acr <= now.level.acr
    assert set(then.evidence) <= set(now.evidence)


@given(SEVERAL, ACTIVE, ACTIVE)
def test_assurance_only_falls_with_what_is_revoked(evidence, active, revoked):
    """Fewer authenticators never carry more."""
    less = current_assurance(evidence, NOW, active - revoked)
    assert less.level.acr <= current_assurance(evidence, NOW, active).level.acr
    assert {item.authenticator for item in less.evidence} <= active - revoked


@given(SEVERAL, ACTIVE)
def test_a_level_rests_on_what_is_young_and_active(evidence, active):
    """The oldest piece is no older than the level allows, and the same again from what is kept."""
    found = current_assurance(evidence, NOW, active)
    assert current_assurance(found.evidence, NOW, active) == found
    if found.level.auth_time is None:
        assert found.level.acr is Acr.NONE
    else:
        assert NOW - found.level.auth_time <= lasting(found.level.acr)


@given(SEVERAL, st.integers(0, 10**7))
def test_what_is_recent_for_a_level_is_recent_for_a_lower_one(evidence, seconds):
    """A higher level never takes older evidence."""
    strict, loose = (recent(evidence, acr, NOW, seconds) for acr in (Acr.AAL2, Acr.AAL1))
    assert set(strict) <= set(loose) <= set(evidence)
