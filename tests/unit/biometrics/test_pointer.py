"""A pointer becomes columns whatever the screen; no hand and no person are named."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks import pointer_bots as bots
from biometrics.behavior.features import WHY, NotScored, Scripted
from biometrics.behavior.layout import POINTED, Layout
from biometrics.behavior.model import DEFAULT, load
from biometrics.behavior.pointer import pointer
from biometrics.behavior.profile import Profile
from biometrics.behavior.scorer import llrs, ready, score
from biometrics.behavior.strokes import strokes, trail
from lab.behavior import synthetic_pointer
from lab.behavior.shipped import WEAK
from lab.evaluation import cllr, eer
from service.signals.behavior.profile import Kept
from tests.typists import pointing

VECTOR = Path(__file__).parents[2] / "vectors/behavior/scores.json"
LAYOUT = Layout.pointer()


@pytest.fixture(scope="module")
def model():
    return load(DEFAULT)["pointer"]


@pytest.fixture(scope="module")
def people():
    return pointing(2, samples=30, seed=43)


def sweep(count=40, *, far=400.0, bend=60.0, tick=16.7, begin=0.0, to=1.0):
    """Return a bent move with the speed of a hand, as events."""
    share = np.linspace(0, 1, count)
    gone = share**3 * (10 - 15 * share + 6 * share**2)
    wobble = 2.5 * np.sin(np.arange(count) * 1.7) * np.sin(math.pi * share)
    x, y = far * gone * to, far * 0.4 * gone + bend * np.sin(math.pi * gone) + wobble
    times = begin + tick * np.arange(count)
    return [
        [round(float(t), 1), round(float(a)), round(float(b)), "move"]
        for t, a, b in zip(times, x, y, strict=True)
    ]


def click(events, *, after=120.0, held=90.0):
    t, x, y, _ = events[-1]
    return [*events, [t + after, x, y, "down"], [t + after + held, x, y, "up"]]


GOOD = click(sweep())


def row(events):
    return pointer(events).row


def code_of(events, step=0.0):
    with pytest.raises(NotScored) as found:
        pointer(events, step)
    assert found.value.detail == WHY[found.value.code]
    return found.value.code


def test_columns_are_named_by_what_they_measure(people):
    """As many of each kind as the layout says, all of them numbers within their bounds."""
    found = pointer(people[0][0])
    assert found.layout == LAYOUT
    assert found.row.shape == (sum(POINTED.values()),)
    assert (np.abs(found.row) <= 6).all()


def test_where_the_form_lies_tells_nothing_and_the_size_of_the_screen_little(people):
    """A shift changes no column; a scale only two of the pace and one of the turns."""
    for events in people[0][:10]:
        shifted = [[t, x + 77, y - 31, kind] for t, x, y, kind in events]
        assert row(shifted) == pytest.approx(row(events), abs=1e-9)
        larger = row([[t, 1.25 * x, 1.25 * y, kind] for t, x, y, kind in events])
        moved = np.flatnonzero(np.abs(larger - row(events)) > 1e-6)
        assert set(moved.tolist()) <= {0, 1, 5} | set(LAYOUT.of("steer").tolist())
        assert np.abs(larger - row(events))[:2].max() == pytest.approx(
            0.4 * math.log(1.25) / 0.35, rel=0.05
        )


@pytest.mark.parametrize(
    ("change", "kind", "sign"),
    [
        (lambda: click(sweep(tick=8.3)), "pace", 1),
        (lambda: click(sweep(tick=30)), "pace", -1),
        (lambda: click(sweep(bend=200)), "bend", 1),
        (lambda: click(sweep(), held=250), "click", 1),
        (lambda: click(sweep(), held=30), "click", -1),
        (lambda: click([*sweep()[:20], *[[e[0] + 900, *e[1:]] for e in sweep()[20:]]]), "rest", 1),
    ],
)
def test_a_change_moves_the_columns_of_its_kind(change, kind, sign):
    """Faster, slower, more bent, longer clicks and a rest: in the direction that is told."""
    moved = (row(change()) - row(GOOD))[LAYOUT.of(kind)]
    assert sign * moved.mean() > 0.3


def test_strokes_end_at_rests_presses_and_places_set_elsewhere():
    """Three movements with a rest and a click between them, and one jump."""
    one = click(sweep())
    two = [[t + 3000, x + 40, y, kind] for t, x, y, kind in click(sweep())]
    rest = [[e[0] + 4500 + (400 if n > 20 else 0), *e[1:]] for n, e in enumerate(sweep(begin=0))]
    found = strokes(trail([*one, *two, *rest]))
    assert len(found.first) == 4
    assert found.reach[0] == pytest.approx(math.hypot(400, 160), abs=3)
    half = [[e[0], e[1] + (900 if n > 20 else 0), *e[2:]] for n, e in enumerate(sweep())]
    assert len(strokes(trail(half)).first) == 2


def elsewhere(events, times):
    """Return events of which some go a thousand pixels within a moment."""
    return [
        [t, x + (1000 if (n // 4) % 2 and n < 8 * times else 0), y, kind]
        for n, (t, x, y, kind) in enumerate(events)
    ]


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([], "not_used"),
        ([[0, 5, 5, "down"], [80, 5, 5, "up"]], "no_hover"),
        (
            [[0, 5, 5, "down"], [80, 5, 5, "up"], [3000, 90, 90, "down"], [3080, 90, 90, "up"]],
            "no_hover",
        ),
        (click(sweep(9)), "too_few_moves"),
        (click([[300 - t, x, y, kind] for t, x, y, kind in sweep(15)]), "time_reversed"),
        (click([[t, 7, 7, kind] for t, _, _, kind in sweep()]), "stays_put"),
        (click(sweep(tick=100.0), after=100, held=100), "coarse_clock"),
        (elsewhere(GOOD, 3), "teleports"),
        (click(sweep(12, tick=16.7), after=201), "too_little"),
        (click([[t, 0.05 * x, 0.05 * y, kind] for t, x, y, kind in sweep()]), "too_little"),
        (click(sweep(20, tick=71.3)), "seldom"),
        (sweep(), "no_click"),
        ([*sweep(), [900, 400, 160, "down"]], "no_click"),
        ([*sweep(), [900, 400, 160, "down"], [1000, 450, 160, "up"]], "no_click"),
        ([*sweep(), [900, 400, 160, "down"], [2600, 400, 160, "up"]], "no_click"),
    ],
)
def test_what_says_nothing_of_a_hand_is_named(events, code):
    """Keyboards, touch, helping devices, coarse clocks, slow ones, and pointers set elsewhere."""
    found = code_of(events)
    assert found == code
    assert not found.startswith("scripted")


def test_a_clock_that_is_told_to_be_coarse_is_believed():
    """What the client says of its clock counts against the sample."""
    assert code_of(GOOD, 100.0) == "coarse_clock"
    assert row(GOOD).any()


def named(events):
    try:
        pointer(events)
    except Scripted as why:
        return why.code
    except NotScored:
        return "unfit"
    return "none"


@pytest.mark.parametrize(
    ("way", "codes"),
    [
        ("line, even steps", {"scripted_line"}),
        ("line, eased", {"scripted_line"}),
        ("Bezier, even clock", {"scripted_curve", "scripted_even"}),
        ("circle, even steps", {"scripted_even"}),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_what_a_program_draws_is_named(way, codes, whole):
    """Rulers, even steps and polynomials, on whole pixels or between them."""
    random = np.random.default_rng(4)
    found = [named(bots.script(random, bots.WAYS[way], whole=whole)) for _ in range(60)]
    assert set(found) <= codes | {"none"}
    assert found.count("none") <= 6


def test_keys_that_move_a_pointer_are_no_program():
    """Along axes and diagonals, exactly straight and at one speed: as Mouse Keys do."""
    random = np.random.default_rng(5)
    ways = [bots.script(random, bots.axis) for _ in range(40)]
    diagonal = click([[10.0 * n, 6 * n, 6 * n, "move"] for n in range(60)])
    assert {named(events) for events in (*ways, diagonal)} <= {"none", "unfit"}


def test_clicks_sent_to_elements_beside_a_moved_pointer_are_named(people):
    """A real press comes where the pointer is; one with no way there does not."""
    random = np.random.default_rng(6)
    far = [bots.jump(random, events) for events in people[0]]
    assert {named(events) for events in far} <= {"scripted_jump", "none"}
    assert sum(named(events) == "scripted_jump" for events in far) > 0.6 * len(far)
    assert all(named(events) == "none" for events in people[0])


EVENTS = st.lists(
    st.tuples(
        st.floats(0, 6e5),
        st.floats(-1e6, 1e6),
        st.floats(-1e6, 1e6),
        st.sampled_from(["move", "move", "move", "down", "up"]),
    ),
    max_size=60,
)
CALM = st.lists(
    st.tuples(
        st.floats(0, 40),
        st.floats(-30, 30),
        st.floats(-30, 30),
        st.sampled_from(["move", "move", "move", "move", "down", "up"]),
    ),
    min_size=30,
    max_size=60,
)


@given(EVENTS | CALM, st.booleans(), st.booleans())
@example([(5e-324 * n, 40.0 * n, 3.0 * (n % 5), "move") for n in range(40)], False, False)
def test_whatever_is_well_formed_gives_numbers_or_a_name(events, ordered, summed):
    """Never a fault, never a value that is no number."""
    if summed:
        steps = np.cumsum([event[:3] for event in events], axis=0).tolist() if events else []
        events = [(*step, event[3]) for step, event in zip(steps, events, strict=True)]
    if ordered:
        events = sorted(events, key=lambda event: event[0])
    try:
        found = pointer(click(events) if events else []).row
    except NotScored as why:
        found = np.zeros(len(why.detail) and 1)
    assert len(found)
    assert np.isfinite(found).all()


def test_the_same_seed_gives_the_same_people():
    """The generator draws nothing but from its seed, and no trail is longer than the wire's."""
    one, same, other = (synthetic_pointer.trails(2, samples=20, seed=seed) for seed in (3, 3, 4))
    assert one == same
    assert one != other
    assert all(len(events) <= 500 for person in one for events in person)
    assert all(events == sorted(events, key=lambda e: e[0]) for part in one for events in part)
    unfit = [named(events) for person in one for events in person]
    assert unfit.count("none") >= 0.9 * len(unfit)


