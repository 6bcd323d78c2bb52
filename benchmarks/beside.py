"""What each step of a login costs beside another checkout of the project, round by round.

    python -m benchmarks.beside DIR [--rounds N] [--url URL] [--out FILE]

Two processes, one for each checkout, sign one person in by turns, so that a slow moment of the
machine meets both. Prints the CPU milliseconds of the application for each step and their ratio;
DIR is a clone at the commit to compare with, and runs with the packages of this one.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url

# What a process of either checkout runs: one login for each line that it reads.
_WORKER = """
import json, os, sys, tempfile
from pathlib import Path
# What a checkout logs is no result.
results = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from benchmarks.login import Bench
with tempfile.TemporaryDirectory() as place:
    bench = Bench(Path(place), sys.argv[1])
    for _ in sys.stdin:
        spent = {}
        bench.login(spent.__setitem__)
        print(json.dumps(spent), file=results, flush=True)
"""
_WARM = 3
# How fast a process is depends on where its memory came to lie: each makes a part of the rounds.
_PART = 25


class _Side:
    """A process that signs in with the code of one checkout."""

    def __init__(self, checkout: Path, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, url],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def round(self) -> dict[str, float]:
        """Sign in once; return the CPU milliseconds of each step."""
        given, told = self.process.stdin, self.process.stdout
        if given is None or told is None:
            raise SystemExit("the process has no pipes")
        given.write("\n")
        given.flush()
        line = told.readline()
        if not line:
            raise SystemExit(f"the login ended with exit code {self.process.wait()}")
        spent: dict[str, float] = json.loads(line)
        return spent

    def close(self) -> None:
        """End the process."""
        self.process.communicate(timeout=30)


@contextmanager
def _databases(server: str) -> Iterator[tuple[str, str]]:
    """Make an empty database for each side on a server; without one, each has a file."""
    if not server:
        yield "", ""
        return
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    names = tuple(f"lamina_beside_{os.getpid()}_{number}" for number in (0, 1))
    with engine.connect() as connection:
        for name in names:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            url = make_url(server)
            first, second = (url.set(database=name).render_as_string(False) for name in names)
            yield first, second
        finally:
            for name in names:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def measure(here: Path, there: Path, rounds: int, server: str = "") -> list[dict[str, float]]:
    """Return the median CPU milliseconds of each step here and there."""
    found: tuple[dict[str, list[float]], ...] = ({}, {})
    for done in range(0, rounds, _PART):
        with _databases(server) as urls:
            sides = _Side(here, urls[0]), _Side(there, urls[1])
            try:
                _take_turns(sides, min(_PART, rounds - done), found)
            finally:
                for side in sides:
                    side.close()
        print(f"{min(done + _PART, rounds)} of {rounds} rounds", file=sys.stderr)
    return [{name: statistics.median(each) for name, each in side.items()} for side in found]


def _take_turns(
    sides: tuple[_Side, _Side], rounds: int, found: tuple[dict[str, list[float]], ...]
) -> None:
    for number in range(rounds + _WARM):
        # Each goes first in every other round.
        for turn in (0, 1) if number % 2 else (1, 0):
            for name, spent in sides[turn].round().items():
                if number >= _WARM:
                    found[turn].setdefault(name, []).append(spent)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("checkout", type=Path, help="a clone at the commit to compare with")
    parser.add_argument("--rounds", type=int, default=100, help="logins of each (100)")
    parser.add_argument("--url", default="", help="a PostgreSQL server where databases may be made")
    parser.add_argument("--out", type=Path, help="write JSON here")
    options = parser.parse_args()
    here, there = Path(__file__).parents[1], options.checkout.resolve()
    mine, other = measure(here, there, options.rounds, options.url)
    steps = {
        name: {
            "ms": round(mine[name], 2),
            "beside_ms": round(other[name], 2),
            "ratio": round(mine[name] / other[name], 3),
        }
        for name in mine
    }
    for name, step in steps.items():
        print(
            f"{name:15} {step['ms']:8.2f} ms   beside {step['beside_ms']:8.2f} ms   "
            f"{step['ratio']:.2f}x"
        )
    store(options.out, options.rounds, steps)


def store(out: Path | None, rounds: int, steps: Mapping[str, object]) -> None:
    """Write the figures of each step as JSON, with the machine; without a path, do nothing."""
    if out is None:
        return
    about = {
        "rounds": rounds,
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    out.write_text(json.dumps(about | {"steps": steps}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
