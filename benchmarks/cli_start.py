"""What a command of `lamina` costs before it does anything, against another checkout.

Rounds of the two checkouts take turns in one run, so that both meet the same machine. Of each child
the processor time counts, as `wait4` tells it. The database is SQLite with one client in it.

    python -m benchmarks.cli_start --against ../lamina-before --rounds 21
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

COMMANDS: Final = (
    "--help",
    "--version",
    "clients --help",
    "keys --help",
    "policy --help",
    "behavior --help",
    "clients list",
    "keys list",
    "operators list",
    "policy list",
    "outbox",
    "db current",
)
_HERE: Final = Path(__file__).parents[1]


def _environment(place: Path, checkout: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAMINA_")}
    return kept | {
        "PYTHONPATH": str(checkout),
        "LAMINA_MODE": "development",
        "LAMINA_DATABASE_URL": f"sqlite:///{place / 'lamina.db'}",
        "LAMINA_ROOT_KEY": f"file:{place / 'keys'}",
    }


def spent(arguments: Sequence[str], environment: Mapping[str, str], place: Path) -> float:
    """Return the seconds of processor time that one command took, of user and system."""
    started = subprocess.Popen(
        [sys.executable, "-m", "service.cli", *arguments],
        env=dict(environment),
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        raise SystemExit(f"lamina {' '.join(arguments)} ended with {started.returncode}")
    return used.ru_utime + used.ru_stime


def measure(place: Path, checkouts: Sequence[Path], rounds: int) -> list[dict[str, Any]]:
    """Return a row for each command: the medians of both checkouts, and their ratio."""
    environments = [_environment(place, checkout) for checkout in checkouts]
    for begin in ("keys init", "db upgrade", "clients create shop --scope all"):
        spent(begin.split(), environments[0], place)
    rows = []
    for command in COMMANDS:
        seconds: list[list[float]] = [[] for _ in checkouts]
        # The first round of each fills the caches of files and bytecode, and does not count.
        for _ in range(rounds + 1):
            for taken, environment in zip(seconds, environments, strict=True):
                taken.append(spent(command.split(), environment, place))
        medians = [statistics.median(taken[1:]) for taken in seconds]
        row: dict[str, Any] = {"command": command, "ms": round(medians[0] * 1000)}
        if len(medians) > 1:
            row |= {
                "before_ms": round(medians[1] * 1000),
                "ratio": round(medians[0] / medians[1], 3),
            }
        rows.append(row)
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    return rows


def main() -> None:
    """Measure, and print a row for each command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, help="Another checkout, such as of a release.")
    parser.add_argument("--rounds", type=int, default=15, help="Of each command and checkout.")
    parser.add_argument("--out", type=Path, help="A file for the figures, as JSON.")
    asked = parser.parse_args()
    checkouts = [_HERE, *([asked.against.resolve()] if asked.against else [])]
    with tempfile.TemporaryDirectory(prefix="lamina-start-") as place:
        rows = measure(Path(place), checkouts, asked.rounds)
    found = {
        "at": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "rows": rows,
    }
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
