"""What is stored of a flow is read back equal, also where the program before wrote it."""

import json
import traceback
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.squeezing import expand, squeeze
from service.login.state import pack, unpack
from service.login.wording import WORDING
from tests.former_flows import former_state

VECTORS = Path(__file__).parents[2] / "vectors" / "login" / "flows.json"
STATES = {name: value for name, value in json.loads(VECTORS.read_text()).items() if name != "what"}
SQUEEZED = VECTORS.parent / "squeezed.json"
ID = UUID(int=3)


def read(name, revision=4):
    """Return a flow that the program before wrote."""
    return unpack(ID, revision, orjson.dumps(STATES[name]))


FULL = read("full")
PLAIN = expand(pack(FULL)[1:], WORDING, 1 << 20)


def _types(value):
    return [type(getattr(value, item.name)) for item in fields(value)]


@pytest.mark.parametrize("name", ["full", "plain"])
def test_a_former_state_is_read_whole(name):
    """Whatever it told is in the flow, with its own id and the revision of its row."""
    flow = read(name)
    assert (flow.id, flow.revision, former_state(flow)) == (ID, 4, STATES[name])


def test_the_first_form_is_read_with_what_came_later_left_empty():
    """Segments, token, readings and matches were not always there."""
    flow = read("first")
    assert (flow.terms.segments, flow.terms.token) == (("default",), None)
    assert replace(flow, terms=replace(flow.terms, segments=())) == read("plain")


@pytest.mark.parametrize("name", list(STATES))
def test_a_state_is_read_back_equal_and_of_the_same_types(name):
    """Enumerations, tuples and times come back as they were, so that no rule sees another value."""
    flow = read(name)
    again = unpack(ID, 4, pack(flow))
    assert again == flow
    assert _types(again) == _types(flow)
    assert _types(again.terms) == _types(flow.terms)
    assert [_types(item) for item in again.evidence] == [_types(item) for item in flow.evidence]


@given(
    st.datetimes(timezones=st.just(UTC)),
    st.dictionaries(st.text(), st.dictionaries(st.text(), st.floats(allow_nan=False, width=64))),
    st.dictionaries(st.text(), st.text()),
    st.lists(st.tuples(st.text(), st.booleans())),
)
def test_any_moment_number_and_text_survives(moment, readings, samples, tried):
    """To the microsecond, the last bit and every character."""
    finite = {
        name: {key: value for key, value in value.items() if abs(value) != float("inf")}
        for name, value in readings.items()
    }
    changes = {"readings": finite, "samples": samples, "tried": tuple(tried)}
    flow = replace(read("full"), began_at=moment, active_at=moment, **changes)
    assert unpack(ID, 4, pack(flow)) == flow


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"3{}",
        b"[]",
        b"1",
        b"1[]",
        b"1{}",
        b"1" + PLAIN.replace(b"step_up", b"canary"),
        b"2",
        b"2{}",
        b"2" + squeeze(PLAIN.replace(b"step_up", b"canary"), WORDING),
        pack(FULL)[:-1],
        pack(FULL) + b"x",
    ],
)
def test_a_state_of_another_form_is_refused_and_not_repeated(state):
    """One of a later program, for example, after going back to this one."""
    with pytest.raises(ValueError, match="form that this program does not know") as caught:
        unpack(ID, 1, state)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_what_is_told_of_a_flow_does_not_hold_its_secrets():
    """Its text shows neither samples nor challenges nor addresses."""
    flow = unpack(ID, 4, pack(read("full")))
    assert [it for it in ("192.0.2.1", "steps", "still", "Mozilla") if it in repr(flow)] == []
    assert datetime(2026, 11, 30, 11, 0, 0, 123456, UTC) == flow.began_at


def test_what_was_squeezed_stays_readable():
    """A state of the form before, and a frozen one of this form: its dictionary never changes."""
    assert unpack(ID, 4, b"1" + PLAIN) == FULL
    frozen = json.loads(SQUEEZED.read_text())
    assert unpack(ID, 4, bytes.fromhex(frozen["flow"])) == FULL
