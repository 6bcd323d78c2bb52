"""Pointers that programs move at a login form, as the tools for it do; none of them is a person.

Each goes to a field, clicks, waits while something is typed, goes on to a button and clicks there.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from biometrics.behavior.strokes import Event, Places

Random = np.random.Generator
Way = Callable[[Random, complex, complex], Places]
_TICK_MS = 16.7


def _count(begin: complex, end: complex) -> int:
    return int(np.clip(abs(end - begin) / 12, 15, 70))


def _eased(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return shares**3 * (10 - 15 * shares + 6 * shares**2)


def _line(begin: complex, end: complex, shares: npt.NDArray[np.float64]) -> Places:
    return np.asarray(begin + (end - begin) * shares)


def line(_: Random, begin: complex, end: complex) -> Places:
    """Go straight, by steps of one length."""
    return _line(begin, end, np.linspace(0, 1, _count(begin, end)))


def eased_line(_: Random, begin: complex, end: complex) -> Places:
    """Go straight, with the speed of a hand."""
    return _line(begin, end, _eased(np.linspace(0, 1, _count(begin, end))))


def axis(_: Random, begin: complex, end: complex) -> Places:
    """Go straight along the axes, as keys do."""
    corner = complex(end.real, begin.imag)
    return np.concatenate([line(_, begin, corner), line(_, corner, end)[1:]])


def shaken_line(random: Random, begin: complex, end: complex) -> Places:
    """Go straight with chance of two pixels added at each step."""
    found = eased_line(random, begin, end)
    found[1:-1] += random.uniform(-2, 2, len(found) - 2) + 1j * random.uniform(
        -2, 2, len(found) - 2
    )
    return found


def _curve(random: Random, begin: complex, end: complex, at: npt.NDArray[np.float64]) -> Places:
    aside = 1j * (end - begin) * random.uniform(-0.4, 0.4, 2)
    one, two = begin + (end - begin) * np.array([0.3, 0.7]) + aside
    return np.asarray(
        begin * (1 - at) ** 3
        + 3 * one * at * (1 - at) ** 2
        + 3 * two * at**2 * (1 - at)
        + end * at**3
    )


def curve(random: Random, begin: complex, end: complex) -> Places:
    """Go along a Bezier curve, by even steps of its parameter."""
    return _curve(random, begin, end, np.linspace(0, 1, _count(begin, end)))


def eased_curve(random: Random, begin: complex, end: complex) -> Places:
    """Go along a Bezier curve with the speed of a hand."""
    return _curve(random, begin, end, _eased(np.linspace(0, 1, _count(begin, end))))


def arc(random: Random, begin: complex, end: complex) -> Places:
    """Go along a circle, by steps of one length."""
    bend = random.choice([-1, 1]) * random.uniform(0.4, 1.2)
    turns = np.exp(1j * np.linspace(0, bend, _count(begin, end)))
    return np.asarray(begin + (end - begin) * (turns - 1) / (np.exp(1j * bend) - 1))


def wind(random: Random, begin: complex, end: complex) -> Places:
    """Go as WindMouse does: drawn to the end, blown aside by a wind that wanders."""
    at, speed, blown, way = begin, 0j, 0j, [begin]
    while abs(end - at) > 3 and len(way) < 200:  # noqa: PLR2004 - pixels, and an end of it
        push = complex(*random.uniform(-1, 1, 2))
        blown = blown / 3**0.5 + push * min(6.0, abs(end - at)) / 5**0.5
        speed += blown + 9 * (end - at) / abs(end - at)
        most = min(15.0, max(3.0, abs(end - at) / 2))
        if abs(speed) > most:
            speed *= (most / 2 + random.random() * most / 2) / abs(speed)
        at += speed
        way.append(at)
    return np.array([*way, end])


WAYS: dict[str, Way] = {
    "line, even steps": line,
    "line, eased": eased_line,
    "along the axes": axis,
    "line, shaken by 2 px": shaken_line,
    "Bezier, even clock": curve,
    "Bezier, eased": eased_curve,
    "circle, even steps": arc,
    "WindMouse": wind,
}


def script(random: Random, way: Way, *, whole: bool = True) -> list[Event]:
    """Return what one program does; `whole`: positions are whole pixels."""
    begin, field, button = (complex(*random.uniform((100, 100), (1300, 800))) for _ in range(3))
    events: list[Event] = []
    now = 0.0
    for start, end in ((begin, field), (field, button)):
        for place in way(random, start, end).tolist():
            events.append((round(now, 1), *_spot(place, whole=whole), "move"))
            now += _TICK_MS + random.normal(0, 0.4)
        for kind, wait in (("down", 40.0), ("up", 70.0)):
            now += wait + random.uniform(0, 30)
            events.append((round(now, 1), *_spot(end, whole=whole), kind))
        now += random.uniform(1500, 3000)
    return events


def jump(random: Random, events: Sequence[Event]) -> list[Event]:
    """Return a person's moves with clicks elsewhere: sent to elements, with no way there."""
    found = []
    aside = complex(*random.uniform(-1, 1, 2)) * 300 + 60
    for t, x, y, kind in events:
        away = aside if kind != "move" else 0j
        found.append((t, x + away.real, y + away.imag, kind))
    return found


def moved(
    events: Sequence[Event],
    by: complex = 0j,
    scale: float = 1.0,
    *,
    whole: bool = False,
) -> list[Event]:
    """Return a recording shifted and scaled about its first place."""
    origin = complex(events[0][1], events[0][2])
    found = []
    for t, x, y, kind in events:
        place = origin + (complex(x, y) - origin) * scale + by
        found.append((t, *_spot(place, whole=whole), kind))
    return found


def _spot(place: Any, *, whole: bool) -> tuple[float, float]:  # noqa: ANN401 - complex of either kind
    return (round(place.real), round(place.imag)) if whole else (place.real, place.imag)
