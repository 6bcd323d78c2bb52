"""How many honest logins are challenged when attacks are caught: the login context and its rivals.

    python -m benchmarks.login_context [--quick] [--seed N] [--out FILE] [--plot FILE.png]

Runs the worlds of `benchmarks.login_worlds`: every honest login is scored against what was learned
before it and then learned; attacks are scored and never learned. Figures are taken from the last
third of the days. The default seed is held out: parameters were set on other seeds. Also measures
the CPU of one assessment. Exit code 1 when a bar is missed.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from benchmarks.login_inhabitants import Event
from benchmarks.login_rivals import Freeman, Rules
from benchmarks.login_worlds import STRENGTHS, World
from crypto import envelope
from crypto.fields import FieldContext
from crypto.keyring import KeyEncryptionKey
from service.domain.ids import subject_owner
from service.signals.login_context import model
from service.signals.login_context.features import Level, Observed, observe
from service.signals.login_context.history import History, PastLogin, digests, unpack
from service.signals.login_context.population import COUNTED, ContextCounts

HELD_OUT = 4242
CAUGHT = 0.98
BARS = {"naive": 0.015, "vpn": 0.05, "targeted": 0.10}
SLOWEST = 150.0
TRAINING = 2 / 3
POINTS = (0.5, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
METHODS = ("context, token", "context", "rules, token", "rules", "Freeman 2016")
Floats = npt.NDArray[np.float64]
Scores = dict[str, dict[str, Floats]]


class Everybody:
    """The population's counts while the world runs, as the job would fold them."""

    def __init__(self) -> None:
        self._counts: dict[bytes, float] = defaultdict(float)
        self._totals = [0.0] * len(Level)
        self.snapshot = ContextCounts(self._counts, self._totals)

    def add(self, values: dict[Level, bytes]) -> None:
        """Count one login of one person."""
        for level in COUNTED:
            if level in values:
                self._counts[values[level]] += 1
                self._totals[level] += 1


class Context:
    """The model under measurement; with the token as a feature, or without."""

    def __init__(self, *, token: bool) -> None:
        self._token = token
        self._histories: dict[int, History] = defaultdict(History)
        self._everybody = Everybody()

    def score(self, event: Event, seen: Observed) -> float:
        """Return the ratio."""
        history = self._histories[event.person]
        population = self._everybody.snapshot
        shares = population.shares(_global(seen))
        return model.score(history, self._login(event, seen), population, shares).llr

    def learn(self, event: Event, seen: Observed) -> None:
        """Learn an honest login."""
        history = self._histories[event.person]
        history.learn(self._login(event, seen))
        if history.due(int(event.at.timestamp())):
            self._everybody.add(_global(seen))

    def history(self, person: int) -> History:
        """Return what was learned of a person."""
        return self._histories[person]

    def population(self) -> ContextCounts:
        """Return the counts among everybody."""
        return self._everybody.snapshot

    def _login(self, event: Event, seen: Observed) -> PastLogin:
        keyed = digests(b"k" * 32, event.person.to_bytes(4, "big"), seen.values)
        return PastLogin(
            at=int(event.at.timestamp()),
            hour=seen.hour,
            known_device=self._token and event.token,
            digests=keyed,
            version=seen.version,
            place=seen.place,
        )


def _global(seen: Observed) -> dict[Level, bytes]:
    return digests(b"k" * 32, b"everybody", seen.values)


class Trial:
    """All methods side by side on one world."""

    def __init__(self) -> None:
        self.context = Context(token=True)
        self._without = Context(token=False)
        self._ruled, self._plain = Rules(token=True), Rules(token=False)
        self._freeman = Freeman()
        self._scores: dict[str, dict[str, list[float]]] = {
            name: defaultdict(list) for name in METHODS
        }
        self.tokens: list[bool] = []

    def measure(self, event: Event, seen: Observed) -> None:
        """Score a login by every method."""
        scores = (
            self.context.score(event, seen),
            self._without.score(event, seen),
            self._ruled.score(event.person, seen, token=event.token),
            self._plain.score(event.person, seen, token=event.token),
            self._freeman.score(event.person, seen),
        )
        for name, score in zip(METHODS, scores, strict=True):
            self._scores[name][event.kind].append(score)
        if event.kind == "honest":
            self.tokens.append(event.token)

    def learn(self, event: Event, seen: Observed, *, training: bool) -> None:
        """Learn an honest login; attacks only label the reputation, in the training days."""
        honest = event.kind == "honest"
        if training:
            self._freeman.reputation(seen, attack=not honest)
        if not honest:
            return
        for learner in (self.context, self._without):
            learner.learn(event, seen)
        for rival in (self._ruled, self._plain, self._freeman):
            rival.learn(event.person, seen)

    def scores(self) -> Scores:
        """Return the scores by method and kind."""
        return {
            name: {kind: np.array(values) for kind, values in by_kind.items()}
            for name, by_kind in self._scores.items()
        }


