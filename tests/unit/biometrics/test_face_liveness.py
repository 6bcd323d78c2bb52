"""Active liveness: gestures on five points in bulk, whole captures by their pixels in samples."""

import numpy as np
import pytest

from biometrics.face import PROBE, LivenessFailed, align, planar
from biometrics.face.active import ORDERS, Gesture, Pose, judge_gestures
from biometrics.face.frames import Frame, transcript
from biometrics.face.images import decode, grey
from biometrics.face.model import DLIB
from biometrics.face.sequence import _check_same, read_capture
from lab.face import synthetic

KINDS = 300
ORDER = (Gesture.LEFT, Gesture.UP, Gesture.CLOSER)


@pytest.fixture(scope="module")
def heads():
    """Collins and Hopper, less bulged: five points are found nearer to the mean than they are."""
    return [synthetic.collins(), synthetic.hopper()]


def poses(head, path, rng):
    """Return what is seen of a head held so, on five points."""
    found = []
    for number, held in enumerate(path):
        points = head.points(held, rng)
        beside, below = align.pose(points)
        height = float(points[:4, 1].mean())
        # A predictor shows about two thirds of a turn.
        found.append(
            Pose(
                t=150.0 * number,
                beside=0.65 * beside,
                below=below,
                between=align.interocular(points),
                height=height,
            )
        )
    return found


def outcome(order, seen):
    """Return `accepted` or why not."""
    try:
        judge_gestures(order, seen)
    except LivenessFailed as failed:
        return failed.reason
    return "accepted"


def drawn(rng):
    """Return a random command."""
    return ORDERS[int(rng.integers(len(ORDERS)))]


def another(order, rng, among):
    """Return a command that is not this one."""
    while (other := among[int(rng.integers(len(among)))]) == order:
        pass
    return other


def test_there_are_96_commands_with_a_turn_in_each():
    """Three different gestures in an order, left or right among them."""
    assert len(set(ORDERS)) == 96
    assert all({Gesture.LEFT, Gesture.RIGHT} & set(order) for order in ORDERS)


def test_honest_gestures_pass_and_others_do_not(heads):
    """Of 300 each: at most 5 % honest ones are refused, and all replays and wrong orders."""
    rng = np.random.default_rng(8)
    counted = {"honest": 0, "replayed": 0, "wrong order": 0}
    for number in range(KINDS):
        head, order = heads[number % 2], drawn(rng)
        honest = poses(head, synthetic.honest(order, rng), rng)
        permuted = [item for item in ORDERS if set(item) == set(order)]
        for kind, command, seen in (
            ("honest", order, honest),
            ("replayed", another(order, rng, ORDERS), honest),
            ("wrong order", another(order, rng, permuted), honest),
        ):
            counted[kind] += outcome(command, seen) == "accepted"
    assert counted.pop("honest") >= 0.95 * KINDS
    assert counted == {"replayed": 0, "wrong order": 0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p[:7], "frame_count"),
        (lambda p: p * 4, "frame_count"),
        (lambda p: [at(item, n * 50.0) for n, item in enumerate(p)], "too_fast"),
        (lambda p: [at(item, n * 1600.0) for n, item in enumerate(p)], "times"),
        (lambda p: [*p[:5], at(p[5], p[4].t), *p[6:]], "times"),
        (
            lambda p: [at(item, 150.0 * n) for n, item in enumerate([*p[5:], *p[:5]])],
            "not_frontal_first",
        ),
        (lambda p: p[:9], "gesture_missing"),
        (
            lambda p: [
                *p[:4],
                Pose(t=p[4].t, beside=0.9, below=p[4].below, between=p[4].between, height=0),
                *p[5:],
            ],
            "jump",
        ),
    ],
)
def test_each_rule_has_its_reason(heads, change, reason):
    """Too few, too many, too fast, with a gap, at once, turned first, cut short, jumping."""
    rng = np.random.default_rng(4)
    seen = poses(heads[0], synthetic.honest(ORDER, rng), rng)
    assert outcome(ORDER, seen) == "accepted"
    assert outcome(ORDER, change(seen)) == reason


