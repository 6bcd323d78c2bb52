"""Generate synthetic people who move a pointer at a login form: the events a page receives.

It contains no real person's data; its numbers are round ones from the published literature. A
movement takes a + b log2(distance / width + 1) (Fitts 1954; MacKenzie 1992: b of 0.1 to 0.2 s per
bit). Most of it is one stroke whose speed is lognormal in time (Plamondon 1995) and which under-
or overshoots the target, followed by corrections of some 0.2 s (Woodworth 1899; Meyer et al.
1988). The hand bends its path, trembles at 8 to 12 Hz and errs with its force. A trackpad is
lifted on the way. A person has habits of all of these and two desks; each session shifts the
habits a little, each sample a lot: people repeat themselves far less than in how they type.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import pi
from typing import Final

import numpy as np

from biometrics.behavior.features import NotScored
from biometrics.behavior.layout import Floats
from biometrics.behavior.pointer import pointer
from biometrics.behavior.strokes import Event, Places

Random = np.random.Generator
_MOST: Final = 500
_TICKS: Final = (16.7, 16.7, 16.7, 16.7, 8.3, 8.3, 6.9)
"""Interval between the events of a device, ms: most screens have 60 Hz."""
_WIDTH: Final = 40.0
"""Width of a target in pixels."""
_ENDS: Final = 2.6
"""Spreads of the lognormal speed after which a stroke ends."""
_PADS: Final = 0.4
"""Share of desks with a trackpad."""
_SELDOM: Final = 0.05
_SOON: Final = 0.7
"""Share of corrections that follow without a rest."""
_Event = tuple[float, complex, str]


@dataclass(kw_only=True, frozen=True)
class Habits:
    """Variation between and within people: spreads of logarithms, except for shares.

    Args:
        pace: Spread of a movement's duration.
        skew: Spread of the time of its peak speed.
        bend: Spread of its bend.
        shake: Spread of tremor and errors.
        reach: Share of the distance covered by the first stroke, and its spread over people.
        held: Spread of the time that a button is held.
        stands: Spread of the time between the last move and the press.
        types: Spread of the pause in which the password is typed.
        session: Factor of these spreads between sessions.
        sample: Factor of these spreads between strokes.
        strays: Probability that a movement starts with a stray one.
        second: Probability that a session is at a second desk, with another device.
    """

    pace: float = 0.1
    skew: float = 0.09
    bend: float = 0.22
    shake: float = 0.25
    reach: tuple[float, float] = (0.93, 0.03)
    held: float = 0.1
    stands: float = 0.22
    types: float = 0.18
    session: float = 1.0
    sample: float = 3.6
    strays: float = 0.5
    second: float = 0.4


@dataclass(kw_only=True, frozen=True)
class Hand:
    """A synthetic person: logarithms relative to the typical ones, except for shares and times.

    Args:
        traits: Pace, skew, bend, shake, held, stands and types, (7,).
        reach: Share of the distance of a first stroke.
        side: Side and size of the bend.
        desks: For each of two devices, the interval between events in ms, and the probability that
            a long path is split, as on a trackpad.
    """

    habits: Habits
    traits: Floats
    reach: float
    side: float
    desks: tuple[tuple[float, float], tuple[float, float]]

    def session(self, random: Random, count: int) -> list[list[Event]]:
        """Return the events of that many consecutive logins."""
        spreads = _spreads(self.habits)
        moved = self.traits + random.normal(0, self.habits.session * spreads)
        tick, lifts = self.desks[int(random.random() < self.habits.second)]
        return [
            _Login(
                hand=self,
                random=random,
                now=moved + random.normal(0, 0.7, 7) * spreads,
                tick=tick,
                lifts=lifts,
            ).whole()
            for _ in range(count)
        ]


@dataclass(kw_only=True, frozen=True)
class _Login:
    """A login of a person at a desk."""

    hand: Hand
    random: Random
    now: Floats
    tick: float
    lifts: float

    def whole(self) -> list[Event]:
        """Move to the field, click, pause while typing, move to the button, click."""
        random = self.random
        now = self.now
        places = _form(random)
        events: list[_Event] = []
        clock = 0.0
        for begin, end in pairwise(places):
            place, clock = self._move(begin, end, clock, events)
            stands = min(0.12 * float(np.exp(now[5] + random.normal(0, 0.8))), 1.5)
            held = 0.09 * float(np.exp(now[4] + random.normal(0, 0.28)))
            events += [(clock + stands, place, "down"), (clock + stands + held, place, "up")]
            clock += stands + held + 2.0 * float(np.exp(now[6] + random.normal(0, 0.5)))
        return [
            (round(t * 1000, 1), float(round(at.real)), float(round(at.imag)), kind)
            for t, at, kind in events[-_MOST:]
        ]

    def _move(
        self, at: complex, target: complex, clock: float, events: list[_Event]
    ) -> tuple[complex, float]:
        """Append the moves from one place to another; return the end position and time."""
        random = self.random
        far = abs(target - at)
        if random.random() < self.hand.habits.strays:
            aside = complex(*random.normal(0, 120, 2))
            at, clock = self._stroke(at, at + aside, clock, events)
            clock += random.exponential(0.4)
        parts = 1 + int(random.random() < self.lifts and far > 4 * _WIDTH)
        share = self.hand.reach + random.normal(0, 0.08)
        for left in range(parts, 0, -1):
            goal = at + (target - at) * (share if left == 1 else 1 / left)
            at, clock = self._stroke(at, goal, clock, events)
            clock += 0.25 * float(np.exp(random.normal(0, 0.2))) if left > 1 else 0.0
        while abs(target - at) > _WIDTH / 4:
            goal = at + (target - at) * (1 + random.normal(0, 0.1))
            soon = random.random() < _SOON
            clock += random.exponential(0.05) if soon else 0.25
            at, clock = self._stroke(at, goal, clock, events)
        return at, clock

    def _stroke(
        self, begin: complex, end: complex, clock: float, events: list[_Event]
    ) -> tuple[complex, float]:
        """Append one stroke; return its end position and time."""
        random = self.random
        habits = self.hand.habits
        chance = random.normal(0, habits.sample, 4) * _spreads(habits)[:4]
        pace, skew, bend, shake = np.exp(self.now[:4] + chance)
        far = abs(end - begin)
        lasts = float((0.15 + 0.14 * np.log2(far / _WIDTH + 1)) * pace)
        at = np.arange(random.uniform(0, self.tick), lasts * 1000, self.tick) / 1000
        if len(at) < 2:  # noqa: PLR2004 - a page sees nothing of it
            return end, clock + lasts
        share = _lognormal(at / lasts, float(np.clip(0.3 * skew, 0.1, 0.8)))
        aside = 0.06 * (bend * self.hand.side + random.normal(0, 0.8)) * np.sin(pi * share)
        errors = 0.4 * _tremor(random, at) + 0.1 * far * np.cumsum(
            np.diff(share, prepend=0.0) * _noise(random, len(at))
        )
        found = begin + (end - begin) * (share + 1j * aside) + shake * errors
        moved = np.diff(np.round(found), prepend=begin) != 0
        events += [
            (clock + when, place, "move")
            for when, place in zip(at[moved].tolist(), found[moved].tolist(), strict=True)
        ]
        return complex(found[-1]), clock + lasts


def _spreads(of: Habits) -> Floats:
    return np.array([of.pace, of.skew, of.bend, of.shake, of.held, of.stands, of.types])


def _form(random: Random) -> list[complex]:
    """Return the positions where the pointer starts, of the field and of the button."""
    begin = complex(*random.uniform((100, 100), (1200, 700)))
    field = complex(*random.normal((640, 380), (120, 20)))
    button = complex(*random.normal((640, 470), (80, 20))) + complex(*random.normal(0, 30, 2))
    return [begin, field, button]


def _lognormal(at: Floats, spread: float) -> Floats:
    """Return the share of the distance covered at each share of the time, 0 to 1."""
    mid = -_ENDS * spread
    steady = (np.log(np.maximum(at, 1e-6)) - mid) / spread
    gone = 1 / (1 + np.exp(-1.702 * steady))
    return np.asarray(gone / (1 / (1 + np.exp(-1.702 * _ENDS))))


def _tremor(random: Random, at: Floats) -> Places:
    rates = random.uniform(8, 12, 2)
    phase = random.uniform(0, 2 * pi, 2)
    across, along = np.sin(2 * pi * np.outer(rates, at) + phase[:, None])
    return np.asarray(across + 1j * along)


def _noise(random: Random, count: int) -> Places:
    return np.asarray(random.normal(0, 1, count) + 1j * random.normal(0, 1, count))


def hand(random: Random, habits: Habits) -> Hand:
    """Generate a person."""
    return Hand(
        habits=habits,
        traits=random.normal(0, _spreads(habits)),
        reach=float(random.normal(*habits.reach)),
        side=float(random.normal(0.3, 0.7)),
        desks=(_desk(random), _desk(random)),
    )


def _desk(random: Random) -> tuple[float, float]:
    lifts = random.beta(2, 2) if random.random() < _PADS else _SELDOM
    return float(random.choice(_TICKS)), float(lifts)


def trails(
    count: int,
    *,
    samples: int = 120,
    session: int = 10,
    seed: int = 0,
    habits: Habits | None = None,
) -> list[list[list[Event]]]:
    """Generate the pointer events of synthetic people, in order of time."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        person = hand(random, habits or Habits())
        given: list[list[Event]] = []
        while len(given) < samples:
            given += person.session(random, session)
        found.append(given[:samples])
    return found


def people(count: int, *, samples: int = 120, session: int = 10, seed: int = 0) -> list[Floats]:
    """Generate pointer columns, (samples, columns), in order of time; unfit samples are dropped."""
    rows = []
    for person in trails(count, samples=samples + session, session=session, seed=seed):
        found: list[Floats] = []
        for events in person:
            try:
                found.append(pointer(events).row)
            except NotScored:
                continue
        rows.append(np.array(found[:samples]))
    return rows
