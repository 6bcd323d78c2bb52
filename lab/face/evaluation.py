"""Measure face recognition accuracy: on pairs of pictures, or templates against probes.

Rates are shares of comparisons, with the 95 % upper bound of Clopper and Pearson (1934): so few
identities can detect a regression, but cannot prove a rate of 1e-4.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from biometrics.face.arrays import Floats
from biometrics.face.calibration import GRID, upper
from biometrics.face.model import MATCH_THRESHOLD

Numbers = npt.NDArray[np.float64]
_RATES: Final = (1e-2, 1e-3, 1e-4)


class BadPairs(ValueError):
    """The list of pairs cannot be read; the text names the line."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures, whether they show one person, and the set they belong to."""

    one: str
    other: str
    same: bool
    group: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Distances of genuine and of impostor comparisons."""

    genuine: Numbers
    impostor: Numbers


def read_pairs(file: Path) -> list[Pair]:
    """Return the pairs of a CSV with the columns path_a, path_b, same and set; raises BadPairs."""
    with file.open(encoding="utf-8", newline="") as rows:
        reader = csv.DictReader(rows)
        if not {"path_a", "path_b", "same", "set"} <= set(reader.fieldnames or ()):
            raise BadPairs("the first line must name path_a, path_b, same and set")
        return list(_pairs(reader))


def _pairs(rows: Iterator[dict[str, str]]) -> Iterator[Pair]:
    for number, row in enumerate(rows, 2):
        if row["same"] not in {"0", "1"} or not row["path_a"] or not row["path_b"]:
            raise BadPairs(f"line {number}: two paths, and 0 or 1 in same")
        yield Pair(row["path_a"], row["path_b"], row["same"] == "1", row["set"] or "")


def by_pairs(pairs: Sequence[Pair], vectors: Mapping[str, Floats]) -> Compared:
    """Compare pairs of single pictures; pairs with an unreadable picture are left out."""
    genuine: list[float] = []
    impostor: list[float] = []
    for pair in pairs:
        if pair.one in vectors and pair.other in vectors:
            distance = float(np.linalg.norm(vectors[pair.one] - vectors[pair.other]))
            (genuine if pair.same else impostor).append(distance)
    return Compared(np.array(genuine), np.array(impostor))


def by_templates(vectors: Mapping[str, Floats], enroll: int, probe: int) -> Compared:
    """Compare means: the first pictures of a folder enroll, groups of the others are probes.

    Args:
        vectors: Vectors by path; the folder is the identity, its parent folder the set.
        enroll: Pictures in a template.
        probe: Pictures in a probe.
    """
    people: dict[Path, list[str]] = {}
    for name in sorted(vectors):
        people.setdefault(Path(name).parent, []).append(name)
    templates = {
        who: _mean([vectors[name] for name in names[:enroll]])
        for who, names in people.items()
        if len(names) >= enroll + probe
    }
    genuine: list[float] = []
    impostor: list[float] = []
    for who, names in people.items():
        rest = names[enroll:]
        for at in range(0, len(rest) - probe + 1, probe):
            shown = _mean([vectors[name] for name in rest[at : at + probe]])
            for other, template in templates.items():
                if other.parent == who.parent:
                    distance = float(np.linalg.norm(shown - template))
                    (genuine if other == who else impostor).append(distance)
    return Compared(np.array(genuine), np.array(impostor))


def report(compared: Compared, threshold: float = MATCH_THRESHOLD) -> dict[str, Any]:
    """Return counts, the equal error rate, and rates at fixed points; None if undefined."""
    genuine = np.sort(compared.genuine)
    impostor = np.sort(compared.impostor)
    found: dict[str, Any] = {"genuine": len(genuine), "impostor": len(impostor)}
    both = len(genuine) > 0 and len(impostor) > 0
    found["eer"] = _eer(genuine, impostor) if both else None
    for rate in _RATES:
        name = f"tar_at_fmr_{rate:.0e}".replace("e-0", "e-")
        found[name] = _tar(genuine, impostor, rate) if both else None
    false_matches = int((impostor <= threshold).sum())
    misses = int((genuine > threshold).sum())
    found["threshold"] = threshold
    found["fmr_at_threshold"] = _share(false_matches, len(impostor))
    found["fmr_upper_95"] = upper(false_matches, len(impostor))
    found["false_matches"] = {f"{at:.2f}": int((impostor <= at).sum()) for at in GRID}
    found["fnmr_at_threshold"] = _share(misses, len(genuine))
    found["fnmr_upper_95"] = upper(misses, len(genuine))
    return found


def curve(compared: Compared) -> tuple[Numbers, Numbers]:
    """Return FMR and FNMR at every observed distance."""
    points = np.unique(np.concatenate([compared.genuine, compared.impostor]))
    genuine = np.sort(compared.genuine)
    impostor = np.sort(compared.impostor)
    fmr = np.searchsorted(impostor, points, side="right") / max(len(impostor), 1)
    fnmr = 1 - np.searchsorted(genuine, points, side="right") / max(len(genuine), 1)
    return np.asarray(fmr, dtype=np.float64), np.asarray(fnmr, dtype=np.float64)


def _mean(vectors: Sequence[Floats]) -> Numbers:
    mean = np.mean(np.asarray(vectors, dtype=np.float64), axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _tar(genuine: Numbers, impostor: Numbers, rate: float) -> float:
    """Return the true accept rate at a false match rate."""
    bar = impostor[min(int(rate * len(impostor)), len(impostor) - 1)]
    return float((genuine < bar).mean())


def _eer(genuine: Numbers, impostor: Numbers) -> float:
    fmr, fnmr = curve(Compared(genuine, impostor))
    at = int(np.argmin(np.abs(fmr - fnmr)))
    return float((fmr[at] + fnmr[at]) / 2)


def evaluate(
    pairs: Sequence[Pair],
    *,
    read: Callable[[str], Floats | None],
    enroll: int,
    probe: int,
    threshold: float = MATCH_THRESHOLD,
) -> tuple[dict[str, Any], Compared]:
    """Read every picture once and report the rates, overall and by set.

    Args:
        pairs: The pairs to compare; with `enroll`, they only name the pictures.
        read: Returns the vector of a picture, or None if no face was found.
        enroll: Pictures in a template; 0 compares the pairs as they are.
        probe: Pictures in a probe.
        threshold: The distance at which rates are reported.
    """
    groups: dict[str, set[str]] = {}
    for pair in pairs:
        groups.setdefault(pair.group, set()).update((pair.one, pair.other))
    names = sorted(set().union(*groups.values()))
    vectors = {name: vector for name in names if (vector := read(name)) is not None}

    def compare(chosen: Sequence[Pair], members: set[str]) -> Compared:
        known = {name: vectors[name] for name in members & vectors.keys()}
        return by_templates(known, enroll, probe) if enroll else by_pairs(chosen, known)

    compared = compare(pairs, set(names))
    found = report(compared, threshold) | {
        "misses": len(names) - len(vectors),
        "images": len(names),
    }
    found["by_set"] = {
        group: report(compare([pair for pair in pairs if pair.group == group], members), threshold)
        | {"misses": len(members - vectors.keys()), "images": len(members)}
        for group, members in sorted(groups.items())
    }
    return found, compared
