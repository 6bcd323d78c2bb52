"""Generate synthetic people who hold a telephone and type: sensor series of motion.

It contains no real person's data; its numbers are round ones from physics and the published
literature: telephones are held at about 45 degrees, physiological tremor has 6 to 12 Hz, people
walk 1.6 to 2.1 steps a second and each step moves a hand by some m/s². A person has habits: an
angle, sizes of tremor and sway, a recoil at each tap, a gait with shares of the axes. Each session
has a posture and shifts all habits a little; samples drift, so that a profile of one posture does
not cover the others.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from biometrics.behavior.layout import Floats
from biometrics.behavior.motion import GRAVITY, Series, motion

POSTURES: Final = ("sitting", "standing", "walking")


@dataclass(kw_only=True, frozen=True)
class Holding:
    """Variation between and within people: angles in degrees, sizes in logarithms.

    Args:
        pitch: Mean angle from flat, and its spread over people.
        roll: Spread over people of the sideways angle.
        posture: Spread of a person's angles over postures (pitch, roll).
        session: Spread of a person's angles over sessions (pitch, roll).
        sample: Spread of a sample (of the pitch; the roll has half), and of its drift.
        size: Spread over people of tremor, sway, recoil and gait.
        axis: Spread of a person's shares of the axes.
        varies: Spread of the sizes of a session, and of a sample.
        stays: Probability that the next session keeps the posture.
    """

    pitch: tuple[float, float] = (45.0, 13.0)
    roll: float = 6.0
    posture: tuple[float, float] = (12.0, 5.0)
    session: tuple[float, float] = (8.0, 3.0)
    sample: tuple[float, float] = (2.5, 1.0)
    size: float = 0.4
    axis: float = 0.3
    varies: tuple[float, float] = (0.3, 0.2)
    stays: float = 0.85


@dataclass(frozen=True)
class Posture:
    """The effect of a posture on everyone.

    Args:
        sway: Sway of the hand in degrees.
        tremor: Tremor of the acceleration, m/s².
        gait: Acceleration of a step, m/s², and its rotation, degrees per second.
    """

    sway: float
    tremor: float
    gait: tuple[float, float] = (0.0, 0.0)


HOW: Final = {
    "sitting": Posture(0.8, 0.05),
    "standing": Posture(1.2, 0.07),
    "walking": Posture(1.8, 0.12, (1.2, 22.0)),
}
_RECOIL: Final = (1.5, 20.0)
"""Acceleration of a tap, m/s², and its rotation, degrees per second."""
_RINGS: Final = 5.0
"""Frequency in Hz of the hand's swing after a tap."""
_FADES: Final = 0.08
_NOISE: Final = (0.02, 0.15)
"""Sensor noise."""


@dataclass(kw_only=True, frozen=True)
class Holder:
    """A synthetic person.

    Args:
        angles: Pitch and roll of each posture, degrees, (postures, 2).
        sizes: Logarithms of tremor, sway, recoil and gait relative to the typical ones, (4,).
        shares: Logarithms of the axes' shares in acceleration and rotation of each, (4, 2, 3).
        tempo: Seconds from tap to tap.
        pace: Steps a second.
        mix: Probability of each posture.
    """

    traits: Holding
    angles: Floats
    sizes: Floats
    shares: Floats
    tempo: float
    pace: float
    mix: Floats

    def session(
        self, random: np.random.Generator, posture: str, count: int, hz: float = 50.0
    ) -> list[Series]:
        """Return the series of consecutive typings in one posture."""
        traits = self.traits
        at = POSTURES.index(posture)
        begin = self.angles[at] + random.normal(0, traits.session)
        sizes = self.sizes + random.normal(0, traits.varies[0], 4)
        wander = np.cumsum(random.normal(0, traits.sample[1], (count, 2)), axis=0)
        wander = wander + random.normal(0, traits.sample[0], (count, 2)) * (1.0, 0.5)
        return [
            self._series(
                random,
                how=HOW[posture],
                angles=begin + moved,
                sizes=np.exp(sizes + random.normal(0, traits.varies[1], 4)),
                hz=hz,
            )
            for moved in wander
        ]

    def _series(
        self, random: np.random.Generator, *, how: Posture, angles: Floats, sizes: Floats, hz: float
    ) -> Series:
        tempo = self.tempo * np.exp(random.normal(0, 0.1))
        taps = np.cumsum(tempo * np.exp(random.normal(0, 0.25, int(random.integers(8, 13)))))
        times = np.arange(0.0, min(taps[-1] + 0.3, 399 / hz), 1 / hz)
        swayed, turned = self._sway(random, times, how.sway * sizes[1])
        acc = _gravity(angles + swayed)
        rot = np.concatenate([turned, np.zeros((len(times), 1))], axis=1)
        parts = (
            (0, _tremor(random, times), how.tremor * sizes[0], 8 * how.tremor * sizes[0]),
            (2, _recoil(random, times, taps), _RECOIL[0] * sizes[2], _RECOIL[1] * sizes[2]),
            (3, _gait(random, times, self.pace), how.gait[0] * sizes[3], how.gait[1] * sizes[3]),
        )
        for which, shape, pushed, spun in parts:
            share = np.exp(self.shares[which])
            acc = acc + pushed * share[0] * shape[:, :3]
            rot = rot + spun * share[1] * shape[:, 3:]
        acc = acc + random.normal(0, _NOISE[0], acc.shape)
        rot = rot + random.normal(0, _NOISE[1], rot.shape)
        return Series(hz, acc.tolist(), rot.tolist())

    def _sway(
        self, random: np.random.Generator, times: Floats, size: float
    ) -> tuple[Floats, Floats]:
        """Return slow changes of pitch and roll (n, 2), degrees, and their rates."""
        rates = random.uniform(0.2, 1.5, (3, 2)) * 2 * np.pi
        phase = random.uniform(0, 2 * np.pi, (3, 2))
        sizes = size * np.exp(self.shares[1, 0, :2]) * random.rayleigh(0.5, (3, 2))
        angle = times[:, None, None] * rates + phase
        return (np.sin(angle) * sizes).sum(axis=1), (np.cos(angle) * sizes * rates).sum(axis=1)


