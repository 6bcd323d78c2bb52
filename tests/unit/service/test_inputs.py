"""Validated input: every fault has its place, and none repeats what came in."""

from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field

from service.domain.errors import BadInput
from service.domain.validation import parse, pointer


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = Field(ge=1)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=5)
    items: list[Inner] = []


def faults(values, at=""):
    """Return the faults of an input."""
    with pytest.raises(BadInput) as refused:
        parse(Outer, values, at)
    return refused.value.faults


def test_valid_input_is_the_model():
    """What is as it must be comes back as a value."""
    assert parse(Outer, {"name": "a", "items": [{"size": 2}]}).items[0].size == 2


def test_each_fault_points_at_its_place():
    """Missing, unknown and wrong members are all told at once, each with its pointer."""
    found = faults({"items": [{"size": 1}, {"size": 0, "a/b~c": 1}], "other": 1})
    assert {(fault.pointer, fault.code) for fault in found} == {
        ("/name", "missing"),
        ("/items/1/size", "greater_than_equal"),
        ("/items/1", "extra_forbidden"),
        ("", "extra_forbidden"),
    }


def test_pointers_start_where_the_input_was():
    """An input inside a request keeps its place in the request."""
    assert {fault.pointer for fault in faults({}, "/body")} == {"/body/name"}
    assert pointer(("a", 0, "~/")) == "/a/0/~0~1"


@pytest.mark.parametrize("values", [None, [], "text", 1, [("name", "a")]])
def test_what_is_no_object_is_refused(values):
    """Input is a JSON object and nothing else."""
    (fault,) = faults(values, "/body")
    assert (fault.pointer, fault.code) == ("/body", "object_type")


def test_no_fault_repeats_a_value():
    """What came in is in no fault."""
    assert "canary" not in repr(faults({"name": "canary-canary", "items": "canary"}))


def test_no_fault_repeats_a_name_that_a_caller_made_up():
    """Neither of a member nor of an entry; the place above it is named."""

    class Named(BaseModel):
        model_config = ConfigDict(extra="forbid")

        known: dict[Annotated[str, Field(max_length=20)], Annotated[str, Field(max_length=3)]] = {}
        deep: dict[str, Outer] = {}

    wrong = {"canary": 1, "known": {"canary": "long", "canary" * 9: "a"}, "name": 1}
    wrong["deep"] = {"canary": {"canary": 1, "items": [{"canary": 1}]}}
    with pytest.raises(BadInput) as refused:
        parse(Named, wrong)
    told = refused.value.faults
    assert "canary" not in repr(told) + refused.value.detail
    assert {fault.pointer for fault in told} == {"", "/known", "/deep"}


def test_there_are_twenty_faults_at_most():
    """An answer does not grow with the number of things that are wrong."""
    assert len(faults({f"n{number}": 1 for number in range(1000)})) == 20