def run(world: World, attacks: int) -> tuple[Scores, Context, dict[str, Any]]:
    """Return the scores by method and kind, the model at the end, and what the world was like."""
    trial = Trial()
    events = world.events(attacks, 0.3)
    for event in events:
        seen = observe(
            event.ip,
            agent_text=event.header,
            languages=event.language,
            now=event.at,
            locate=world.locate,
        )
        training = (event.at - events[0].at).days < TRAINING * world.days
        if not training and trial.context.history(event.person).logins:
            trial.measure(event, seen)
        trial.learn(event, seen, training=training)
    scores = trial.scores()
    about = {
        "people": len(world.people),
        "logins": sum(event.kind == "honest" for event in events),
        "honest_measured": len(trial.tokens),
        "attacks_measured": len(scores["context"]["naive"]),
        "honest_without_token": round(1 - statistics.mean(trial.tokens), 4),
    }
    return scores, trial.context, about


def challenged(honest: Floats, attacks: Floats, caught: float | Floats) -> Floats:
    """Return the share of honest logins challenged when a share of attacks is caught.

    Ties are broken at random, which draws the curve straight between two thresholds: kind to rules,
    whose points are few.
    """
    every = np.unique(np.concatenate([honest, attacks]))
    hit = np.searchsorted(np.sort(attacks), every, side="right") / len(attacks)
    cost = np.searchsorted(np.sort(honest), every, side="right") / len(honest)
    drawn = np.interp(caught, np.concatenate([[0.0], hit]), np.concatenate([[0.0], cost]))
    return np.asarray(drawn)


def table(scores: Scores) -> dict[str, dict[str, float]]:
    """Return the share challenged at 98 % caught, by method and strength."""
    return {
        name: {
            kind: round(float(challenged(found["honest"], found[kind], CAUGHT)), 5)
            for kind in STRENGTHS
        }
        for name, found in scores.items()
    }


def curve(scores: Scores) -> dict[str, Any]:
    """Return the shares challenged at several shares caught, by method and strength."""
    found: dict[str, Any] = {"caught": list(POINTS)}
    for name, by_kind in scores.items():
        found[name] = {
            kind: [
                round(float(challenged(by_kind["honest"], by_kind[kind], at)), 5) for at in POINTS
            ]
            for kind in STRENGTHS
        }
    return found


def better_everywhere(scores: Scores, name: str) -> dict[str, float]:
    """Return how far a method lies below Freeman's curve where it is nearest (more is better)."""
    caught = np.linspace(0.01, 0.999, 400)
    other = scores["Freeman 2016"]
    found = {}
    for kind in STRENGTHS:
        mine = challenged(scores[name]["honest"], scores[name][kind], caught)
        theirs = challenged(other["honest"], other[kind], caught)
        found[kind] = round(float((theirs - mine).min()), 5)
    return found


