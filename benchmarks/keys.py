"""What sealing, opening and rotating cost, against the same work without crypto and against rivals.

    python -m benchmarks.keys [--quick] [--rows N] [--url postgresql+psycopg://…] [--out FILE]

Contenders of one measure take turns within every round, so that a slow moment meets them all. Rates
are per CPU-second of this process; the database's own work shows in the shares of wall time.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy import create_engine, text

from crypto import envelope
from crypto.fields import FieldContext, Owner, OwnerKind
from crypto.hashing import PasswordHasher
from crypto.keyring import KEY_CLASSES, KeyEncryptionKey
from crypto.providers.file import FileRoot
from service.accounts.store import Subject
from service.app import House, open_house
from service.domain.clock import SystemClock
from service.domain.ids import new_id
from service.keys.store import moves
from service.settings import Settings
from service.store import migrate
from service.store.engine import make_engine
from service.store.fields import sealed_tables

SIZES = (20, 200)
CALLS = 2000
Measure = dict[str, float]


def _time(act: Callable[[], object], calls: int) -> float:
    """Return CPU microseconds a call."""
    begun = time.process_time()
    for _ in range(calls):
        act()
    return (time.process_time() - begun) / calls * 1e6


def _rivals(size: int) -> dict[str, Callable[[], object]]:
    """Return one call of each contender that opens a value of a size."""
    plain, owner = b"x" * size, Owner(OwnerKind.SUBJECT, uuid.uuid4())
    place = FieldContext("subject", "email", owner, uuid.uuid4())
    kek = KeyEncryptionKey("contact", 1, b"k" * 32)
    wrapped, key = envelope.create_data_key(kek, owner)
    sealed = key.seal(plain, place)
    raw, nonce = AESGCM(b"r" * 32), b"n" * 12
    raw_sealed, associated = raw.encrypt(nonce, plain, b"a" * 80), b"a" * 80
    fernet = Fernet(Fernet.generate_key())
    token = fernet.encrypt(plain)
    found: dict[str, Callable[[], object]] = {
        "raw AESGCM": lambda: raw.decrypt(nonce, raw_sealed, associated),
        "lamina, warm": lambda: key.open(sealed, place),
        "lamina, cold": lambda: envelope.open_data_key(kek, owner, wrapped).open(sealed, place),
        "Fernet": lambda: fernet.decrypt(token),
    }
    return found | _installed(plain)


def _installed(plain: bytes) -> dict[str, Callable[[], object]]:
    """Return the rivals that are installed: `pip install sqlalchemy-utils tink` adds them."""
    found: dict[str, Callable[[], object]] = {}
    try:
        from sqlalchemy import String  # noqa: PLC0415 - with the rival
        from sqlalchemy_utils import StringEncryptedType  # noqa: PLC0415 - a rival
        from sqlalchemy_utils.types.encrypted.encrypted_type import (  # noqa: PLC0415 - a rival
            AesGcmEngine,
        )
    except ImportError:
        print("sqlalchemy-utils is not installed: left out", file=sys.stderr)
    else:
        column = StringEncryptedType(String, "secret", AesGcmEngine)
        stored = column.process_bind_param(plain.decode(), None)
        found["sqlalchemy-utils"] = lambda: column.process_result_value(stored, None)
    try:
        import tink  # noqa: PLC0415 - a rival
        from tink import aead  # noqa: PLC0415 - a rival
    except ImportError:
        print("tink is not installed: left out", file=sys.stderr)
    else:
        aead.register()
        handle = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
        primitive = handle.primitive(aead.Aead)
        boxed = primitive.encrypt(plain, b"a" * 80)
        found["Tink"] = lambda: primitive.decrypt(boxed, b"a" * 80)
    return found


def open_fields(rounds: int) -> dict[str, Measure]:
    """Return microseconds for opening one value, by size and contender."""
    result = {}
    for size in SIZES:
        rivals = _rivals(size)
        times: dict[str, list[float]] = {name: [] for name in rivals}
        for _ in range(rounds):
            for name, act in rivals.items():
                calls = CALLS // 20 if name == "sqlalchemy-utils" else CALLS
                times[name].append(_time(act, calls))
        result[f"open {size} B"] = {
            name: statistics.median(values) for name, values in times.items()
        }
    return result


class Bench:
    """A database with sealed subjects."""

    def __init__(self, place: Path, url: str, rows: int) -> None:
        FileRoot.init(place / "keys", KEY_CLASSES)
        settings = Settings(
            mode="development", database_url=url, root_key=f"file:{place / 'keys'}",
            log_level="error", face_engine="off", ledger="off",
        )  # fmt: skip
        engine = make_engine(url)
        migrate.upgrade(engine)
        engine.dispose()
        clock = SystemClock()
        self.house: House = open_house(settings, clock, PasswordHasher.unsafe_for_tests())
        self.rows = rows
        self._fill(clock)

    def _fill(self, clock: SystemClock) -> None:
        steps = range(0, self.rows, 500)
        for start in track(steps, "rows", console=Console(stderr=True), transient=True):
            with self.house.store.transaction() as tx:
                for number in range(start, min(start + 500, self.rows)):
                    now = clock.now()
                    row = Subject(
                        id=new_id(now), status="active", segment="default",
                        client_id=uuid.UUID(int=1), created_at=now, updated_at=now,
                    )  # fmt: skip
                    row.username, row.email = f"person{number}", f"person{number}@example.com"
                    row.phone, row.profile = f"+4930{number:08}", '{"name": "Somebody"}'
                    tx.add(row)

    def rewrap(self) -> Measure:
        """Move every data key of a class to a new KEK, and write the same bytes without crypto."""
        house = self.house
        with house.store.transaction() as tx:
            house.keys.lifecycle.generate_kek(tx, "contact", "bench")
            house.keys.lifecycle.promote_kek(tx, "contact", "bench")
            house.vault.refresh(tx)
        wall, cpu = time.perf_counter(), time.process_time()
        moved = sum(page.moved for page in house.keys.moving.rewrap_pages("contact"))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        plain = self._update_deks()
        return {
            "rows": moved, "per_cpu_second": moved / cpu, "per_second": moved / wall,
            "share_of_update_only": plain / (wall / moved),
        }  # fmt: skip

    def _update_deks(self) -> float:
        """Return the seconds a row of the same pages and statements with ready bytes."""
        store, done, after = self.house.store, 0, uuid.UUID(int=0)
        begun = time.perf_counter()
        while True:
            with store.transaction() as tx:
                page = moves.foreign_deks(tx, "contact", 0, after, 500)
                if not page:
                    break
                moves.store_wrapped(tx, page[0].kek_version, [(r.id, r.wrapped) for r in page])
                after, done = page[-1].id, done + len(page)
        return (time.perf_counter() - begun) / max(done, 1)

    def reencrypt(self) -> Measure:
        """Seal three contact fields of every subject anew, and write the same without crypto."""
        house = self.house
        with house.store.transaction() as tx:
            generation = house.keys.moving.start_generation(tx, "contact")
        house.store.engine.dispose()
        wall, cpu = time.perf_counter(), time.process_time()
        pages = house.keys.moving.reencrypt_pages("contact", generation)
        moved = sum(page.moved for page in pages)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        plain = self._update_subjects(generation + 1)
        return {
            "rows": moved, "per_cpu_second": moved / cpu, "per_second": moved / wall,
            "share_of_update_only": plain / (wall / moved),
        }  # fmt: skip

    def _update_subjects(self, generation: int) -> float:
        (table,) = (item for item in sealed_tables() if item.name == "subject")
        names = ["username", "email", "phone"]
        store, done, after = self.house.store, 0, uuid.UUID(int=0)
        begun = time.perf_counter()
        while True:
            with store.transaction() as tx:
                page = moves.stale_rows(tx, table, "contact", generation, after, 500)
                if not page:
                    break
                cells = {r.id: {name: getattr(r, name) for name in names} for r in page}
                moves.store_cells(tx, table, names, cells)
                after, done = page[-1].id, done + len(page)
        return (time.perf_counter() - begun) / max(done, 1)


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


def _show(results: dict[str, Measure]) -> None:
    for name, measure in results.items():
        table = Table(title=name, box=None)
        table.add_column("")
        table.add_column("value", justify="right")
        for label, value in measure.items():
            table.add_row(label, f"{value:,.2f}")
        Console().print(table)


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--url", default="")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = 5_000 if options.quick else options.rows
    results = open_fields(3 if options.quick else 9)
    with tempfile.TemporaryDirectory() as place:
        url, drop = _database(options.url, Path(place))
        try:
            bench = Bench(Path(place), url, rows)
            results["rewrap"] = bench.rewrap()
            results["reencrypt"] = bench.reencrypt()
            bench.house.store.engine.dispose()
        finally:
            drop()
    _show(results)
    if options.out:
        about: dict[str, Any] = {
            "python": platform.python_version(), "machine": platform.processor(),
            "at": datetime.now(UTC).isoformat(), "rows": rows,
            "database": "postgresql" if options.url else "sqlite",
        }  # fmt: skip
        options.out.write_text(json.dumps({"about": about, "results": results}, indent=1))


if __name__ == "__main__":
    main()
