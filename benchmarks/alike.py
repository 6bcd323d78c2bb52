"""Whether the time tells a known person from an unknown one.

    python -m benchmarks.alike [--quick] [--url postgresql+psycopg://…] [--out FILE]

Begins a login and sends a wrong password, for somebody who is registered and for somebody who is
not, in random order. Prints the area under the curve of the best guess from the time alone, with
its 95 % interval: 0.5 is a coin. Exit code 1 when the interval leaves out 0.5 by more than 0.03.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.login import Bench

MARGIN = 0.03


def measure(rounds: int, url: str) -> dict[str, dict[str, float]]:
    """Return the AUC of each step, with the half-width of its interval."""
    order = np.random.default_rng(5)
    spent: dict[str, dict[str, list[float]]] = {
        step: {"known": [], "unknown": []} for step in ("begin", "password")
    }
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(Path(place), url)
        names = {"known": "bench", "unknown": "nobody-here"}
        for number in range(rounds + 5):
            if number % 100 == 0:
                bench.renew()
            for who in order.permutation(list(names)).tolist():
                begun, checked = bench.fail(names[who])
                if number >= 5:  # noqa: PLR2004 - rounds to warm up
                    spent["begin"][who].append(begun)
                    spent["password"][who].append(checked)
        bench.container.store.engine.dispose()
    return {step: auc(found["known"], found["unknown"]) for step, found in spent.items()}


def auc(known: list[float], unknown: list[float]) -> dict[str, float]:
    """Return the area and the half-width of its 95 % interval (Hanley and McNeil 1982)."""
    left, right = np.array(known), np.array(unknown)
    wins = (left[:, None] > right).mean() + 0.5 * (left[:, None] == right).mean()
    area = float(wins)
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    n, m = len(left), len(right)
    variance = (area * (1 - area) + (n - 1) * (q1 - area**2) + (m - 1) * (q2 - area**2)) / (n * m)
    return {"auc": round(area, 4), "half_width": round(1.96 * math.sqrt(variance), 4)}


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="300 rounds rather than 2000")
    parser.add_argument("--url", default="", help="a PostgreSQL database that is empty")
    parser.add_argument("--out", type=Path, help="write JSON here")
    options = parser.parse_args()
    started = time.monotonic()
    found = measure(300 if options.quick else 2000, options.url)
    held = True
    for step, value in found.items():
        apart = abs(value["auc"] - 0.5) - value["half_width"]
        held = held and apart <= MARGIN
        print(f"{step:10} AUC {value['auc']:.3f} ± {value['half_width']:.3f}")
    print(f"{time.monotonic() - started:.0f} s")
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    if not held:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