@pytest.mark.parametrize(
    ("way", "found"),
    [
        ([0.0, 0.08, 0.18], "accepted"),
        # The points of a moving head may pause for one frame.
        ([0.0, 0.09, 0.10, 0.18], "accepted"),
        ([0.0, 0.0, 0.18], "no_motion"),
        # A photograph that is turned a little by chance stands still, to one side at least.
        ([0.0, 0.06, 0.065, 0.06, 0.18], "no_motion"),
        ([0.06, 0.065, 0.06, 0.18], "no_motion"),
    ],
)
def test_a_turn_passes_through_its_middle(way, found):
    """A frame on the way lies behind one before it and is soon passed."""
    turns = [0.0] * 4 + way + [0.2, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0]
    order = (Gesture.LEFT, Gesture.CENTER)
    seen = [
        Pose(t=150.0 * number, beside=turn, below=0.77, between=80, height=200)
        for number, turn in enumerate(turns)
    ]
    assert outcome(order, seen) == found


def at(pose, t):
    """Return the pose at another time."""
    return Pose(t=t, beside=pose.beside, below=pose.below, between=pose.between, height=pose.height)


@pytest.fixture(scope="module")
def judged(engine):
    """Four presentations of each kind, judged by their pixels."""
    rng = np.random.default_rng(20)
    heads = (synthetic.collins(), synthetic.hopper())
    found: dict[str, list[str]] = {}
    for number in range(4):
        made = synthetic.presentations(heads[number % 2], heads[1 - number % 2], rng)
        for kind, (frames, order) in made.items():
            found.setdefault(kind, []).append(seen(engine, frames, order))
    return found


def seen(engine, frames, order):
    """Return `accepted` or why not, by pixels."""
    try:
        read_capture(engine, frames, order, PROBE)
    except LivenessFailed as failed:
        return failed.reason
    return "accepted"


def test_a_living_head_passes(judged):
    """At least three of four honest captures; the benchmark measures the rate."""
    assert judged["honest"].count("accepted") >= 3


def test_no_attack_passes(judged):
    """No photograph, stills, frozen picture, replay, wrong order or exchanged face is accepted."""
    assert len(judged) == 7
    attacks = {kind: counted for kind, counted in judged.items() if kind != "honest"}
    assert not [kind for kind, counted in attacks.items() if "accepted" in counted]
    assert set(judged["one frame, over and over"]) == {"still"}


def test_what_is_flat_leaves_nothing_over(engine):
    """A photograph tilted about a diagonal passes the bar of the nose, and shows no depth."""
    rng = np.random.default_rng(6)
    held = [synthetic.Attitude(yaw=7 * n, pitch=6 * n, roll=-3 * n) for n in range(5)]
    left = []
    for head in (synthetic.collins().flat(5), synthetic.collins()):
        cuts = [grey(engine.cut(synthetic.jpeg(head.picture(item, rng)))) for item in held]
        left.append(planar.depth(cuts))
    assert left[0] < planar.FLAT < left[1]
    assert planar.depth([np.zeros((150, 150), np.uint8)] * 2) == 0.0
    assert planar.depth(cuts[:1]) == 0.0


def test_the_transcript_covers_nonce_times_and_pictures():
    """Another nonce, time, picture or order gives another hash."""
    frames = [Frame(0.0, b"one"), Frame(150.0, b"two")]
    hashes = {
        transcript(b"n", frames),
        transcript(b"m", frames),
        transcript(b"n", frames[::-1]),
        transcript(b"n", [frames[0], Frame(151.0, b"two")]),
        transcript(b"n", [frames[0], Frame(150.0, b"three")]),
    }
    assert len(hashes) == 5


def test_the_heads_are_the_portraits():
    """Held straight, a head shows its portrait, and a frame is a JPEG of its size."""
    head = synthetic.hopper()
    frame = synthetic.record(head, [synthetic.Attitude()], np.random.default_rng(1))[0]
    assert decode(frame.image).shape == (600, 512, 3)


def turned(*degrees):
    """Return unit vectors in a plane; two at 20 degrees are 0.35 apart."""
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)])


@pytest.mark.parametrize(
    ("vectors", "straight", "reason"),
    [
        (turned(0, 5, 22), [0, 1, 2], "another_face"),
        (turned(0, 5, 40), [0, 1], "another_face"),
        (turned(0, 5, 5), [], "not_frontal_first"),
        (np.array([[1.0, 0.0], [np.nan, 0.0]]), [0], "another_face"),
    ],
)
def test_every_frame_shows_one_person(vectors, straight, reason):
    """Straight frames agree and all are near their mean; nobody straight and a NaN are refused."""
    _check_same(turned(0, 5, 10), [0, 1, 2], DLIB)
    with pytest.raises(LivenessFailed) as failed:
        _check_same(vectors, straight, DLIB)
    assert failed.value.reason == reason
