"""Signals, ids, clocks and errors."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from crypto.fields import OwnerKind
from service.domain import errors, ids
from service.domain.clock import FrozenClock, SystemClock, rfc3339, unix
from service.domain.risk import Assessment, Band, SignalFacts, assess_all

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FACTS = SignalFacts(UUID(int=1), "flow", UUID(int=2), {}, known_device=False)


class Steady:
    """A signal that always says the same."""

    name = "steady"
    worst = -3.0

    def assess(self, facts):
        return Assessment(self.name, 1.0)


class Broken(Steady):
    """A signal that fails."""

    name = "broken"

    def assess(self, facts):
        raise KeyError("nothing there")


def test_a_failing_signal_counts_as_its_worst_and_stops_nothing():
    """The others are asked all the same, and the fault is named."""
    broken, steady = assess_all((Broken(), Steady()), FACTS)
    assert (broken.llr, steady.llr) == (-3.0, 1.0)
    assert broken.reasons[0].code == "signal_fault"
    assert "KeyError" in broken.reasons[0].detail
    assert Band.CRITICAL.label == "critical"


def test_ids_are_ordered_in_time_and_owners_are_apart():
    """Later ids sort later; no two purposes or kinds share an owner."""
    assert ids.new_id(NOW) < ids.new_id(NOW + timedelta(seconds=1))
    owners = {ids.service_owner("a"), ids.service_owner("b"), ids.subject_owner(UUID(int=1)),
              ids.client_owner(UUID(int=1))}  # fmt: skip
    assert len(owners) == 4
    assert ids.service_owner("a").kind is OwnerKind.SERVICE
    assert ids.parse_id("nothing") is None
    assert ids.parse_id(str(UUID(int=7))) == UUID(int=7)


def test_clocks_tell_utc():
    """The system clock is aware; a frozen one moves when told; times print in UTC."""
    assert SystemClock().now().tzinfo is UTC
    clock = FrozenClock(NOW)
    clock.advance(seconds=30)
    assert clock.now() == NOW + timedelta(seconds=30)
    assert rfc3339(NOW.astimezone(timezone(timedelta(hours=8)))) == "2026-11-24T12:00:00Z"
    assert unix(NOW) == 1795521600


def test_errors_carry_what_http_needs_and_nothing_more():
    """Codes and details are there; the true reason of a failed check is not in its text."""
    failed = errors.VerificationFailed("totp_mismatch")
    assert "totp" not in failed.detail
    assert "totp" not in str(failed)
    assert errors.Throttled(0).retry_after == 1
    assert errors.Unavailable("away", "Away.").retry_after == 5
    assert errors.OAuthError("invalid_client", "No.", 401).status == 401
    fault = errors.Fault("/a", "b", "c")
    assert errors.BadInput(fault).faults == (fault,)
    assert errors.BadInput().detail
    with pytest.raises(errors.LaminaError):
        raise errors.Conflict("x", "y", member=1)
