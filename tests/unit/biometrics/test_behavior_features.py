"""Events become columns; what cannot be scored is named; what comes again is found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.behavior import replay
from biometrics.behavior.features import InputFlags, Key, NotScored, Touch, coarse, keystroke, touch
from biometrics.behavior.layout import Layout
from lab.behavior import synthetic_typing

FINE = InputFlags()
KEYS = 9
LAYOUT = Layout.keystroke(KEYS)


def keys_of(row):
    """Return the events of stored columns, in ms."""
    hold, press = row[:KEYS], row[KEYS:]
    down = np.concatenate([[0.0], np.cumsum(press)]) * 1000
    return [Key(at, at + 1000 * held) for at, held in zip(down, hold, strict=True)]


@pytest.fixture(scope="module")
def rows():
    return synthetic_typing.people(1, KEYS, samples=60, seed=4)[0]


def refused(keys, told=FINE, touches=None):
    with pytest.raises(NotScored) as found:
        keystroke(keys, told) if touches is None else touch(keys, told, touches)
    assert found.value.detail
    return found.value.code


def test_columns_are_hold_and_press_to_press_in_seconds(rows):
    """What the events were made of comes back, with the times from release to press."""
    found = keystroke(keys_of(rows[0]), FINE)
    assert found.layout == LAYOUT
    assert np.allclose(found.kept, rows[0], atol=1e-9)
    assert np.allclose(found.row, LAYOUT.expand(rows[0]), atol=1e-9)


def test_the_key_that_sends_the_form_is_left_out(rows):
    """Enter or a click: the columns are the same."""
    keys = keys_of(rows[0])
    sent = [*keys, Key(keys[-1].down + 300, keys[-1].up + 310, "enter")]
    assert np.array_equal(keystroke(sent, FINE).row, keystroke(keys, FINE).row)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (InputFlags(pasted=True), "pasted"),
        (InputFlags(autofilled=True), "autofilled"),
        (InputFlags(edited=True), "edited"),
        (InputFlags(clock_step_ms=50), "coarse_clock"),
        (InputFlags(clock_step_ms=100), "coarse_clock"),
    ],
)
def test_what_the_client_says_is_believed_against_it(rows, told, code):
    """Flags and a declared coarse clock make a sample unfit; a fine clock does not."""
    assert refused(keys_of(rows[0]), told) == code
    assert keystroke(keys_of(rows[0]), InputFlags(clock_step_ms=16.7)).layout == LAYOUT


def test_what_the_client_does_not_say_is_seen(rows):
    """Corrections, one key, none, too many, and times that nobody types."""
    keys = keys_of(rows[0])
    corrected = [*keys[:3], Key(keys[3].down, keys[3].up, "backspace"), *keys[4:]]
    assert refused(corrected) == "edited"
    assert refused(keys[:1]) == refused([]) == "too_few_keys"
    assert refused([Key(0, 80), Key(400, 470, "enter")]) == "too_few_keys"
    assert refused([Key(100.0 * at, 100.0 * at + 70) for at in range(65)]) == "too_many_keys"
    # 37 and 111 ms: multiples of no step that a clock has.
    assert refused([Key(111.0 * at, 111.0 * at + 37) for at in range(KEYS)]) == "zero_variance"
    assert refused([Key(111.0 * at, 111.0 * at + 40 + at) for at in range(KEYS)]) == "zero_variance"
    assert refused([Key(0, 0)] * KEYS) == "zero_variance"


@pytest.mark.parametrize("step", [50, 100, 200 / 3, 250])
def test_a_coarse_clock_is_detected(rows, step):
    """Times that fall on multiples of a large step are refused, whatever is declared."""
    for row in rows:
        keys = [Key(key.down // step * step, key.up // step * step) for key in keys_of(row)]
        assert refused(keys) == "coarse_clock"


@pytest.mark.parametrize("step", [0.1, 1, 2, 4, 1000 / 120, 1000 / 60])
def test_a_fine_clock_is_not_taken_for_a_coarse_one(rows, step):
    """Steps of up to a sixtieth of a second cost nothing and are scored."""
    for row in rows:
        times = [time // step * step for key in keys_of(row) for time in (key.down, key.up)]
        assert not coarse(np.array(times))


def contact(**changed):
    """Return touches of every key, changed by name."""
    values = {
        "pressure": lambda at: 0.3 + at / 100,
        "width": lambda at: 25.0 + at,
        "height": lambda _: 20.0,
    } | changed
    return [
        Touch(at, values["pressure"](at), values["width"](at), values["height"](at))
        for at in range(KEYS)
    ]


def test_touches_add_pressure_and_size(rows):
    """Pixels become shares of a hundred; shares stay."""
    found = touch(keys_of(rows[0]), FINE, contact())
    assert found.layout == Layout.touch(KEYS)
    assert np.allclose(
        found.row[found.layout.of("size")], np.sqrt(20.0 * (25 + np.arange(9))) / 100
    )
    shares = contact(width=lambda at: 0.2 + at / 50, height=lambda at: 0.2 + at / 50)
    found = touch(keys_of(rows[0]), FINE, shares)
    assert np.allclose(found.row[found.layout.of("size")], 0.2 + np.arange(9) / 50)


def test_a_sensor_that_is_not_there_is_named(rows):
    """Browsers then give pressure 0.5 and size 1, always."""
    keys = keys_of(rows[0])
    assert refused(keys, touches=contact(pressure=lambda _: 0.5)) == "pressure_missing"
    one = {"width": lambda _: 1.0, "height": lambda _: 1.0}
    assert refused(keys, touches=contact(**one)) == "size_missing"
    assert refused(keys, touches=contact(width=lambda _: -5.0)) == "size_missing"
    assert refused(keys, touches=contact()[:-1]) == "touches_incomplete"
    assert refused(keys, touches=[*contact(), contact()[0]]) == "touches_incomplete"
    assert refused(keys, touches=[]) == "touches_incomplete"


@given(
    st.lists(st.tuples(st.floats(0, 6e5), st.floats(0, 6e5)), max_size=70),
    st.floats(0, 1000),
)
def test_any_events_give_finite_columns_or_a_name(events, step):
    """Nothing but NotScored is ever raised, and no column is not a number."""
    down = sorted(at for at, _ in events)
    keys = [Key(at, at + held) for at, (_, held) in zip(down, events, strict=True)]
    try:
        found = keystroke(keys, InputFlags(clock_step_ms=step))
    except NotScored:
        return
    assert np.isfinite(found.row).all()
    assert (found.kept >= 0).all()


@pytest.mark.parametrize(("apart_ms", "found"), [(0.0, True), (0.4, True), (0.9, True), (5, False)])
def test_a_replay_is_found_within_a_millisecond(rows, apart_ms, found):
    """In every column and direction, among two hundred; 5 ms are another typing."""
    marks = np.zeros((0, replay.COLUMNS), np.uint8)
    for row in rows:
        marks = replay.remember(marks, row)
    random = np.random.default_rng(8)
    for row in rows:
        moved = row + apart_ms / 1000 * random.choice([-1.0, 1.0], len(row))
        assert replay.replayed(marks, moved) is found
        uneven = row + apart_ms / 1000 * random.uniform(0.9, 1.0, len(row))
        assert replay.replayed(marks, uneven) is found


def test_nobody_who_types_on_is_taken_for_a_replay():
    """3,000 typings of 20 people, each against all of their own before; clocks of 1 and 17 ms."""
    for step in (0.0, 0.001, 1 / 60):
        for rows in synthetic_typing.people(20, 8, samples=150, seed=9):
            times = rows if not step else np.round(rows / step) * step
            marks = np.zeros((0, 15), np.uint8)
            for row in times:
                assert not replay.replayed(marks, row)
                marks = replay.remember(marks, row)


def test_a_copy_with_noise_is_found_and_nobody_who_types_on():
    """Of 20 people's typings of 12 keys none is a copy; each with up to 4 ms of noise is."""
    random = np.random.default_rng(10)
    for rows in synthetic_typing.people(20, KEYS, samples=150, seed=11):
        marks = np.zeros((0, replay.COLUMNS), np.uint8)
        for row in rows:
            assert not replay.replayed(marks, row, typed=True)
            marks = replay.remember(marks, row)
            noisy = row + random.uniform(-0.004, 0.004, len(row))
            assert replay.replayed(marks, noisy, typed=True)
            assert not replay.replayed(marks, noisy)


def test_two_hundred_are_remembered_and_short_texts_never_match(rows):
    """The oldest mark goes; a text of five keys says too little; another length starts anew."""
    marks = np.zeros((0, replay.COLUMNS), np.uint8)
    random = np.random.default_rng(2)
    many = random.uniform(0.05, 0.4, (201, 17))
    for row in many:
        marks = replay.remember(marks, row)
    assert marks.shape == (replay.MOST_MARKS, replay.COLUMNS)
    assert not replay.replayed(marks, many[0])
    assert replay.replayed(marks, many[1])
    short = replay.remember(np.zeros((0, 9), np.uint8), many[0][:9])
    assert not replay.replayed(short, many[0][:9])
    assert replay.remember(marks, many[0][:11]).shape == (1, 11)
