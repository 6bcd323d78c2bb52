"""Ids sort by time and owners are apart; the time is in UTC and moves only when told."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from crypto.fields import OwnerKind
from service.domain import ids
from service.domain.clock import FrozenClock, SystemClock, rfc3339, unix

NOW = datetime(2026, 11, 24, 12, 0, 0, 987654, tzinfo=UTC)


def test_an_id_carries_its_millisecond():
    """An id is a UUIDv7 of its time, and no two of one moment are equal."""
    made = [ids.new_id(NOW) for _ in range(100)]
    assert len(set(made)) == 100
    assert {item.version for item in made} == {7}
    assert {item.int >> 80 for item in made} == {int(NOW.timestamp() * 1000)}


def test_ids_of_later_moments_sort_later():
    """A millisecond is enough to order two ids."""
    moments = [NOW + timedelta(milliseconds=number) for number in range(50)]
    made = [ids.new_id(moment) for moment in moments]
    assert made == sorted(made)


def test_one_id_has_one_owner_of_each_kind():
    """A subject and a client of the same id do not share keys."""
    same = UUID(int=7)
    assert ids.subject_owner(same).kind is OwnerKind.SUBJECT
    assert ids.client_owner(same).kind is OwnerKind.CLIENT
    assert ids.subject_owner(same) != ids.client_owner(same)
    assert ids.subject_owner(same).id == ids.client_owner(same).id == same


def test_the_reserved_owners_never_change():
    """Owners of the service follow from the purpose alone: rows sealed long ago still open."""
    assert ids.service_owner("index") == ids.service_owner("index")
    assert ids.service_owner("index") != ids.service_owner("purposes")
    assert str(ids.service_owner("index").id) == "1699721f-15fb-5f9b-95db-3018802a36a4"
    assert str(ids.DECOY) == "df93389d-bf02-5a7a-91fe-f107aa17bc89"


@pytest.mark.parametrize("text", ["", "x", "1234", "g" * 32, "0" * 31, "0" * 33])
def test_a_text_that_is_no_uuid_names_none(text):
    """What cannot be an id leads nowhere and raises nothing."""
    assert ids.parse_id(text) is None


def test_a_uuid_is_read_in_either_case():
    """The hexadecimal digits may be capitals."""
    wanted = ids.new_id(NOW)
    assert ids.parse_id(str(wanted)) == ids.parse_id(str(wanted).upper()) == wanted


def test_the_machine_tells_utc_and_goes_on():
    """The system clock is aware, in UTC, and not behind itself."""
    clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert first.tzinfo is UTC
    assert first <= second
    assert abs(second - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_frozen_clock_moves_only_when_told():
    """It stands still between two steps, and a step may go back."""
    clock = FrozenClock(NOW)
    assert clock.now() == clock.now() == NOW
    clock.advance(days=365, seconds=1)
    assert clock.now() == NOW + timedelta(days=365, seconds=1)
    clock.advance(days=-365, seconds=-1)
    assert clock.now() == NOW


@pytest.mark.parametrize("hours", [-11, 0, 8])
def test_a_time_prints_in_utc_to_the_second(hours):
    """Whatever its zone, a time prints with a Z and without a fraction, never rounded up."""
    there = NOW.astimezone(timezone(timedelta(hours=hours)))
    assert rfc3339(there) == "2026-11-24T12:00:00Z"
    assert unix(there) == 1795521600
