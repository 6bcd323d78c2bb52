"""What is no JSON value is refused with its place, in YAML and JSON alike."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import BadInput
from service.policy.actions.parsing import parse
from service.policy.model.parser import canonical, read, version_of
from tests.unit.service.documents import leaf, ruled, value


def with_value(number):
    return value(**ruled({"deny": True}, leaf("hour", "gt", number)))


@pytest.mark.parametrize("number", [2**53, -(2**53), 10**30, 2**70])
def test_a_number_that_json_does_not_carry_is_refused(number):
    """Its pointer is named; the greatest that is carried is taken."""
    with pytest.raises(BadInput) as refused:
        read(with_value(number))
    (fault,) = refused.value.faults
    assert (fault.pointer, fault.code) == (
        "/segments/default/rules/0/when/value",
        "number_out_of_range",
    )
    document = read(with_value(2**53 - 1))
    assert canonical(document)
    assert version_of(document)


HEAD = "format: 1\nname: t\nbands: {elevated: -2, high: -4, critical: -7}\n"
ODD = (
    "1: x",
    "? [a]\n: b",
    "? {a: 1}\n: b",
    "true: x",
    "null: x",
    "1.5: x",
    "2026-01-01: x",
    "a: !!binary aGk=",
    "a: !!set {x}",
    "a: !!timestamp 2026-01-01",
    "a: !!omap [x: 1]",
    "a: !!python/none ''",
    "a: .inf",
    "a: .nan",
    "a: 1e999",
    "a: !!float .inf",
    'a: "\\ud800"',
    "a: 99999999999999999999",
    "<<: {a: 1}",
    "a: 190:20:30",
    "a: 190:20:30.15",
    "a: 0o17",
    "a: 1_000",
    "a: =",
    "a: !!int 12:30",
    "a: !!int x",
    "a: !!bool maybe",
    "a: !!float 1:2",
)


@pytest.mark.parametrize("line", ODD)
@pytest.mark.parametrize(
    "place", ["{}", "segments:\n  {}", "segments: {{default: {{login: [{}]}}}}"]
)
def test_odd_yaml_is_bad_input(line, place):
    """Names that are no text, dates, base 60, binary, infinity: each is refused and named."""
    body = line if place == "{}" else line.replace("\n", "\n  ")
    with pytest.raises(BadInput):
        parse(HEAD + place.format(body))


@pytest.mark.parametrize("text", ["12:30", "190:20:30", "2026-11-01", "yes", "off", "0x1f", "1_0"])
def test_yaml_reads_as_json_would(text):
    """What YAML 1.1 turns into numbers, dates or flags is text here."""
    segments = json.dumps(value()["segments"])
    assert parse(f"{HEAD}description: {text}\nsegments: {segments}").description == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_any_value_in_a_condition_is_decided_or_refused(found):
    """Whatever stands there, the answer is a document with a version, or BadInput."""
    try:
        document = read(with_value(found))
    except BadInput:
        return
    assert len(version_of(document)) == 64
