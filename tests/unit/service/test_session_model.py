"""How long a session lasts: as long as the evidence it rests on, however often it is raised."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.domain.assurance import AAL1_LIFE, current_assurance, lasting
from service.sessions.model import AAL2_IDLE, ends, idle
from tests.unit.domain.test_current_assurance import ACTIVE, EVERY, NOW, SECOND, SEVERAL, shown


@given(SEVERAL, ACTIVE, st.lists(st.timedeltas(SECOND, timedelta(hours=20)), max_size=8))
def test_raising_again_and_again_makes_no_session_longer(evidence, active, waits):
    """A chain of sessions, each begun on what is left of the one before, ends with its evidence."""
    now, found = NOW, current_assurance(evidence, NOW, active)
    first = ends(found.level, NOW)
    kept = found
    for wait in waits:
        now += wait
        found = current_assurance(kept.evidence, now, active)
        if now >= ends(kept.level, now) or found.level.acr < kept.level.acr:
            return
        assert ends(found.level, now) <= first
        kept = found


def test_nothing_ends_at_once():
    """A session without a level is over as it begins."""
    assert ends(current_assurance([], NOW, EVERY).level, NOW) == NOW


def test_the_policy_shortens_idling():
    """An hour at AAL2; at AAL1 as long as it lasts."""
    strong = current_assurance([shown("password"), shown("totp")], NOW, EVERY).level
    weak = current_assurance([shown("password")], NOW, EVERY).level
    assert (idle(strong), idle(weak)) == (AAL2_IDLE, AAL1_LIFE)
    assert idle(strong, timedelta(days=1)) == AAL2_IDLE
    assert idle(weak, timedelta(minutes=5)) == timedelta(minutes=5)


@given(SEVERAL, ACTIVE)
def test_a_session_ends_with_what_it_rests_on(evidence, active):
    """It is over no later than its level lasts, and not before now."""
    level = current_assurance(evidence, NOW, active).level
    assert NOW <= ends(level, NOW) <= NOW + lasting(level.acr)
