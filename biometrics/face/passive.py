"""Passive cues of a presentation attack: numbers to report, on which no decision rests.

A picture of a picture tends to lose fine detail, to show grids and to shine evenly. Measured on
unseen kinds of attack such cues are no better than chance, so they are a signal at most.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from biometrics.face.images import Picture, grey

_SHINE: Final = 250
_FINE: Final = 0.25


def cues(chip: Picture) -> Mapping[str, float]:
    """Return the cues of an aligned face, uint8 (150, 150, 3).

    Returns:
        ``fine``: share of spectral energy in the finest quarter of frequencies; ``shine``: share of
        saturated pixels; ``color``: spread of chroma in grey levels.
    """
    light = grey(chip).astype(np.float64)
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(light - light.mean()))) ** 2
    rows, columns = np.indices(spectrum.shape)
    radius = np.hypot(rows / len(spectrum) - 0.5, columns / len(spectrum) - 0.5)
    fine = spectrum[radius > _FINE].sum() / max(spectrum.sum(), 1e-9)
    spread = chip.astype(np.float64).max(axis=2) - chip.astype(np.float64).min(axis=2)
    return {
        "fine": float(fine),
        "shine": float((light >= _SHINE).mean()),
        "color": float(spread.std()),
    }
