"""What a number of subjects needs, from what a request was measured to cost.

    python -m benchmarks.scale --http http.json --storage storage.json [--subjects N,…] [--out FILE]

The files are those that `make bench-http` and `make bench-storage` write (OUT=). A day is simulated
minute by minute: each minute's requests are drawn around the rate of its hour, and the busiest one
counts. A part is full where it would use more than the given share of its limit.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HOURS: Final = (1, 1, 1, 1, 1, 2, 4, 7, 9, 9, 8, 7, 7, 7, 7, 7, 7, 8, 9, 9, 8, 6, 4, 2)
"""Share of a day's requests by hour, of 132: an assumption, with a quiet night and two peaks."""
DAY: Final[Mapping[str, float]] = {
    "login": 1.0,
    "refresh": 8.0,
    "introspect": 40.0,
    "client_credentials": 0.2,
    "sessions": 0.1,
}
"""Requests of a subject that is active on a day: an assumption, to be replaced by one's own."""
_MINUTES: Final = 60
_SECONDS: Final = 60
_YEAR: Final = 365
_STAY: Final = 35
"""Days for which what ends of a login is taken to be stored: most goes within hours, but sessions
and devices, of which each subject has a bounded number, stay as long as they are used."""
_GB: Final = 1e9
_MANY: Final = 500
"""Expected requests of a minute from which a normal distribution stands for Poisson's."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The capacity of the parts that cannot be scaled by adding servers.

    Attributes:
        postgres: Cores of the one PostgreSQL that writes.
        wal: Bytes of WAL a second that its disk and its replicas take.
        redis: Cores of the one Redis: it serves with one.
        worker: Cores of the one process that orders the audit log.
        share: Of each, the share that may be used at the busiest minute.
    """

    postgres: float = 32.0
    wal: float = 200e6
    redis: float = 1.0
    worker: float = 1.0
    share: float = 0.6


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What one request costs: processor ms by operation and part, bytes of WAL, bytes stored.

    Attributes:
        cpu: By operation, then by `server`, `postgres`, `redis` and `worker`.
        wal: By operation.
        person: Bytes of a person who signed in once.
        login: Bytes of a login until what ends has ended.
        kept: … of which so many stay for good.
    """

    cpu: Mapping[str, Mapping[str, float]]
    wal: Mapping[str, float]
    person: float
    login: float
    kept: float


def costs(http: Mapping[str, Any], storage: Mapping[str, Any]) -> Costs:
    """Return the costs that were measured; raises KeyError naming an operation that was not."""
    operations = http["targets"][http["first"]]["operations"]
    medians = {name: operations[name]["medians"] for name in DAY}
    return Costs(
        cpu={
            name: {
                "server": each["server"],
                "postgres": each["postgres"],
                "redis": each["redis"],
                "worker": each["others"]["worker"],
            }
            for name, each in medians.items()
        },
        wal={name: each["wal"] for name, each in medians.items()},
        person=storage["person"],
        login=storage["bytes"],
        kept=storage["kept"],
    )


def _drawn(expected: float, chance: random.Random) -> int:
    """Return a random number of requests of a minute, given the expected number."""
    if expected > _MANY:
        return max(0, round(chance.gauss(expected, math.sqrt(expected))))
    left, count = math.exp(-expected), 0
    product = chance.random()
    while product > left:
        product *= chance.random()
        count += 1
    return count


def busiest(active: float, day: Mapping[str, float], seed: int = 1) -> dict[str, float]:
    """Return the requests a second of each operation in the minute with the most logins of a day.

    Args:
        active: Subjects that are active on the day.
        day: Requests of each.
        seed: Of the draws.
    """
    chance = random.Random(seed)
    most: dict[str, float] = dict.fromkeys(day, 0.0)
    for hour in HOURS:
        part = hour / sum(HOURS) / _MINUTES
        for _ in range(_MINUTES):
            minute = {name: _drawn(active * each * part, chance) for name, each in day.items()}
            if minute["login"] >= most["login"] * _SECONDS:
                most = {name: count / _SECONDS for name, count in minute.items()}
    return most


def needs(
    subjects: int, spent: Costs, *, active: float, limits: Limits, day: Mapping[str, float] = DAY
) -> dict[str, Any]:
    """Return what a number of subjects needs, and which part is full first.

    Args:
        subjects: How many there are.
        spent: What a request costs.
        active: Share of them that is active on a day.
        limits: What there can be.
        day: Requests of an active subject on a day.
    """
    rates = busiest(subjects * active, day)
    cores = {
        part: sum(rate * spent.cpu[name][part] for name, rate in rates.items()) / 1000
        for part in ("server", "postgres", "redis", "worker")
    }
    wal = sum(rate * spent.wal[name] for name, rate in rates.items())
    used = {
        "postgres": cores["postgres"] / limits.postgres,
        "wal": wal / limits.wal,
        "redis": cores["redis"] / limits.redis,
        "worker": cores["worker"] / limits.worker,
    }
    first = max(used, key=lambda part: used[part])
    logins = subjects * active * day["login"]
    return {
        "subjects": subjects,
        "rates": rates,
        "server_cores": cores["server"] / limits.share,
        "cores": cores,
        "wal_bytes_a_second": wal,
        "stored": subjects * spent.person + _STAY * logins * (spent.login - spent.kept),
        "stored_a_year": _YEAR * logins * spent.kept,
        "used": used,
        "first": first,
        "full_at": {
            part: rates["login"] * limits.share / used[part] for part in used if used[part]
        },
    }


def show(found: Sequence[Mapping[str, Any]], limits: Limits) -> None:
    """Print a column for each number of subjects."""

    def line(name: str, values: Sequence[str]) -> None:
        print(f"{name:44}" + "".join(f"{value:>16}" for value in values))

    line("subjects", [f"{item['subjects']:,}" for item in found])
    line("logins/s in the busiest minute", [f"{item['rates']['login']:,.1f}" for item in found])
    line("requests/s in it", [f"{sum(item['rates'].values()):,.0f}" for item in found])
    line(
        f"cores of lamina serve, {limits.share:.0%} used",
        [f"{item['server_cores']:,.1f}" for item in found],
    )
    for part in ("postgres", "redis", "worker"):
        line(f"cores of {part}, used", [f"{item['cores'][part]:,.2f}" for item in found])
    line("WAL, MB/s", [f"{item['wal_bytes_a_second'] / 1e6:,.1f}" for item in found])
    line("stored, GB", [f"{item['stored'] / _GB:,.0f}" for item in found])
    line("… and a year, GB", [f"{item['stored_a_year'] / _GB:,.0f}" for item in found])
    line("first full", [str(item["first"]) for item in found])
    for part in found[0]["full_at"]:
        line(
            f"{part} is full at logins/s",
            [f"{item['full_at'].get(part, math.inf):,.0f}" for item in found],
        )


def _numbers(text: str) -> list[int]:
    found = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= 10**10 for part in found):
        raise argparse.ArgumentTypeError("must be whole numbers, separated by commas")
    return [int(part) for part in found]


def _over_zero(most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not 0 < found <= most:
            raise argparse.ArgumentTypeError(f"must be a number above 0, at most {most:g}")
        return found

    return read


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute, print and store; return the exit code."""
    text, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description=text,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--http", type=Path, required=True, help="what bench-http wrote")
    parser.add_argument("--storage", type=Path, required=True, help="what bench-storage wrote")
    parser.add_argument("--subjects", type=_numbers, default=[10**6, 10**7, 10**8])
    parser.add_argument(
        "--active", type=_over_zero(1), default=0.2, help="share active on a day (0.2)"
    )
    parser.add_argument(
        "--cores", type=_over_zero(10_000), default=32, help="cores of PostgreSQL (32)"
    )
    parser.add_argument("--out", type=Path, help="write JSON here")
    options = parser.parse_args(arguments)
    try:
        read = [json.loads(path.read_text("utf-8")) for path in (options.http, options.storage)]
        spent = costs(read[0], read[1])
    except (OSError, ValueError) as error:
        print(f"scale: {error}", file=sys.stderr)
        return 2
    except (KeyError, TypeError) as error:
        print(f"scale: {error} was not measured: run the benchmark whole", file=sys.stderr)
        return 2
    limits = Limits(postgres=options.cores)
    found = [
        needs(number, spent, active=options.active, limits=limits) for number in options.subjects
    ]
    show(found, limits)
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
