"""JSON bodies: one meaning or none."""

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain.errors import BadInput, Malformed
from service.web.strict_json import DEEPEST, loads


def refusal(body):
    """Return the detail of the refusal of a body."""
    with pytest.raises(Malformed) as refused:
        loads(body)
    assert refused.value.code == "malformed_json"
    return refused.value.detail


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b' {"a": [1, -2.5, true, null, "x"]} ', {"a": [1, -2.5, True, None, "x"]}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        ("\u00e9".join('""').encode(), "\u00e9"),
        (b"1e308", 1e308),
        (b"1e-400", 0.0),
        (b'{"a": {"b": 1}, "b": {"a": 1}}', {"a": {"b": 1}, "b": {"a": 1}}),
    ],
)
def test_json_gives_its_value(body, value):
    """What RFC 8259 allows and everyone reads alike is taken."""
    assert loads(body) == value


@pytest.mark.parametrize(
    "body", [b"", b"   ", b"{", b"[1,]", b"{'a': 1}", b"nul", b"01", b"{} {}", b'"\x01"', b"+1"]
)
def test_what_is_no_json_is_refused_with_its_place(body):
    """The detail gives line and column, never the text."""
    assert "at line 1, column " in refusal(body)


@pytest.mark.parametrize("body", [b"NaN", b"Infinity", b"-Infinity", b'{"a": [NaN]}'])
def test_constants_that_are_no_json_are_refused(body):
    """NaN and Infinity are Python's and not JSON's."""
    assert "not JSON" in refusal(body)


@pytest.mark.parametrize("body", [b"1e400", b"-1e400", b"[1e999]", b"1" + b"0" * 400 + b".0"])
def test_a_number_beyond_doubles_is_refused(body):
    """No number becomes infinite on its way in."""
    assert "too large" in refusal(body)


@pytest.mark.parametrize(
    "body", [b"9" * 100_000, b"1" + b"0" * 400, str(2**63).encode(), str(-(2**63) - 1).encode()]
)
def test_a_whole_number_beyond_64_bits_is_refused(body):
    """Nothing here counts so far, and what would do so costs no time."""
    with pytest.raises(BadInput) as refused:
        loads(b'{"a": [' + body + b"]}")
    (fault,) = refused.value.faults
    assert (fault.code, fault.pointer) == ("number_out_of_range", "")
    assert loads(b"[9223372036854775807, -9223372036854775808]") == [2**63 - 1, -(2**63)]


@pytest.mark.parametrize(
    "body", [b'{"a": 1, "a": 1}', b'[{"b": {"a": 1, "\\u0061": 2}}]', b'{"": 0, "": 0}']
)
def test_a_member_that_is_named_twice_is_refused(body):
    """Two parsers cannot be made to read two different values, however the name is spelled."""
    assert "twice" in refusal(body)


@pytest.mark.parametrize(
    "body", [b'"\\ud800"', b'"\\udc00\\ud800"', b'{"\\udfff": 1}', b'["a", ["\\ud800x"]]']
)
def test_a_lone_surrogate_is_refused(body):
    """Half a character cannot be written again, neither as a value nor as a name."""
    assert "UTF-8" in refusal(body)


@pytest.mark.parametrize("body", [b"\xff", b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf5"', b'"\xe2"'])
def test_bytes_that_are_no_utf8_are_refused(body):
    """Overlong forms, encoded surrogates and cut characters are no text."""
    assert "UTF-8" in refusal(body)


def test_a_byte_order_mark_is_refused():
    """RFC 8259 forbids to add one."""
    assert "BOM" in refusal(b"\xef\xbb\xbf{}")


@pytest.mark.parametrize("body", [b'"a\\u0000"', b'{"\\u0000": 1}', b'[["\\u0000"]]'])
def test_a_nul_is_refused(body):
    """PostgreSQL stores no NUL, so it does not come in."""
    assert "NUL" in refusal(body)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_a_bottomless_body_is_refused(opening):
    """Thousands of levels are refused as calmly as one too many, and more as too many values."""
    assert f"deeper than {DEEPEST}" in refusal(opening * 1500)
    assert "more than" in refusal(opening * 100_000)
    closing = {b"[": b"]", b'{"a":': b"}", b'[{"a":': b"}]"}[opening]
    assert f"deeper than {DEEPEST}" in refusal(opening * 50 + b"1" + closing * 50)


def test_the_deepest_value_is_taken_and_one_deeper_is_not():
    """A value may be inside 32 arrays and not inside 33."""
    assert loads(b"[" * DEEPEST + b"1" + b"]" * DEEPEST)
    assert "deeper" in refusal(b"[" * (DEEPEST + 1) + b"1" + b"]" * (DEEPEST + 1))


def test_the_detail_never_repeats_the_body():
    """What was sent is in no refusal."""
    for body in (b'{"canary": 1, "canary": 2}', b'"canary', b'["canary\\u0000"]', b"canary"):
        assert "canary" not in refusal(body)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(values)
def test_ordinary_json_comes_back(value):
    """Whatever is written as JSON is read back as it was."""
    assert loads(json.dumps(value).encode()) == value


json_like = st.text('[]{}:,"\\ud8e0123456789-+.naltrufsINifty \t\n', max_size=60).map(str.encode)


@given(st.binary(max_size=200) | json_like | st.text(max_size=60).map(lambda text: text.encode()))
@example(b"1e400")
@example(b'{"a":1,"a":1}')
@example(b'"\\ud800"')
@example(b"[" * 2000)
def test_nothing_but_a_refusal_is_ever_raised(body):
    """Any bytes at all give a value or a refusal, and a value has no NaN and no infinity."""
    try:
        value = loads(body)
    except (Malformed, BadInput):
        return
    assert not isinstance(value, float) or math.isfinite(value)
    assert loads(json.dumps(value).encode()) == value
