"""Population models of a process: loaded once, and tested before anything starts."""

from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from biometrics.behavior.layout import Floats, Layout
from biometrics.behavior.model import BUCKETS, DEFAULT, BadModel, SignalModel, load
from biometrics.behavior.profile import Profile
from biometrics.behavior.scorer import ready, score
from service.domain.errors import SetupError
from service.signals.behavior.features import KEYSTROKE, MOTION, POINTER, TOUCH
from service.signals.behavior.scoring import Models

_LAYOUTS: Final = {
    KEYSTROKE: Layout.keystroke(8),
    TOUCH: Layout.touch(8),
    MOTION: Layout.motion(),
    POINTER: Layout.pointer(),
}
_SEED: Final = 1


def open_models(path: Path | None) -> Models:
    """Load the models of a file, or the default ones.

    Raises:
        SetupError: It cannot be read, has no keystroke model, or cannot score; the detail names it.
    """
    return _shipped() if path is None else _opened(path)


@cache
def _shipped() -> Models:
    """Return the default models, loaded once per process."""
    return _opened(DEFAULT)


def _opened(file: Path) -> Models:
    try:
        models = load(file)
        _check(file, models)
    except BadModel as error:
        raise SetupError("bad_behavior_model", f"LAMINA_BEHAVIOR_MODEL: {error}") from None
    return models


def _check(file: Path, models: Models) -> None:
    if KEYSTROKE not in models:
        raise BadModel(f"{file}: knows no keystrokes")
    for signal, layout in _LAYOUTS.items():
        if signal in models:
            _try(file, models[signal], layout)


def _try(file: Path, model: SignalModel, layout: Layout) -> None:
    """Score a random sample with every head, so that no login finds a broken one."""
    rows = _rows(layout, max(BUCKETS) + 1)
    try:
        found = [_score(model, layout, rows[:bucket], rows[-1]) for bucket in BUCKETS]
    except (ArithmeticError, LookupError, ValueError, TypeError) as error:
        raise BadModel(f"{file}: does not score ({type(error).__name__})") from None
    if not np.isfinite(found).all():
        raise BadModel(f"{file}: does not score (no number)")


def _score(model: SignalModel, layout: Layout, rows: Floats, probe: Floats) -> float:
    against = ready(Profile.empty(layout).absorb(rows), model)
    return score(against, probe).llr if against else 0.0


def _rows(layout: Layout, count: int) -> Floats:
    kept = np.random.default_rng(_SEED).uniform(0.08, 0.3, (count, len(layout.kept)))
    return layout.expand(kept)
