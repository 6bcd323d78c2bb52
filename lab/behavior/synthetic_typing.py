"""A generator of typists: made-up people, from whom the shipped model learned what people are like.

Nobody's data is in it; its numbers are round ones of the published literature (hold times around
100 ms, press-to-press around 200 ms, Dhakal et al., CHI 2018). A typist has a tempo, a style that
touches neighboring keys alike, and habits of single keys, all log-normal; consistency differs
from person to person. Each session shifts tempo and single keys; each sample varies in tempo and
key by key, with heavy tails, hesitations and rollover. A new text is learned: times fall as a
power of the repetition (Newell and Rosenbloom 1981), more where the person hesitated.
"""

from dataclasses import dataclass

import numpy as np

from biometrics.behavior.layout import Floats


@dataclass(frozen=True)
class Traits:
    """How people differ and vary: standard deviations in logarithms of time.

    Args:
        hold: Median hold time, s.
        press: Median time from press to press, s.
        tempo: Of people's tempo.
        style: Of people's hold times, all keys together.
        key: Of single keys of a person, hold and press.
        neighbors: Correlation of the habits of neighboring keys.
        session: Of a session's shift, all keys together and key by key.
        sample: Of one sample, all keys together and key by key (hold, press).
        consistency: Of the factor by which a person varies more than others.
        hesitation: Chance of a pause before a key.
        learning: By how much the logarithm of time falls over the first fifty repetitions.
    """

    hold: float = 0.095
    press: float = 0.19
    tempo: float = 0.3
    style: float = 0.2
    key: tuple[float, float] = (0.16, 0.35)
    neighbors: float = 0.3
    session: tuple[float, float] = (0.05, 0.06)
    sample: tuple[float, float, float] = (0.06, 0.15, 0.2)
    consistency: float = 0.3
    hesitation: float = 0.02
    learning: float = 0.35


@dataclass(frozen=True)
class SyntheticTypist:
    """One person and the text."""

    traits: Traits
    hold: Floats
    press: Floats
    varies: float
    learning: float

    def session(self, random: np.random.Generator, first: int, count: int) -> Floats:
        """Return the typings (count, 2 n - 1) of one session: hold times, then press to press.

        Args:
            random: Where chance comes from.
            first: How often the text was typed before.
            count: How often it is typed now.
        """
        traits, keys = self.traits, len(self.hold)
        both, single = traits.session
        moved = random.normal(0, both) + random.normal(0, single, 2 * keys - 1)
        practice = self.learning * (1 + np.arange(first, first + count)) ** -0.4
        tempo = random.normal(0, traits.sample[0], (count, 1)) * self.varies
        hold = self.hold + moved[:keys] + 0.4 * tempo
        press = self.press + moved[keys:] + 1.5 * tempo + practice[:, None]
        hold = hold + self._noise(random, (count, keys), traits.sample[1])
        press = press + self._noise(random, (count, keys - 1), traits.sample[2])
        pauses = random.random((count, keys - 1)) < traits.hesitation * (1 + 4 * practice[:, None])
        press = press + pauses * random.exponential(0.8, (count, keys - 1))
        return np.asarray(np.exp(np.concatenate([hold, press], axis=1)).clip(0.005, 8.0))

    def _noise(self, random: np.random.Generator, shape: tuple[int, int], size: float) -> Floats:
        return np.asarray(random.standard_t(4, shape) * size * self.varies * 0.75)


def typist(random: np.random.Generator, keys: int, traits: Traits, text: Floats) -> SyntheticTypist:
    """Return a person; `text` (2 n - 1) is what its keys cost everybody, in logarithms."""
    tempo = random.normal(0, traits.tempo)
    holds = _habits(random, keys, traits.key[0], traits.neighbors)
    presses = _habits(random, keys - 1, traits.key[1], traits.neighbors)
    hold = np.log(traits.hold) + random.normal(0, traits.style) + 0.2 * tempo + holds
    press = np.log(traits.press) + tempo + presses
    return SyntheticTypist(
        traits,
        hold + text[:keys],
        press + text[keys:],
        float(np.exp(random.normal(0, traits.consistency))),
        abs(random.normal(traits.learning, 0.5 * traits.learning)),
    )


def _habits(random: np.random.Generator, count: int, size: float, neighbors: float) -> Floats:
    """Return habits of keys in a row, of which neighbors share some."""
    habit = random.normal(0, size, count + 1)
    return np.asarray(np.sqrt(1 - neighbors) * habit[1:] + np.sqrt(neighbors) * habit[:-1])


def people(
    count: int,
    keys: int,
    *,
    samples: int = 400,
    session: int = 50,
    seed: int = 0,
    traits: Traits | None = None,
) -> list[Floats]:
    """Return made-up people who all typed one text: arrays (samples, 2 n - 1), in seconds."""
    random = np.random.default_rng(seed)
    traits = traits or Traits()
    text = np.concatenate([random.normal(0, 0.08, keys), random.normal(0, 0.3, keys - 1)])
    found = []
    for _ in range(count):
        person = typist(random, keys, traits, text)
        parts = [
            person.session(random, first, min(session, samples - first))
            for first in range(0, samples, session)
        ]
        found.append(np.concatenate(parts))
    return found


def touches(rows: Floats, keys: int, seed: int = 0) -> Floats:
    """Return rows with pressure and contact size of a made-up finger added: (n, 4 n - 1)."""
    random = np.random.default_rng(seed)
    base = random.normal((0.35, 0.28), (0.12, 0.06))
    habit = random.normal(0, (0.04, 0.02), (keys, 2))
    shape = (len(rows), keys)
    drift = np.cumsum(random.normal(0, 0.003, (len(rows), 1)), axis=0)
    pressure = base[0] + habit[:, 0] + drift + 0.05 * random.standard_t(4, shape)
    size = base[1] + habit[:, 1] + 0.3 * (pressure - base[0]) + 0.02 * random.standard_t(4, shape)
    return np.concatenate([rows, pressure.clip(0.02, 1.0), size.clip(0.02, 1.0)], axis=1)
