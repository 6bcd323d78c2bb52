"""Callers, facts and decisions are values whose defaults grant nothing."""

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from uuid import UUID

import pytest

from service.domain.assurance import Acr
from service.domain.caller import Caller
from service.policy.model.decision import Decision, Effect, Facts
from service.risk.model import Band

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_a_caller_has_no_right_that_it_was_not_given():
    """By default a caller is not first-party, vouches for no context and serves one segment."""
    caller = Caller(client=UUID(int=1), scopes=frozenset())
    assert (caller.first_party, caller.asserts_context) == (False, False)
    assert caller.segments == ("default",)
    with pytest.raises(FrozenInstanceError):
        caller.first_party = True


def test_a_decision_is_final():
    """A decision cannot be changed after it was made, and asks for nothing that is not named."""
    made = Decision(
        effect=Effect.REQUIRE,
        required=Acr.AAL2,
        layers=(("totp",),),
        band=Band.LOW,
        reasons=(),
        policy_version="1",
    )
    assert made.obligations == ()
    with pytest.raises(FrozenInstanceError):
        made.effect = Effect.ALLOW


def test_a_subject_is_suspended_only_when_the_facts_say_so():
    """Facts carry what a policy may look at; suspension is said explicitly."""
    facts = Facts(
        purpose="login",
        segment="default",
        evidence=(),
        enrolled=frozenset(),
        assessments=(),
        requested=Acr.AAL1,
        max_age=None,
        now=NOW,
    )
    assert not facts.suspended
    assert [effect.value for effect in Effect] == ["allow", "require", "deny", "suspend"]
