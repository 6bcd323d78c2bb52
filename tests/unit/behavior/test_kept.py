"""What is kept of a signal is bounded, versioned, frozen, and forgets no alarm."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.behavior.features import Vector
from biometrics.behavior.layout import Layout
from biometrics.behavior.profile import MOST_BYTES, BadProfile
from biometrics.behavior.replay import COLUMNS, MOST_MARKS
from lab.behavior import synthetic_typing
from service.signals.behavior.profile import STRAYS, BadKept, Kept

VECTOR = Path(__file__).parents[2] / "vectors" / "behavior" / "kept.json"
KEYS = 8
LAYOUT = Layout.keystroke(KEYS)


def vectors(count=30, keys=KEYS, seed=3):
    """Return samples of one made-up person."""
    layout = Layout.keystroke(keys)
    rows = synthetic_typing.people(1, keys, samples=count, seed=seed)[0]
    return [Vector(layout, row) for row in layout.expand(rows)]


def taught(samples, kept=None):
    """Return what is kept after samples."""
    kept = kept or Kept.empty(samples[0].layout)
    for vector in samples:
        kept = kept.learn(vector)
    return kept


def alike(left, right):
    """Tell whether two hold the same."""
    return left.pack() == right.pack()


def test_it_comes_back_from_its_bytes():
    """Profile, marks, strays and alarm are as they were; the whole stays below its bound."""
    samples = vectors(230)
    kept = taught(samples).learn(vectors(1, keys=9)[0])
    again = Kept.unpack(kept.pack())
    assert alike(again, kept)
    assert (again.strays, again.parted) == (1, kept.parted)
    assert again.marks.shape == (MOST_MARKS, 15)
    assert len(kept.pack()) <= MOST_BYTES + MOST_MARKS * COLUMNS + 6
    assert again.has(samples[100])
    assert not again.has(samples[3])


def test_the_format_is_frozen():
    """What was written by the first version opens forever, and is written the same."""
    vector = json.loads(VECTOR.read_text("utf-8"))
    kept = Kept.unpack(bytes.fromhex(vector["packed"]))
    assert kept.pack().hex() == vector["packed"]
    assert kept.profile.total == vector["samples"]
    assert (kept.parted, kept.strays) == (vector["parted"], vector["strays"])
    row = np.array(vector["known"])
    assert kept.has(Vector(kept.profile.layout, kept.profile.layout.expand(row)))


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x01\x00",
        b"\x02" + bytes(5),
        b"\x01\x00\x00\x11" + bytes(2),
        b"\x01\x00\x00\x10\xc9\x00",
        b"\x01\x00\x00\x10\x05\x00" + bytes(20),
    ],
)
def test_bytes_that_are_nothing_kept_are_refused(packed):
    """Another version, too many marks, or another length."""
    with pytest.raises(BadKept):
        Kept.unpack(packed)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(packed):
    """Damage is told as damage."""
    try:
        kept = Kept.unpack(packed)
    except (BadKept, BadProfile):
        return
    assert kept.pack() == packed


def test_a_stray_is_passed_over_until_it_is_the_rule():
    """Another length, twice, changes no sample; in between the usual one clears the count."""
    kept, others = taught(vectors(10)), vectors(5, keys=9)
    once = kept.learn(others[0])
    assert (once.strays, once.profile.total) == (1, 10)
    assert once.learn(vectors(11)[10]).strays == 0
    anew = taught(others[:STRAYS], kept)
    assert (anew.profile.layout, anew.profile.total, anew.strays) == (Layout.keystroke(9), 1, 0)


def test_while_learning_another_length_begins_anew():
    """Nothing that has not spoken yet is worth defending."""
    kept = taught(vectors(4)).learn(vectors(1, keys=9)[0])
    assert kept.profile.layout == Layout.keystroke(9)


def test_a_profile_that_parts_from_its_beginning_is_marked_for_good():
    """Another tempo is an alarm; neither the old one nor another length takes it back."""
    samples = vectors(80)
    slow = [Vector(LAYOUT, vector.row * 2.2) for vector in samples[30:60]]
    before = taught(samples[:30])
    taken = taught(slow, before)
    assert not before.parted
    assert taken.parted
    back = taught(samples[60:], taken)
    assert back.parted
    assert taught(vectors(STRAYS, keys=9), back).parted
    assert Kept.unpack(taken.pack()).parted


def test_nobody_parts_from_a_beginning_by_learning_to_type_the_text():
    """20 made-up people over 200 samples, from their first one on, raise no alarm."""
    layout = Layout.keystroke(10)
    for rows in synthetic_typing.people(20, 10, samples=200, session=20, seed=5):
        kept = taught([Vector(layout, row) for row in layout.expand(rows)])
        assert not kept.parted
