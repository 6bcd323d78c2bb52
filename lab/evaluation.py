"""Error rates of scores (higher is more genuine) and their plots.

The EER per person is the mean over people, each with their own threshold, as in Killourhy and
Maxion (DSN 2009); the pooled EER has one threshold. Cllr (Brummer and du Preez 2006) is the cost
of log-likelihood ratios in bits: 1 for no information. Cllr_min is the cost after the best
monotone calibration (pool adjacent violators).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """Scores against one person's profile."""

    person: str
    genuine: Floats
    impostor: Floats


def rates(genuine: Floats, impostor: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the thresholds with the FRR and FAR at each."""
    thresholds = np.append(np.unique(np.concatenate([genuine, impostor])), np.inf)
    refused = np.searchsorted(np.sort(genuine), thresholds, "left") / len(genuine)
    accepted = 1 - np.searchsorted(np.sort(impostor), thresholds, "left") / len(impostor)
    return thresholds, refused, accepted


def eer(genuine: Floats, impostor: Floats) -> float:
    """Return the equal error rate, interpolated between two thresholds if necessary."""
    _, refused, accepted = rates(genuine, impostor)
    gap = refused - accepted
    after = int(np.argmax(gap >= 0))
    if after == 0:
        return float((refused[0] + accepted[0]) / 2)
    before = gap[after - 1]
    part = -before / (gap[after] - before)
    return float(refused[after - 1] + part * (refused[after] - refused[after - 1]))


def zero_miss_far(genuine: Floats, impostor: Floats) -> float:
    """Return the false acceptance rate at a false rejection rate of zero."""
    return float((impostor >= genuine.min()).mean())


def frr_at_far(genuine: Floats, impostor: Floats, far: float) -> float:
    """Return the false rejection rate at a false acceptance rate of at most `far`."""
    _, refused, accepted = rates(genuine, impostor)
    return float(refused[np.argmax(accepted <= far)])


def cllr(genuine: Floats, impostor: Floats) -> float:
    """Return Cllr, the cost of log-likelihood ratios (in nats) in bits."""
    miss = np.logaddexp(0.0, -genuine).mean()
    alarm = np.logaddexp(0.0, impostor).mean()
    return float((miss + alarm) / (2 * np.log(2)))


def cllr_min(genuine: Floats, impostor: Floats) -> float:
    """Return Cllr after the best monotone calibration."""
    scores = np.concatenate([genuine, impostor])
    labels = np.concatenate([np.ones(len(genuine)), np.zeros(len(impostor))])
    weights = np.where(labels > 0, 0.5 / len(genuine), 0.5 / len(impostor))
    # Genuine first among equal scores, so that they are pooled: no calibration can separate them.
    order = np.lexsort((-labels, scores))
    posterior = _isotonic(labels[order], weights[order])
    posterior = np.clip(posterior, 1e-12, 1 - 1e-12)
    llr = np.log(posterior / (1 - posterior))
    return cllr(llr[labels[order] > 0], llr[labels[order] == 0])


def _isotonic(values: Floats, weights: Floats) -> Floats:
    """Return the nondecreasing sequence nearest to `values` (pool adjacent violators)."""
    blocks: list[list[float]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean, mass, count = blocks.pop()
            left = blocks[-1]
            total = left[1] + mass
            left[0] = (left[0] * left[1] + mean * mass) / total
            left[1] = total
            left[2] = left[2] + count
    return np.repeat([block[0] for block in blocks], [int(block[2]) for block in blocks])


def summarize(trials: Sequence[Trial], clip: tuple[float, float] | None = None) -> dict[str, float]:
    """Return all error rates of the trials of several people.

    Args:
        trials: At least one person.
        clip: Bounds of the log-likelihood ratios for Cllr; None if scores are not such ratios,
            which leaves Cllr out.
    """
    each = [eer(trial.genuine, trial.impostor) for trial in trials]
    genuine = np.concatenate([trial.genuine for trial in trials])
    impostor = np.concatenate([trial.impostor for trial in trials])
    found = {
        "eer": float(np.mean(each)),
        "pooled_eer": eer(genuine, impostor),
        "zero_miss_far": float(np.mean([zero_miss_far(t.genuine, t.impostor) for t in trials])),
        "frr_at_far_1pct": frr_at_far(genuine, impostor, 0.01),
        "worst_person": max(each),
        "eer_half_width": 1.96 * float(np.std(each)) / max(1, len(each)) ** 0.5,
    }
    if clip is not None:
        low, high = clip
        bounded = np.clip(genuine, low, high), np.clip(impostor, low, high)
        found |= {"cllr": cllr(*bounded), "cllr_min": cllr_min(*bounded)}
    return found


def plot(trials: Sequence[Trial], title: str, stem: Path) -> list[Path]:
    """Draw the DET and reliability plots as PNG; raises ImportError without matplotlib."""
    from statistics import NormalDist  # noqa: PLC0415 - only for drawing

    import matplotlib as mpl  # noqa: PLC0415 - only when plots are requested

    mpl.use("Agg")
    from matplotlib.figure import Figure  # noqa: PLC0415 - after the backend is chosen

    genuine = np.concatenate([trial.genuine for trial in trials])
    impostor = np.concatenate([trial.impostor for trial in trials])
    _, refused, accepted = rates(genuine, impostor)
    normal = np.vectorize(NormalDist().inv_cdf)
    figure = Figure(figsize=(5, 5))
    axes = figure.subplots()
    axes.plot(normal(np.clip(accepted, 1e-4, 0.9999)), normal(np.clip(refused, 1e-4, 0.9999)))
    ticks = np.array([0.001, 0.01, 0.05, 0.2, 0.5])
    axes.set_xticks(normal(ticks), [f"{tick:g}" for tick in ticks])
    axes.set_yticks(normal(ticks), [f"{tick:g}" for tick in ticks])
    axes.set(xlabel="impostors accepted", ylabel="genuine refused", title=f"DET, {title}")
    axes.grid(visible=True)
    paths = [stem.with_name(f"{stem.name}-det.png"), stem.with_name(f"{stem.name}-reliability.png")]
    figure.savefig(paths[0], dpi=100)
    _reliability(Figure, genuine=genuine, impostor=impostor, title=title, path=paths[1])
    return paths


def _reliability(
    figure_type: type, *, genuine: Floats, impostor: Floats, title: str, path: Path
) -> None:
    """Draw the predicted probability against the observed share, at even prior odds."""
    scores = np.concatenate([genuine, impostor])
    labels = np.concatenate([np.ones(len(genuine)), np.zeros(len(impostor))])
    weights = np.where(labels > 0, 0.5 / len(genuine), 0.5 / len(impostor))
    predicted = 1 / (1 + np.exp(-np.clip(scores, -30, 30)))
    bins = np.minimum((predicted * 10).astype(int), 9)
    mass = np.bincount(bins, weights, 10)
    there = mass > 0
    observed = np.bincount(bins, weights * labels, 10)[there] / mass[there]
    mean = np.bincount(bins, weights * predicted, 10)[there] / mass[there]
    figure = figure_type(figsize=(5, 5))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "--")
    axes.plot(mean, observed, "o-")
    axes.set(xlabel="predicted probability", ylabel="share genuine", title=f"Reliability, {title}")
    figure.savefig(path, dpi=100)
