"""Passive cues of a presentation attack, which may count a little against a face.

A picture of a picture tends to lose fine detail and color and to shine evenly. Against unknown
kinds of attack such cues are no better than chance, so they never count for a face, and at most
one nat against it. To them an infrared camera, without colors, looks like a faded print.
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
"""The minimum of the log-likelihood ratio of all cues together, in nats."""
_FADED: Final = 12.0
"""Chroma in gray levels; no face that `benchmarks/face_cues.py` counts as accepted has less."""
_SHINY: Final = 0.02
"""Share of saturated pixels; no face that it counts as accepted has more."""
_NATS: Final = {"faded": -1.0, "shine": -0.5}


def cues(chip: Picture) -> Mapping[str, float]:
    """Compute the cues of an aligned face, uint8 (150, 150, 3).

    Returns:
        ``fine``: share of spectral energy in the finest quarter of frequencies; ``shine``: share of
        saturated pixels; ``color``: spread of chroma in gray levels.
    """
    light = grey(chip).astype(np.float64)
    spectrum = np.abs(np.fft.fft2(light - light.mean())) ** 2
    fine = spectrum[_finest(*spectrum.shape)].sum() / max(spectrum.sum(), 1e-9)
    blue, green, red = cv2.split(chip)
    most = cv2.max(cv2.max(blue, green), red)
    least = cv2.min(cv2.min(blue, green), red)
    spread = most - least
    return {
        "fine": float(fine),
        "shine": float((light >= _SHINE).mean()),
        "color": float(spread.std()),
    }


@cache
def _finest(rows: int, columns: int) -> npt.NDArray[np.bool_]:
    """Return a mask of the finest quarter of frequencies in a spectrum of this size."""
    down = np.fft.fftfreq(rows)
    across = np.fft.fftfreq(columns)
    return np.asarray(np.hypot(down[:, None], across[None]) > _FINE)


def mean(frames: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each cue over frames with the same cues."""
    names = frames[0] if frames else {}
    return {name: sum(frame[name] for frame in frames) / len(frames) for name in names}


def judge(found: Mapping[str, float]) -> Mapping[str, float]:
    """Return the cues that count against a living face, with their nats (below 0).

    Args:
        found: The result of `cues`; empty if none were computed, which counts as no evidence.
    """
    against: dict[str, float] = {}
    # The comparisons are written so that NaN counts against the face.
    if found and not found["color"] >= _FADED:
        against["faded"] = _NATS["faded"]
    if found and not found["shine"] <= _SHINY:
        against["shine"] = _NATS["shine"]
    return against


def llr(against: Mapping[str, float]) -> float:
    """Return the log-likelihood ratio of all cues against a face: from `WORST` to 0 nats."""
    return max(WORST, sum(against.values()))