def speed(context: Context, world: World, rounds: int) -> dict[str, float]:
    """Return the CPU of one assessment in µs: p50 and p95 over people with full histories.

    Included: opening the sealed history under a warm data key, unpacking it, reading the address
    and the user agent, placing the address, the keyed digests, the shares and the score. Not
    included: the database's round trip.
    """
    owner = subject_owner(subject := UUID(int=7))
    kek = KeyEncryptionKey("behavior", 1, b"k" * 32)
    _, key = envelope.create_data_key(kek, owner, 1)
    place = FieldContext(
        table="login_context_history", column="content", owner=owner, row=subject, extra=b""
    )
    people = sorted(range(len(world.people)), key=lambda one: -context.history(one).logins)
    events = {event.person: event for event in world.events(0, 1.0)}
    sealed = [
        (key.seal(context.history(one).pack(), place), events[one])
        for one in people[: len(people) // 4]
        if one in events
    ]
    population, spent = context.population(), []
    for turn in range(rounds):
        cell, event = sealed[turn % len(sealed)]
        begun = time.process_time_ns()
        seen = observe(
            event.ip,
            agent_text=event.header,
            languages=event.language,
            now=event.at,
            locate=world.locate,
        )
        history = unpack(key.open(cell, place))
        keyed = digests(b"k" * 32, subject.bytes, seen.values)
        login = PastLogin(
            at=int(event.at.timestamp()),
            hour=seen.hour,
            known_device=True,
            digests=keyed,
            version=seen.version,
            place=seen.place,
        )
        model.score(history, login, population, population.shares(_global(seen)))
        spent.append((time.process_time_ns() - begun) / 1000)
    spent.sort()
    sizes = [len(context.history(one).pack()) for one in people]
    return {
        "us_p50": round(spent[len(spent) // 2], 1),
        "us_p95": round(spent[int(0.95 * len(spent))], 1),
        "bytes_p50": statistics.median(sizes),
        "bytes_max": max(sizes),
    }


def plot(scores: Scores, to: Path) -> None:
    """Draw the curves, one panel for each strength."""
    import matplotlib as mpl  # noqa: PLC0415 - only when a plot is wanted

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    caught = np.linspace(0.5, 0.999, 400)
    figure, panels = plt.subplots(1, 3, figsize=(13, 4.2), sharey=True)
    for panel, kind in zip(panels, STRENGTHS, strict=True):
        for name, found in scores.items():
            cost = challenged(found["honest"], found[kind], caught)
            panel.plot(100 * caught, 100 * np.maximum(cost, 1e-4), label=name)
        panel.axvline(98, color="gray", linewidth=0.7)
        panel.set(title=kind, xlabel="attacks caught, %", yscale="log")
    panels[0].set_ylabel("honest logins challenged, %")
    panels[0].legend()
    figure.tight_layout()
    figure.savefig(to, dpi=110)


def missed(found: dict[str, Any]) -> list[str]:
    """Return the bars that are missed, as text."""
    shares, misses = found["challenged_at_98"], []
    for kind, bar in BARS.items():
        if shares["context, token"][kind] > bar:
            misses.append(f"{kind} with the token: above {bar:.1%}")
        if shares["context"][kind] > shares["rules"][kind]:
            misses.append(f"{kind} without the token: worse than rules")
    # Without the token the gap is reported, and no bar: the published form has no such feature,
    # but its reputation is taught by the labels of the very attackers it meets.
    for name, gaps in list(found["below_freeman"].items())[:1]:
        misses += [
            f"{name}, {kind}: above Freeman somewhere" for kind, gap in gaps.items() if gap < 0
        ]
    if found["speed"]["us_p50"] > SLOWEST:
        misses.append(f"assessment slower than {SLOWEST:.0f} µs")
    return misses


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="600 people rather than 3000")
    parser.add_argument("--seed", type=int, default=HELD_OUT)
    parser.add_argument("--loss", type=float, default=1.0, help="times the rate of lost tokens")
    parser.add_argument("--out", type=Path, help="write JSON here")
    parser.add_argument("--plot", type=Path, help="write the curves here as PNG")
    options = parser.parse_args(arguments)
    world = World(options.seed, 600 if options.quick else 3000, loss=options.loss)
    scores, context, about = run(world, 3)
    found: dict[str, Any] = {
        "seed": options.seed,
        "loss": options.loss,
        "world": about,
        "challenged_at_98": table(scores),
        "curve": curve(scores),
        "below_freeman": {name: better_everywhere(scores, name) for name in METHODS[:2]},
        "speed": speed(context, world, 2000 if options.quick else 10_000),
    }
    found["missed"] = missed(found)
    print(json.dumps(about))
    print(f"{'':16}" + "".join(f"{kind:>10}" for kind in STRENGTHS))
    for name, shares in found["challenged_at_98"].items():
        print(f"{name:16}" + "".join(f"{100 * shares[kind]:9.2f}%" for kind in STRENGTHS))
    print(json.dumps(found["below_freeman"]), json.dumps(found["speed"]))
    print(*found["missed"], sep="\n")
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    if options.plot:
        plot(scores, options.plot)
    if found["missed"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