def test_people_whom_nobody_saw_are_told_apart_a_little(model):
    """Generated people of another seed: weak evidence, and never worse than none."""
    rows = synthetic_pointer.people(12, samples=80, seed=77)
    own, others, rates = [], [], []
    for number, part in enumerate(rows):
        against = ready(Profile.empty(LAYOUT).absorb(part[:50]), model)
        mine = llrs(against, part[50:])
        rest = llrs(against, np.concatenate([rows[at][::6] for at in range(12) if at != number]))
        own.append(mine.clip(*against.clip))
        others.append(rest.clip(*against.clip))
        rates.append(eer(mine, rest))
    assert np.mean(rates) < 0.47
    assert cllr(np.concatenate(own), np.concatenate(others)) < 1.0


def test_a_score_says_why_and_stays_within_what_the_model_may_say(model, people):
    """Readable shares; whatever comes, half a nat against and a quarter for at most."""
    assert model.clip == WEAK == (-0.5, 0.25)
    rows = np.array([row(events) for events in people[0]])
    against = ready(Profile.empty(LAYOUT).absorb(rows[:25]), model)
    away = rows[26].copy()
    away[LAYOUT.of("pace")] = against.prepared.own.center[LAYOUT.of("pace")] - 2
    away[LAYOUT.of("click")] = against.prepared.own.center[LAYOUT.of("click")] + 2
    found = score(against, away)
    texts = [text for text, _ in found.contributions]
    assert any(text.startswith("moves ") and text.endswith("slower than usual") for text in texts)
    assert any(text.startswith("clicks ") and text.endswith("longer than usual") for text in texts)
    assert -0.5 <= found.llr <= 0.25
    for probe in (rows[27], np.full(len(away), 6.0), np.full(len(away), -6.0)):
        assert -0.5 <= score(against, probe).llr <= 0.25


