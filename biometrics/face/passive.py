"""Passive cues of a presentation attack: a signal that may speak against a face, a little.

A picture of a picture tends to lose fine detail and color and to shine evenly. Against attacks of
an unseen kind such cues are no better than chance, so that they never speak for a face, and against
it one nat at most. A camera without colors, as in the infrared, looks like a faded print to them.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from biometrics.face.images import Picture, grey

_SHINE: Final = 250
_FINE: Final = 0.25
WORST: Final = -1.0
"""The log-likelihood ratio, in nats, that all cues together may come to."""
_FADED: Final = 12.0
"""Grey levels of chroma; nothing that `benchmarks/face_cues.py` counts as taken has less."""
_SHINY: Final = 0.02
"""Share of saturated pixels; nothing that it counts as taken has more."""
_NATS: Final = {"faded": -1.0, "shine": -0.5}


def cues(chip: Picture) -> Mapping[str, float]:
    """Return the cues of an aligned face, uint8 (150, 150, 3).

    Returns:
        ``fine``: share of spectral energy in the finest quarter of frequencies; ``shine``: share of
        saturated pixels; ``color``: spread of chroma in grey levels.
    """
    light = grey(chip).astype(np.float64)
    spectrum = np.abs(np.fft.fft2(light - light.mean())) ** 2
    fine = spectrum[_finest(*spectrum.shape)].sum() / max(spectrum.sum(), 1e-9)
    blue, green, red = cv2.split(chip)
    most, least = cv2.max(cv2.max(blue, green), red), cv2.min(cv2.min(blue, green), red)
    spread = most - least
    return {
        "fine": float(fine),
        "shine": float((light >= _SHINE).mean()),
        "color": float(spread.std()),
    }


@cache
def _finest(rows: int, columns: int) -> npt.NDArray[np.bool_]:
    """Return where in a spectrum of this size the finest quarter of frequencies is."""
    down, across = np.fft.fftfreq(rows), np.fft.fftfreq(columns)
    return np.asarray(np.hypot(down[:, None], across[None]) > _FINE)


def mean(frames: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each cue over frames that all have the same ones."""
    names = frames[0] if frames else {}
    return {name: sum(frame[name] for frame in frames) / len(frames) for name in names}


def judge(found: Mapping[str, float]) -> Mapping[str, float]:
    """Return the cues that speak against a living face, each with its nats, below 0.

    Args:
        found: As `cues` returns them; empty where none were taken, which speaks of nothing.
    """
    against: dict[str, float] = {}
    # Written so that a NaN counts against.
    if found and not found["color"] >= _FADED:
        against["faded"] = _NATS["faded"]
    if found and not found["shine"] <= _SHINY:
        against["shine"] = _NATS["shine"]
    return against


def llr(against: Mapping[str, float]) -> float:
    """Return the log-likelihood ratio of what speaks against a face: from `WORST` to 0 nats."""
    return max(WORST, sum(against.values()))