def _gravity(angles: Floats) -> Floats:
    """Return gravity along the axes (n, 3) from pitch and roll in degrees (n, 2)."""
    pitch, roll = np.radians(angles).T
    flat = GRAVITY * np.cos(roll)
    return np.stack([GRAVITY * np.sin(roll), flat * np.sin(pitch), flat * np.cos(pitch)], axis=1)


def _tremor(random: np.random.Generator, times: Floats) -> Floats:
    """Return a tremor of unit size: three tones of 6 to 12 Hz along each of six axes, (n, 6)."""
    rates = random.uniform(6, 12, (3, 6)) * 2 * np.pi
    phase = random.uniform(0, 2 * np.pi, (3, 6))
    return np.asarray(np.sin(times[:, None, None] * rates + phase).sum(axis=1) / np.sqrt(1.5))


def _recoil(random: np.random.Generator, times: Floats, taps: Floats) -> Floats:
    """Return the recoil of taps, about unit size: into the screen mostly, turning x most."""
    since = times[:, None] - taps
    swing = np.where(since > 0, np.exp(-np.maximum(since, 0) / _FADES), 0.0)
    force = random.lognormal(0, 0.3, len(taps))
    side = random.normal(0, 1, len(taps))
    ringing = np.sin(2 * np.pi * _RINGS * since) * swing
    straight = ringing @ force
    aslant = ringing @ (force * side)
    return np.stack(
        [0.4 * aslant, 0.5 * straight, -straight, straight, 0.7 * aslant, 0.4 * aslant], axis=1
    )


def _gait(random: np.random.Generator, times: Floats, pace: float) -> Floats:
    """Return steps of unit size: up and down at the pace, sideways at half of it, (n, 6)."""
    pace = pace * np.exp(random.normal(0, 0.03))
    phase = random.uniform(0, 2 * np.pi, 6)
    step = 2 * np.pi * pace * times
    up = np.sin(step + phase[0])
    on = np.sin(2 * step + phase[1])
    side = np.sin(step / 2 + phase[2])
    nod, turn, lean = (
        np.sin(step * rate + at) for rate, at in zip((1, 0.5, 0.5), phase[3:], strict=True)
    )
    return np.stack([0.6 * side, 0.8 * up + 0.3 * on, 0.8 * up + 0.3 * on, nod, turn, lean], axis=1)


def holder(random: np.random.Generator, traits: Holding) -> Holder:
    """Generate a person."""
    center = (random.normal(*traits.pitch), random.normal(0, traits.roll))
    return Holder(
        traits=traits,
        angles=center + random.normal(0, traits.posture, (len(POSTURES), 2)),
        sizes=random.normal(0, traits.size, 4),
        shares=random.normal(0, traits.axis, (4, 2, 3)),
        tempo=float(0.3 * np.exp(random.normal(0, 0.25))),
        pace=float(random.normal(1.85, 0.12)),
        mix=random.dirichlet((2.0, 1.0, 1.0)),
    )


def series(
    count: int,
    *,
    samples: int = 120,
    session: int = 10,
    seed: int = 0,
    traits: Holding | None = None,
) -> list[list[Series]]:
    """Generate the sensor series of synthetic people, in order of time."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        person = holder(random, traits or Holding())
        posture = str(random.choice(POSTURES, p=person.mix))
        given: list[Series] = []
        while len(given) < samples:
            if random.random() > person.traits.stays:
                posture = str(random.choice(POSTURES, p=person.mix))
            given += person.session(random, posture, session)
        found.append(given[:samples])
    return found


def people(count: int, *, samples: int = 120, session: int = 10, seed: int = 0) -> list[Floats]:
    """Generate the motion columns of synthetic people, (samples, columns), in order of time."""
    given = series(count, samples=samples, session=session, seed=seed)
    return [np.array([motion(one).row for one in person]) for person in given]
