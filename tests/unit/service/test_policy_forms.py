"""The forms of a policy document: canonical, malformed, generated."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import BadInput
from service.policy.actions.parsing import parse, shipped
from service.policy.model import document, parser
from service.policy.model.compiler import compile_document, require_satisfiable
from tests.policies import Policy
from tests.unit.service.documents import (
    NOW_REGISTERED,
    ROOT,
    compiled,
    value,
)


def test_yaml_and_json_have_one_canonical_form():
    """The version is the hash of what is said, not of how it is written."""
    text = json.dumps(value(), indent=3)
    yaml = """
format: 1
name: test
bands: {critical: -7.0, elevated: -2.0, high: -4.0}
segments:
  default:
    recovery: {layers: [[recovery_code]], acr: "urn:lamina:acr:aal1"}
    login: {acr: "urn:lamina:acr:aal2", layers: [[password], [totp, recovery_code]]}
    step_up: {acr: "urn:lamina:acr:aal2"}
    enrollment: {acr: highest}
"""
    versions = {parser.version_of(parse(source)) for source in (text, yaml)}
    assert len(versions) == 1
    assert parser.version_of(parse(parser.canonical(parse(yaml)).decode())) in versions


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"format": NaN}',
        '{"format": 1, "format": 1}',
        "a: 1\na: 2",
        "a: &x 1\nb: *x",
        "a: [",
        "a: 2020-01-01",
        "x" * 300_000,
        "- a",
        "'",
        "\x00",
        "a: !!python/name:os.system",
        "[" * 2000,
        "a: .nan",
        "1: 2",
        '{"a": ' * 3000,
    ],
)
def test_what_is_no_document_is_refused(text):
    """Malformed, ambiguous, bomb-like and foreign texts are bad input and nothing else."""
    with pytest.raises(BadInput):
        parse(text)


def test_the_shipped_policy_is_the_one_of_its_schema():
    """The JSON Schema names every member of the shipped document, and its conditions."""
    schema = document.schema()
    assert schema["$schema"].endswith("2020-12/schema")
    assert set(shipped().model_dump(exclude_unset=True)) <= set(schema["properties"])
    assert "oneOf" in schema["$defs"]["Rule"]["properties"]["when"]
    segment = schema["$defs"]["Segment"]
    assert "deprecated" not in segment["properties"]["cooldown_hours"]
    assert segment["properties"]["young_hours"]["deprecated"] is True
    assert segment["not"] == {"required": ["cooldown_hours", "young_hours"]}
    require_satisfiable(compile_document(shipped()), NOW_REGISTERED)
    assert len(Policy.shipped().whole.version) == 64


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["password", "totp", "default", "highest", "psd2", "deferred"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=6)
            | st.sampled_from(
                [
                    "all",
                    "any",
                    "not",
                    "field",
                    "op",
                    "value",
                    "when",
                    "then",
                    "id",
                    "layers",
                    "acr",
                    "extends",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(st.data(), JSON)
def test_any_value_anywhere_is_taken_whole_or_refused(data, strange):
    """Whatever stands in the place of a member, a document compiles or is bad input."""
    whole = json.loads(
        parser.canonical(parse((ROOT / "docs" / "policies" / "bank-psd2.yaml").read_text("utf-8")))
    )
    place = whole
    while True:
        key = data.draw(
            st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))
        )
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = strange
    faults = refused(whole)
    assert all(fault.pointer[:1] in {"", "/"} and fault.detail for fault in faults)


def refused(whole):
    """Return the faults of a document, none where it is taken."""
    try:
        require_satisfiable(compile_document(parser.read(whole)), NOW_REGISTERED)
    except BadInput as error:
        return error.faults
    return ()


@pytest.mark.parametrize(
    ("face", "pointer"),
    [
        ({"liveness": "strict"}, "/segments/default/face/liveness"),
        ({"liveness": None}, "/segments/default/face/liveness"),
        ({}, "/segments/default/face/liveness"),
        ({"liveness": "off", "threshold": 0.9}, "/segments/default/face"),
        ("active", "/segments/default/face"),
    ],
)
def test_what_a_face_is_asked_for_is_one_of_three_words(face, pointer):
    """Anything else is refused at its place, a threshold too: that is no matter of policy."""
    with pytest.raises(BadInput) as refused:
        parser.read(value(face=face))
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_liveness_is_inherited_and_may_be_unsaid():
    """A segment that says nothing takes its parent's; without one, none is said."""
    document = value(face={"liveness": "passive"})
    document["segments"] |= {
        "child": {"extends": "default"},
        "grandchild": {"extends": "child", "face": {"liveness": "active"}},
    }
    whole = compile_document(parser.read(document))
    found = [whole.segment(name).liveness for name in ("default", "child", "grandchild", "other")]
    assert found == ["passive", "passive", "active", "passive"]
    assert compiled().segment("default").liveness == ""
