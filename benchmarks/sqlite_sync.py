"""What it costs that SQLite waits for the disk at each commit of a login: one interleaved run.

    python -m benchmarks.sqlite_sync [--quick] [--out FILE]

A login writes in five transactions: the flow, the reserved attempt, the password, the code, the
session with its tokens. Two databases do the same writes by turns, one with `synchronous=NORMAL`
and one with FULL as it ships; the hash of the password, which writes nothing, is left out.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection

from crypto import opaque
from service.store.engine import make_engine

_COMMITS: Final = 5
_ROWS: Final = 3
_STATE: Final = 1500
_QUICK: Final = 100
_ROUNDS: Final = 1000


def opened(place: Path, mode: str) -> Engine:
    """Return a database that differs from a shipped one in how commits wait, if at all."""
    engine = make_engine(f"sqlite:///{place / f'{mode}.db'}")

    def waits(connection: DBAPIConnection, _record: object) -> None:
        connection.cursor().execute(f"PRAGMA synchronous={mode}")

    event.listen(engine, "connect", waits)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE row (id BLOB PRIMARY KEY, state BLOB)"))
    return engine


def login(engine: Engine) -> float:
    """Write what a login writes; return the milliseconds it took."""
    rows = [(opaque.random_bytes(16), opaque.random_bytes(_STATE)) for _ in range(_ROWS)]
    begun = time.perf_counter()
    for number in range(_COMMITS):
        with engine.begin() as connection:
            for key, state in rows:
                values = {"id": key + bytes([number]), "state": state}
                connection.execute(text("INSERT INTO row VALUES (:id, :state)"), values)
    return (time.perf_counter() - begun) * 1000


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK} rounds, not {_ROUNDS}")
    parser.add_argument("--out", type=Path, help="write JSON here")
    options = parser.parse_args()
    rounds = _QUICK if options.quick else _ROUNDS
    spent: dict[str, list[float]] = {"NORMAL": [], "FULL": []}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
        engines = {mode: opened(Path(place), mode) for mode in spent}
        for engine in engines.values():
            login(engine)
        for _ in range(rounds):
            for mode, engine in engines.items():
                spent[mode].append(login(engine))
        for engine in engines.values():
            engine.dispose()
    medians = {mode: round(statistics.median(found), 2) for mode, found in spent.items()}
    ratio = round(medians["FULL"] / medians["NORMAL"], 2)
    found = {
        "rounds": rounds,
        "ms_a_login": medians,
        "ratio": ratio,
        "machine": platform.platform(),
    }
    print(f"writes of a login, median of {rounds}: {medians} ms, FULL / NORMAL = {ratio}")
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
