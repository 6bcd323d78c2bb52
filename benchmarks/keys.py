"""What sealing, opening and rotating cost, against the same work without crypto and against rivals.

    python -m benchmarks.keys [--quick] [--rows N] [--url postgresql+psycopg://…] [--out FILE]

Contenders of one measure take turns within every round, so that a slow moment meets them all. Rates
are per CPU-second of this process; the database's own work shows in the shares of wall time.
"""

import argparse
import json
import multiprocessing
import platform
import random
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, text

from benchmarks import key_rivals, key_rows
from benchmarks.key_rivals import COLD, RAW, UNWRAP, WARM
from crypto.hashing import PasswordHasher
from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.app import Container, open_container
from service.domain.clock import SystemClock
from service.jobs.actions.long import LongJobs
from service.jobs.actions.work import JobRate
from service.settings import Settings
from service.store import migrate
from service.store.engine import make_engine

Measure = dict[str, float]
READ = 4000
MAX_LATENCY = 10.0
SETTLE = 2.0


def _settings(place: Path, url: str) -> Settings:
    return Settings(
        mode="development",
        database_url=url,
        root_key=f"file:{place / 'keys'}",
        log_level="error",
        face_engine="off",
        ledger="off",
    )


def _open(settings: Settings) -> Container:
    return open_container(settings, SystemClock(), PasswordHasher.unsafe_for_tests())


def _reader(
    settings: Settings,
    ids: list[uuid.UUID],
    until: Event,
    found: "Queue[list[tuple[float, float]]]",
) -> None:
    """Read one person after another at a steady pace, and give the milliseconds of each."""
    container, order, times = _open(settings), random.Random(1), []
    born = time.perf_counter()
    while not until.is_set():
        begun = time.perf_counter()
        with container.store.transaction(read=True) as tx:
            person = tx.get(key_rows.SealedPerson, order.choice(ids))
            if person is None or not person.email:
                raise RuntimeError("a person is gone")
        times.append((begun - born, (time.perf_counter() - begun) * 1e3))
        time.sleep(0.002)
    found.put(times)


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


def _stop(until: Event, jobs: LongJobs) -> None:
    until.wait()
    jobs.stop()


def _rotator(settings: Settings, until: Event, rows: "Queue[int]") -> None:
    """Do the job `lamina keys reencrypt` again and again, paced as the runbook says."""
    container = _open(settings)
    jobs = container.key_admin.jobs
    threading.Thread(target=_stop, args=(until, jobs), daemon=True).start()
    done = 0
    while not until.is_set():
        with container.store.transaction() as tx:
            params = container.key_admin.params("reencrypt", None, key_rows.CLASS)
            number = jobs.plan(tx, "reencrypt", params, "bench")
        done += jobs.run(number, pace=JobRate(max_latency=MAX_LATENCY))["done"]
    rows.put(done)


def readers(settings: Settings, ids: list[uuid.UUID], seconds: float) -> Measure:
    """Return a reader's p99 idle and while keys rotate, in turns, in milliseconds."""
    context = multiprocessing.get_context("spawn")
    times: dict[str, list[float]] = {"idle": [], "rotating": []}
    moved = 0
    for _ in range(3):
        for state, kept in times.items():
            until, found, rows = context.Event(), context.Queue(), context.Queue()
            workers = [context.Process(target=_reader, args=(settings, ids, until, found))]
            if state == "rotating":
                workers.append(context.Process(target=_rotator, args=(settings, until, rows)))
            for worker in workers:
                worker.start()
            time.sleep(SETTLE + seconds)
            until.set()
            if state == "rotating":
                moved += rows.get(timeout=60)
            kept += [taken for at, taken in found.get(timeout=60) if at > SETTLE]
            for worker in workers:
                worker.join()
    idle, busy = (_percentile(times[name], 0.99) for name in ("idle", "rotating"))
    return {
        "p99 idle (ms)": idle,
        "p99 rotating (ms)": busy,
        "ratio": busy / idle,
        "p50 idle (ms)": _percentile(times["idle"], 0.5),
        "p50 rotating (ms)": _percentile(times["rotating"], 0.5),
        "rows re-encrypted meanwhile per second": moved / (3 * seconds),
    }


def _database(url: str, place: Path) -> tuple[str, Callable[[], None]]:
    if not url:
        return f"sqlite:///{place / 'lamina.db'}", lambda: None
    name = f"lamina_bench_{uuid.uuid4().hex}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))

    def drop() -> None:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()

    return url.rsplit("/", 1)[0] + f"/{name}", drop


def ratios(results: dict[str, Measure]) -> Measure:
    """Return the figures that are aimed at, from what was measured."""
    small, large, orm = results["open 20 B"], results["open 200 B"], results["orm"]
    found = {
        "open warm / raw (at most 2)": large[WARM] / large[RAW],
        "open cold / (4 raw + unwrap) (at most 1)": large[COLD] / (4 * large[RAW] + large[UNWRAP]),
        "ORM plain / warm (at least 0.70)": orm["plain"] / orm["lamina, warm"],
        "ORM plain / cold (at least 0.55)": orm["plain"] / orm["lamina, cold"],
    }
    for name, label in (("Fernet", "at least 8"), ("sqlalchemy-utils", "at least 8")):
        if name in large:
            found[f"{name} / warm ({label})"] = large[name] / large[WARM]
    if "Tink" in small:
        found["open warm / Tink (at most 1.2)"] = large[WARM] / large["Tink"]
    if "sqlalchemy-utils" in orm:
        found["ORM sqlalchemy-utils / warm (at least 2)"] = (
            orm["sqlalchemy-utils"] / orm["lamina, warm"]
        )
    return found


def _show(results: dict[str, Measure]) -> None:
    for name, measure in results.items():
        table = Table(title=name, box=None)
        table.add_column("")
        table.add_column("value", justify="right")
        for label, value in measure.items():
            table.add_row(label, f"{value:,.2f}")
        Console().print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--url", default="")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _measure(place: Path, url: str, rows: int, *, quick: bool) -> dict[str, Measure]:
    rounds = 3 if quick else 9
    FileRoot.init(place / "keys", KEY_CLASSES)
    settings = _settings(place, url)
    engine = make_engine(url)
    migrate.upgrade(engine)
    engine.dispose()
    results = key_rivals.opened(rounds)
    container = _open(settings)
    key_rows.fill(container, rows, READ // 10)
    results["orm"] = key_rows.orm_reads(container, rounds, READ)
    results["rewrap"] = key_rows.rewrap(container)
    results["reencrypt"] = key_rows.reencrypt(container)
    ids = key_rows.people(container, 5000)
    results["reader"] = readers(settings, ids, 4 if quick else 10)
    container.store.engine.dispose()
    return results | {"ratios": ratios(results)}


def main() -> None:
    """Measure, print, and write JSON where asked."""
    options = _options()
    rows = 10_000 if options.quick else options.rows
    with tempfile.TemporaryDirectory() as directory:
        url, drop = _database(options.url, Path(directory))
        try:
            results = _measure(Path(directory), url, rows, quick=options.quick)
        finally:
            drop()
    _show(results)
    if options.out:
        about: dict[str, Any] = {
            "python": platform.python_version(),
            "machine": platform.processor(),
            "at": datetime.now(UTC).isoformat(),
            "rows": rows,
            "database": "postgresql" if options.url else "sqlite",
        }
        options.out.write_text(json.dumps({"about": about, "results": results}, indent=1))


if __name__ == "__main__":
    main()
