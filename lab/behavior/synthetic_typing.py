"""Generate synthetic typists for training the default model.

It contains no real person's data; its numbers are round ones from the published literature (hold
times around 100 ms, press-to-press around 200 ms, Dhakal et al., CHI 2018). A typist has a tempo,
a style shared by neighboring keys, and habits of single keys, all log-normal; consistency differs
between people. Each session shifts tempo and single keys; each sample varies in tempo and key by
key, with heavy tails, hesitations and rollover. A new text is learned: times fall as a power of
the repetition (Newell and Rosenbloom 1981), more where the person hesitated.
"""

from dataclasses import dataclass

import numpy as np

from biometrics.behavior.layout import Floats


@dataclass(kw_only=True, frozen=True)
class Traits:
    """Variation between and within people: standard deviations of log times.

    Args:
        hold: Median hold time, s.
        press: Median press-to-press time, s.
        tempo: Spread of people's tempo.
        style: Spread of people's hold times, all keys together.
        key: Spread of a person's single keys, hold and press.
        neighbors: Correlation of the habits of neighboring keys.
        session: Spread of a session's shift, all keys together and key by key.
        sample: Spread of one sample, all keys together and key by key (hold, press).
        consistency: Spread of the factor by which a person varies more than others.
        hesitation: Probability of a pause before a key.
        learning: Decrease of the log time over the first fifty repetitions.
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


@dataclass(kw_only=True, frozen=True)
class SyntheticTypist:
    """A person who types one text."""

    traits: Traits
    hold: Floats
    press: Floats
    varies: float
    learning: float

    def session(self, random: np.random.Generator, first: int, count: int) -> Floats:
        """Return the typings (count, 2 n - 1) of one session: hold times, then press to press.

        Args:
            random: The random generator.
            first: Number of earlier typings of the text.
            count: Number of typings now.
        """
        traits = self.traits
        keys = len(self.hold)
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
    """Generate a person; `text` (2 n - 1) is the log time that the keys cost everyone."""
    tempo = random.normal(0, traits.tempo)
    holds = _habits(random, keys, traits.key[0], traits.neighbors)
    presses = _habits(random, keys - 1, traits.key[1], traits.neighbors)
    hold = np.log(traits.hold) + random.normal(0, traits.style) + 0.2 * tempo + holds
    press = np.log(traits.press) + tempo + presses
    return SyntheticTypist(
        traits=traits,
        hold=hold + text[:keys],
        press=press + text[keys:],
        varies=float(np.exp(random.normal(0, traits.consistency))),
        learning=abs(random.normal(traits.learning, 0.5 * traits.learning)),
    )


def _habits(random: np.random.Generator, count: int, size: float, neighbors: float) -> Floats:
    """Return correlated habits of adjacent keys."""
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
    """Generate people who all type one text: arrays (samples, 2 n - 1), in seconds."""
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
    """Append pressure and contact size of a synthetic finger to rows: (n, 4 n - 1)."""
    random = np.random.default_rng(seed)
    base = random.normal((0.35, 0.28), (0.12, 0.06))
    habit = random.normal(0, (0.04, 0.02), (keys, 2))
    shape = (len(rows), keys)
    drift = np.cumsum(random.normal(0, 0.003, (len(rows), 1)), axis=0)
    pressure = base[0] + habit[:, 0] + drift + 0.05 * random.standard_t(4, shape)
    size = base[1] + habit[:, 1] + 0.3 * (pressure - base[0]) + 0.02 * random.standard_t(4, shape)
    return np.concatenate([rows, pressure.clip(0.02, 1.0), size.clip(0.02, 1.0)], axis=1)