def test_a_profile_of_a_pointer_comes_back_and_never_parts(people):
    """To the byte; whoever takes another mouse for good has not been robbed."""
    kept = Kept.empty(LAYOUT)
    for events in (*people[0][:25], *people[1][:25]):
        kept = kept.learn(pointer(events))
    again = Kept.unpack(kept.pack())
    assert again.profile.layout == LAYOUT
    assert again.pack() == kept.pack()
    assert not kept.parted


def test_a_pointer_that_comes_again_is_found_shifted_and_scaled(people):
    """Another movement of the same person is none."""
    kept = Kept.empty(LAYOUT)
    for events in people[0][:20]:
        kept = kept.learn(pointer(events))
    for events in people[0][:20]:
        for copy in (events, bots.moved(events, 90 + 40j), bots.moved(events, 10j, 1.5)):
            assert kept.has(pointer(copy))
    assert not any(kept.has(pointer(events)) for events in (*people[0][20:], *people[1]))


def test_a_fixed_profile_and_trail_give_a_fixed_score(model):
    """Frozen vectors: columns of a trail, and ratios against the bytes of a profile."""
    vector = json.loads(VECTOR.read_text())["pointer"]
    profile = Profile.unpack(bytes.fromhex(vector["profile"]))
    assert profile.pack().hex() == vector["profile"]
    against = ready(profile, model)
    for sample in vector["samples"]:
        found = row(sample["events"])
        assert found == pytest.approx(np.array(sample["row"]), abs=1e-6)
        assert llrs(against, found[None])[0] == pytest.approx(sample["llr"], abs=1e-3)
