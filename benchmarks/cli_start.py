"""What a command of `lamina` costs before it does anything, against another checkout.

Rounds of the two checkouts take turns in one run, so that both meet the same machine. Of each child
the processor time counts, as `wait4` tells it. The database is SQLite with one client in it, made
by each checkout for itself. The first row is what importing the libraries of a list takes.

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
    "webhooks list",
    "db current",
)
LIBRARIES: Final = (
    "import click, pydantic, sqlalchemy.orm, sqlalchemy.dialects.sqlite, "
    "cryptography.hazmat.primitives.ciphers.aead"
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


def spent(arguments: Sequence[str], environment: Mapping[str, str]) -> float | None:
    """Return the seconds of processor time, of user and system; None where it did not do it."""
    started = subprocess.Popen(
        [sys.executable, "-P", *arguments],
        env=dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    return None if started.returncode else used.ru_utime + used.ru_stime


def _row(
    name: str, arguments: Sequence[str], environments: Sequence[Mapping[str, str]], rounds: int
) -> dict[str, Any]:
    seconds: list[list[float | None]] = [[] for _ in environments]
    # The first round of each fills the caches of files and bytecode, and does not count.
    for _ in range(rounds + 1):
        for taken, environment in zip(seconds, environments, strict=True):
            taken.append(spent(arguments, environment))
    medians = [
        None if None in taken else statistics.median(each for each in taken[1:] if each)
        for taken in seconds
    ]
    if medians[0] is None:
        raise SystemExit(f"{name}: it failed")
    row: dict[str, Any] = {"command": name, "ms": round(medians[0] * 1000)}
    # The other checkout may not know the command yet.
    if before := medians[-1] if len(medians) > 1 else None:
        row |= {"before_ms": round(before * 1000), "ratio": round(medians[0] / before, 3)}
    print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    return row


def measure(place: Path, checkouts: Sequence[Path], rounds: int) -> list[dict[str, Any]]:
    """Return a row for each command: the medians of both checkouts, and their ratio."""
    environments = []
    for number, checkout in enumerate(checkouts):
        own = place / str(number)
        own.mkdir()
        environments.append(_environment(own, checkout))
        for begin in ("keys init", "db upgrade", "clients create shop --scope all"):
            if spent(["-m", "service.cli", *begin.split()], environments[-1]) is None:
                raise SystemExit(f"{checkout}: lamina {begin} failed")
    libraries = _row("(libraries alone)", ["-c", LIBRARIES], environments[:1], rounds)
    return [
        libraries,
        *(
            _row(command, ["-m", "service.cli", *command.split()], environments, rounds)
            for command in COMMANDS
        ),
    ]


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
