"""What rounds of load gave, as medians, ratios, a table and JSON."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from benchmarks.http.procs import Memory
from benchmarks.http.target import OPERATIONS

_KIB: Final = 1024
_NONE: Final = "-"


@dataclass(frozen=True)
class Round:
    """One operation of one target in one round; costs are for each request.

    Attributes:
        requests: How many times it was done.
        rate: Times a second.
        p50, p95, p99: Milliseconds of which that share of the runs took at most as long.
        server: Processor milliseconds of the server's processes.
        postgres: … of the target's PostgreSQL, its background processes included; None without.
        redis: … of the target's Redis; None without.
        others: … of processes beside the server, by name.
        client: … of the load client, which shares the processors.
        statements: Statements of the server, without transaction control; None without PostgreSQL.
        commits: COMMIT statements of the server.
        wal: Bytes of PostgreSQL's log (WAL), those of a worker included.
        stored: Bytes by which the database grew.
    """

    requests: int
    rate: float
    p50: float
    p95: float
    p99: float
    server: float
    postgres: float | None
    redis: float | None
    others: Mapping[str, float]
    client: float
    statements: float | None
    commits: float | None
    wal: float | None
    stored: float | None

    @property
    def whole(self) -> float:
        """Return the processor milliseconds of all processes of the target."""
        return self.server + (self.postgres or 0) + (self.redis or 0) + sum(self.others.values())


@dataclass
class Found:
    """What was found of one target.

    Attributes:
        name: Its name.
        about: What it says of itself.
        rounds: Its rounds, by operation.
        wrong: Why an operation was given up, by operation.
        memory: Memory of its processes after the load, by what they are.
        idle: Processor milliseconds a second without load, by what uses them.
    """

    name: str
    about: Mapping[str, str] = field(default_factory=dict)
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    memory: list[tuple[str, Memory]] = field(default_factory=list)
    idle: dict[str, float] = field(default_factory=dict)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the least of some values that at least a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Iterable[float | None]) -> float | None:
    """Return the median; None where a value is missing or there is none."""
    found = list(values)
    known = [value for value in found if value is not None]
    return statistics.median(known) if known and len(known) == len(found) else None


def medians(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return the medians over rounds; of what the database grew by, the mean."""
    names = [name for name in Round.__dataclass_fields__ if name not in {"others", "stored"}]
    found: dict[str, Any] = {name: median(getattr(one, name) for one in rounds) for name in names}
    kinds = {kind for one in rounds for kind in one.others}
    found["others"] = {
        kind: median(one.others.get(kind) for one in rounds) for kind in sorted(kinds)
    }
    # It grows by many pages at once.
    grown = [(one.stored, one.requests) for one in rounds]
    total = sum(stored * requests for stored, requests in grown if stored is not None)
    known = all(stored is not None for stored, _ in grown)
    found["stored"] = total / sum(requests for _, requests in grown) if known else None
    return found


def ratio(
    ours: Sequence[Round], theirs: Sequence[Round], value: Callable[[Round], float]
) -> float | None:
    """Return the median over rounds of a value of ours against theirs in the same round."""
    pairs = [(value(one), value(other)) for one, other in zip(ours, theirs, strict=False)]
    return median(one / other if other else None for one, other in pairs)


def document(found: Sequence[Found], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as JSON values: what was run, and medians, ratios and rounds of each."""
    first = found[0]
    targets = {}
    for one in found:
        operations = {}
        for name, rounds in one.rounds.items():
            against = first.rounds.get(name, [])
            operations[name] = {
                "medians": medians(rounds),
                "first_over_this": {
                    "rate": ratio(against, rounds, lambda each: each.rate),
                    "server": ratio(against, rounds, lambda each: each.server),
                    "whole": ratio(against, rounds, lambda each: each.whole),
                },
                "rounds": [asdict(each) for each in rounds],
            }
        targets[one.name] = {
            "about": dict(one.about),
            "operations": operations,
            "wrong": one.wrong,
            "memory": [{"of": kind, **asdict(each)} for kind, each in one.memory],
            "idle_ms_a_second": one.idle,
        }
    return {**about, "first": first.name, "targets": targets}


_HEAD: Final = (
    "operation",
    "target",
    "req/s",
    "p50",
    "p95",
    "p99",
    "server",
    "postgres",
    "redis",
    "worker",
    "stmts",
    "commits",
    "WAL KiB",
    "DB KiB",
    "rate x",
    "server x",
    "all x",
)


def table(found: Sequence[Found]) -> list[str]:
    """Return the lines of the table: for each operation, a line for each target."""
    rows: list[tuple[str, ...]] = [_HEAD]
    first = found[0]
    for name in OPERATIONS:
        for one in found:
            rounds = one.rounds.get(name)
            if name in one.wrong:
                rows.append((name, one.name, f"WRONG: {one.wrong[name]}"))
            elif rounds:
                rows.append((name, one.name, *_cells(rounds, first, one, name)))
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(len(_HEAD))]
    # What is wrong may be long, and is the last of its line.
    widths[2] = max(len(row[2]) for row in rows if len(row) == len(_HEAD))
    return [
        "  ".join(
            cell.ljust(width) if at < 2 else cell.rjust(width)  # noqa: PLR2004 - names
            for at, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        for row in rows
    ]


def _cells(rounds: Sequence[Round], first: Found, one: Found, name: str) -> tuple[str, ...]:
    found = medians(rounds)
    worker = found["others"].get("worker")
    ratios = (_NONE, _NONE, _NONE)
    if one is not first and first.rounds.get(name):
        ours = first.rounds[name]
        ratios = (
            _number(ratio(ours, rounds, lambda each: each.rate), 2),
            _number(ratio(ours, rounds, lambda each: each.server), 2),
            _number(ratio(ours, rounds, lambda each: each.whole), 2),
        )
    return (
        _number(found["rate"], 1),
        *(_number(found[each], 1) for each in ("p50", "p95", "p99")),
        *(_number(found[each], 2) for each in ("server", "postgres", "redis")),
        _number(worker, 2),
        _number(found["statements"], 1),
        _number(found["commits"], 1),
        _number(found["wal"], 1, _KIB),
        _number(found["stored"], 1, _KIB),
        *ratios,
    )


def _number(value: float | None, digits: int, unit: int = 1) -> str:
    return _NONE if value is None else f"{value / unit:,.{digits}f}"


def remarks(found: Sequence[Found]) -> list[str]:
    """Return the lines below the table: what the columns mean, memory and idle costs."""
    lines = [
        "Medians over rounds. Milliseconds; server, postgres, redis and worker: processor time a",
        f"request. The last three are {found[0].name} over that target in the same round.",
    ]
    for one in found:
        lines.append("")
        lines += [f"{one.name}: {name}: {value}" for name, value in one.about.items()]
        used = ", ".join(f"{name} {value:.1f}" for name, value in one.idle.items())
        if used:
            lines.append(f"{one.name}: idle, processor ms a second: {used}")
        for kind, memory in one.memory:
            sizes = (_number(memory.rss, 0), _number(memory.pss, 0), _number(memory.uss, 0))
            text = "RSS {:>5}  PSS {:>5}  USS {:>5} MiB".format(*sizes)
            lines.append(f"{one.name}: {kind:9} {text}  {memory.command[:60]}")
    return lines
