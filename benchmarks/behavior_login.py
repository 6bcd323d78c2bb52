"""What the signal `behavior` says at the login, of people whom the shipped model never saw.

    python -m benchmarks.behavior_login [--data DIR] [--every N] [--out FILE]

Every sample goes the way of a login: events, columns, the profile kept so far, nats within what the
signal may say; then it is learned, as after a login at AAL2. Impostors have the password and are
other people of the same set. Without DIR the people are generated, of another seed than the
model's; DIR has `cmu/`, `meu_touch/`, `sapientia_touch/`, `hold_and_tap/` and
`balabit_mouse/training_files/` (docs/research/behavior.md names their sources).
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from biometrics.behavior.features import InputFlags, Key, NotScored, Touch, Vector, keystroke, touch
from biometrics.behavior.layout import Floats, Layout
from lab.behavior import balabit, loaders, synthetic_motion, synthetic_pointer, synthetic_typing
from lab.evaluation import cllr, eer
from service.signals.behavior.population import open_models
from service.signals.behavior.profile import PARTED, Kept
from service.signals.behavior.scoring import compare

LOOKS = 4
"""How often the impostors come while a profile lives."""
TAKEN = 30
"""Samples of another person that are learned to see whether the alarm is raised."""
PIECES = 30
"""Pieces of a session of a pointer."""
CLOCK_MS = 1.0
POSTURES = ("Sitting", "Standing", "Walking")
People = Mapping[str, list[Vector]]
MODELS = open_models(None)


@dataclass
class Seen:
    """What was seen of one set of people."""

    own: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    typed: int = 0
    replays: int = 0
    parted: int = 0
    taken: int = 0
    people: int = 0

    def row(self, name: str) -> dict[str, Any]:
        """Return the figures."""
        own, others = np.array(self.own), np.array(self.others)
        return {
            "set": name,
            "people": self.people,
            "samples": self.typed,
            "eer": round(float(np.mean(self.rates)), 3),
            "cllr": round(cllr(own, others), 2),
            "own_for": round(float((own > 0).mean()), 3),
            "others_for": round(float((others > 0).mean()), 3),
            "false_replays": self.replays,
            "false_alarms": self.parted,
            "takeovers_alarmed": f"{self.taken}/{self.people}",
        }


def events(layout: Layout, row: Floats) -> Vector | None:
    """Return what a login makes of the columns of a sample, None where it does not score it."""
    n = layout.kinds.count("hold")
    down = np.concatenate([[0.0], np.cumsum(row[n : 2 * n - 1])]) * 1000
    times = np.round(np.stack([down, down + 1000 * row[:n]], axis=1) / CLOCK_MS) * CLOCK_MS
    keys = [Key(at, up) for at, up in times.tolist()]
    try:
        if layout.signal == "keystroke":
            return keystroke(keys, InputFlags())
        pressure, size = row[3 * n - 2 : 4 * n - 2].tolist(), row[4 * n - 2 :].tolist()
        contacts = [Touch(at, pressure[at], size[at], size[at]) for at in range(n)]
        return touch(keys, InputFlags(), contacts)
    except NotScored:
        return None


def typed(layout: Layout, people: Mapping[str, Floats]) -> People:
    """Return the samples of people that a login scores, in order."""
    return {
        name: [found for row in rows if (found := events(layout, row)) is not None]
        for name, rows in people.items()
    }


def nats(kept: Kept, vector: Vector) -> float:
    """Return what is said of a sample; 0 while the profile learns."""
    signal = vector.layout.signal
    return compare(signal, vector, kept, MODELS[signal]).nats


def measure(people: People, every: int, unscored: int = 0) -> Seen:
    """Let every profile live: each sample is scored, then learned.

    Where the first ones are `unscored`, those of other postures, nothing else is learned: each
    sample is the first in its posture.
    """
    seen = Seen()
    names = [name for name, samples in people.items() if len(samples) > LOOKS]
    for name in names:
        samples = people[name]
        kept, own, against = Kept.empty(samples[0].layout), [], []
        scored = len(samples) - unscored
        looks = {unscored + round((look + 1) * scored / LOOKS) - 1 for look in range(LOOKS)}
        for number, vector in enumerate(samples):
            seen.typed += 1
            seen.replays += kept.has(vector) and not copied(vector, samples[:number])
            if kept.speaks and number >= unscored and number % every == 0:
                own.append(nats(kept, vector))
            if not unscored or number < unscored:
                kept = kept.learn(vector)
            if number in looks:
                rest = (people[other] for other in names if other != name)
                against += [nats(kept, part[number % len(part)]) for part in rest]
        seen.own += own
        seen.others += against
        seen.rates.append(eer(np.array(own), np.array(against)))
        seen.parted += kept.parted
        seen.taken += taken_over(samples, people[names[(names.index(name) + 1) % len(names)]])
        seen.people += 1
    return seen


def copied(vector: Vector, before: list[Vector]) -> bool:
    """Tell whether a set repeats a sample to the last digit, which is a replay indeed."""
    return any(np.array_equal(vector.row, one.row) for one in before)


def taken_over(samples: list[Vector], other: list[Vector]) -> bool:
    """Tell whether another person's samples, learned after half of one's own, raise the alarm."""
    kept = Kept.empty(samples[0].layout)
    for vector in (*samples[: len(samples) // 2], *other[-TAKEN:]):
        kept = kept.learn(vector)
    return kept.parted


def sets(data: Path | None) -> Iterator[tuple[str, Layout, Mapping[str, Floats]]]:
    """Return the sets that are there."""
    rows = synthetic_typing.people(24, 12, samples=200, session=20, seed=101)
    layout = Layout.keystroke(12)
    yield "generated", layout, {str(at): layout.expand(part) for at, part in enumerate(rows)}
    if data is None:
        return
    if (cmu := data / "cmu/DSL-StrongPasswordData-31.csv").exists():
        yield "CMU", *loaders.load_cmu(cmu)
    if (meu := data / "meu_touch").exists():
        yield "MEU-Mobile, touch", *loaders.load_meu(meu)
    if (mobikey := data / "sapientia_touch/keystrokes.csv").exists():
        for text in "012":
            name = f"MOBIKEY password {text}, touch"
            yield name, *loaders.load_mobikey(mobikey, text)


def moved(data: Path | None) -> Iterator[tuple[str, People, int]]:
    """Return the sets of movement, with how many first samples are of other postures."""
    layout = Layout.motion()
    rows = synthetic_motion.people(24, samples=200, seed=101)
    made = {str(at): [Vector(layout, row) for row in part] for at, part in enumerate(rows)}
    yield "generated, motion", made, 0
    folder = (data or Path()) / "hold_and_tap"
    files = [folder / f"{posture}_Sensor_with_label.csv" for posture in POSTURES]
    if data is None or not all(file.exists() for file in files):
        return
    layout = loaders.load_held(files[0])[0]
    held = [
        {name: [Vector(layout, row) for row in rows] for name, rows in people.items()}
        for _, people in map(loaders.load_held, files)
    ]
    for posture, people in zip(POSTURES, held, strict=True):
        yield f"Hold and Tap, {posture.lower()}", people, 0
    for number, posture in enumerate(POSTURES):
        first, second = (part for at, part in enumerate(held) if at != number)
        both = {name: [*first[name], *second[name]] for name in first if name in second}
        unscored = min(len(rows) for rows in both.values())
        whole = {
            name: [*both[name][:unscored], *rows]
            for name, rows in held[number].items()
            if name in both
        }
        yield f"Hold and Tap, {posture.lower()} unseen", whole, unscored


def pointed(data: Path | None) -> Iterator[tuple[str, People, int]]:
    """Return the sets of pointers: those who give twenty samples that a login scores."""
    layout = Layout.pointer()
    rows = synthetic_pointer.people(24, samples=200, seed=101)
    yield (
        "generated, pointer",
        {str(at): [Vector(layout, row) for row in part] for at, part in enumerate(rows)},
        0,
    )
    folder = (data or Path()) / "balabit_mouse" / "training_files"
    if data is None or not folder.exists():
        return
    found = {
        name: [
            Vector(layout, row)
            for session in sessions
            for row in balabit.spread(balabit.columns(session), PIECES)
        ]
        for name, sessions in balabit.load_sessions(folder).items()
    }
    yield "Balabit, pointer", {name: part for name, part in found.items() if len(part) > TAKEN}, 0


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Print the figures of a set and return them."""
    print(" | ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return row


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--every", type=int, default=5, help="score every Nth own sample")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    print(f"alarm from {PARTED} spreads; clock of {CLOCK_MS:g} ms")
    found = []
    for name, layout, people in sets(chosen.data):
        found.append(shown(measure(typed(layout, people), chosen.every).row(name)))
    for name, samples, unscored in (*moved(chosen.data), *pointed(chosen.data)):
        found.append(shown(measure(samples, 1, unscored).row(name)))
    if chosen.out:
        chosen.out.write_text(json.dumps({"sets": found}, indent=2))


if __name__ == "__main__":
    main()
