"""What a login leaves behind: bytes by table and index, WAL, and CPU of the worker.

    python -m benchmarks.storage --url postgresql+psycopg://… [--logins N] [--people N] [--out FILE]

A login is whole: begin, password, code and tokens, by people in turn, on a new device each time.
The database must be empty, on a server that serves nobody else meanwhile, as WAL is counted for the
whole server. Bytes are those of compacted tables (VACUUM FULL), after less before, once the log has
its links. The worker then lives on until everything has ended: CPU and WAL of each of its tasks.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyotp
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from crypto.hashing import PasswordHasher
from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.app import create_app, open_container
from service.clients.model import SCOPES, NewClient
from service.domain.clock import FrozenClock
from service.settings import Settings
from service.store import migrate
from service.store.engine import make_engine

PASSWORD = "a long enough pass phrase"
PERIOD = 30
STAYS = (
    timedelta(minutes=6),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(days=2),
    timedelta(days=35),
    timedelta(days=190),
)
"""How long the worker waits before it runs again, until all has ended that ends."""
_SIZES = text(
    "SELECT t.relname AS of, c.relname AS name, pg_relation_size(c.oid) + "
    "coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0) AS bytes FROM pg_class c "
    "LEFT JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_class t ON t.oid = "
    "coalesce(i.indrelid, c.oid) JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = 'public' AND c.relkind IN ('r', 'i')"
)


@dataclass
class Spent:
    """What one task of the worker did in all."""

    rows: int = 0
    cpu: float = 0.0
    wal: int = 0


class House:
    """A service on an empty database, with people who sign in at a clock that is moved."""

    def __init__(self, place: Path, url: str) -> None:
        FileRoot.init(place / "keys", KEY_CLASSES)
        settings = Settings(
            mode="development",
            database_url=url,
            root_key=f"file:{place / 'keys'}",
            log_level="error",
            face_engine="off",
            ledger="off",
        )
        self.engine: Engine = make_engine(url)
        migrate.upgrade(self.engine)
        self.clock = FrozenClock(datetime(2026, 11, 24, tzinfo=UTC))
        self.container = open_container(settings, self.clock, PasswordHasher.unsafe_for_tests())
        self.http = create_app(self.container).test_client()
        with self.container.store.transaction() as tx:
            new = NewClient(name="bench", scopes=tuple(SCOPES), first_party=True)
            client, secret = self.container.clients.create(tx, new)
        self.identity = {"client_id": str(client.id), "client_secret": secret}
        self.people: list[tuple[str, pyotp.TOTP]] = []

    def register(self, people: int) -> None:
        """Register people with a password and TOTP."""
        self.people = [(f"p{number}", self._register(f"p{number}")) for number in range(people)]

    def _register(self, name: str) -> pyotp.TOTP:
        self._authorize()
        body = {"identifiers": {"username": name}, "password": PASSWORD}
        subject = self._post("/v1/subjects", body)["id"]
        added = self._post(f"/v1/subjects/{subject}/authenticators", {"type": "totp"})
        totp = pyotp.TOTP(added["secret"])
        path = f"/v1/subjects/{subject}/authenticators/{added['id']}/confirm"
        self._post(path, {"code": totp.at(self._now(-PERIOD))})
        return totp

    def _now(self, beside: int = 0) -> int:
        return int(self.clock.now().timestamp()) + beside

    def _authorize(self) -> None:
        form = {"grant_type": "client_credentials", **self.identity}
        token = _read(self.http.post("/oauth2/token", data=form))["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def _post(self, path: str, body: dict[str, Any], **more: str) -> dict[str, Any]:
        proof = {name.replace("_", "-"): value for name, value in more.items()}
        return _read(self.http.post(path, json=body, headers=self.headers | proof))

    def login(self, number: int) -> None:
        """Sign a person in, to tokens."""
        name, totp = self.people[number % len(self.people)]
        if number % len(self.people) == 0:
            self.clock.advance(seconds=PERIOD)
            self._authorize()
        flow = self._post("/v1/flows", {"kind": "login", "identifier": name})
        path, token = f"/v1/flows/{flow['id']}/actions/", flow["flow_token"]
        self._post(f"{path}password", {"password": PASSWORD}, Flow_Token=token)
        done = self._post(f"{path}totp", {"code": totp.at(self._now())}, Flow_Token=token)
        grant = "urn:lamina:params:oauth:grant-type:flow"
        form = {"grant_type": grant, "code": done["completion_code"], **self.identity}
        _read(self.http.post("/oauth2/token", data=form))

    def sizes(self) -> Counter[tuple[str, str]]:
        """Return the bytes of each table and index, compacted."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM FULL"))
            rows = connection.execute(_SIZES)
            return Counter({(row.of, row.name): int(row.bytes) for row in rows})

    def wal(self) -> int:
        """Return how many bytes of WAL the server has written."""
        query = text("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        with self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def checkpoint(self) -> None:
        """Let every page be written, so that each costs a whole one in WAL once again."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CHECKPOINT"))

    def work(self, spent: dict[str, Spent]) -> None:
        """Let the worker do what is due, and note the CPU and the WAL of each task."""
        jobs = self.container.jobs
        at = {"cpu": time.process_time(), "wal": self.wal()}

        def ended(name: str, _seconds: float, failed: bool) -> None:  # noqa: FBT001 - a listener
            if failed:
                raise SystemExit(f"{name} failed")
            item = spent.setdefault(name, Spent())
            item.cpu += time.process_time() - at["cpu"]
            wal = self.wal()
            item.wal += wal - int(at["wal"])
            at.update(cpu=time.process_time(), wal=wal)

        jobs.on_end(ended)
        for name, rows in jobs.run_due().items():
            spent[name].rows += rows


def _read(answer: TestResponse) -> dict[str, Any]:
    if answer.status_code >= 400:  # noqa: PLR2004 - any refusal
        raise SystemExit(f"{answer.request.path}: {answer.status_code} {answer.text}")
    value: dict[str, Any] = json.loads(answer.data)
    return value


def measure(url: str, logins: int, people: int) -> dict[str, Any]:
    """Return bytes of tables and WAL, and what the worker spent, for each login."""
    with tempfile.TemporaryDirectory() as place:
        house = House(Path(place), url)
        empty = house.sizes()
        house.register(people)
        for number in range(people):
            house.login(number)
        house.work({})
        before = house.sizes()
        house.checkpoint()
        begun = house.wal()
        for number in range(logins):
            house.login(number)
        written = house.wal() - begun
        spent: dict[str, Spent] = {}
        house.clock.advance(seconds=2)
        house.work(spent)
        added = house.sizes() - before
        for stay in STAYS:
            house.clock.advance(seconds=stay.total_seconds())
            house.work(spent)
        left = house.sizes() - before
        house.container.store.engine.dispose()
        house.engine.dispose()
    tables: dict[str, dict[str, float]] = {}
    for (table, name), size in added.items():
        kind = "rows" if table == name else "indexes"
        row = tables.setdefault(table, {"rows": 0.0, "indexes": 0.0, "kept": 0.0})
        row[kind] += size / logins
    for (table, _), size in left.items():
        if table in tables:
            tables[table]["kept"] += size / logins
    return {
        "logins": logins,
        "bytes": sum(added.values()) / logins,
        "kept": sum(left.values()) / logins,
        "person": sum((before - empty).values()) / people,
        "wal": written / logins,
        "tables": tables,
        "indexes": {name: size / logins for (of, name), size in added.items() if of != name},
        "worker": {
            name: {
                "rows": item.rows / logins,
                "cpu_ms": item.cpu * 1000 / logins,
                "wal": item.wal / logins,
                "rows_per_cpu_second": round(item.rows / item.cpu) if item.cpu else 0,
            }
            for name, item in spent.items()
        },
    }


def show(found: dict[str, Any]) -> None:
    """Print the tables, the largest first."""
    print(f"{'bytes a login':24}{'rows':>8}{'indexes':>9}{'share':>8}{'for good':>10}")
    whole = found["bytes"]
    ordered = sorted(found["tables"].items(), key=lambda item: -sum(item[1].values()))
    for name, row in ordered:
        size = row["rows"] + row["indexes"]
        share = f"{size / whole:.1%}"
        print(f"{name:24}{row['rows']:8.0f}{row['indexes']:9.0f}{share:>8}{row['kept']:10.0f}")
    print(f"{'together':24}{whole:17.0f}{'':8}{found['kept']:10.0f}")
    print(f"WAL of its requests {found['wal']:.0f}")
    print(f"bytes a person, signed in once {found['person']:.0f}")
    print()
    print(f"{'worker, a login':24}{'rows':>8}{'CPU ms':>9}{'WAL':>8}{'rows/CPU s':>12}")
    worker = sorted(found["worker"].items(), key=lambda item: -item[1]["cpu_ms"])
    for name, item in worker:
        rate = item["rows_per_cpu_second"]
        print(f"{name:24}{item['rows']:8.2f}{item['cpu_ms']:9.3f}{item['wal']:8.0f}{rate:12,}")
    for name, label in (("cpu_ms", "CPU ms"), ("wal", "bytes of WAL")):
        print(f"together {sum(item[name] for _, item in worker):.3f} {label}")


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="an empty database of PostgreSQL")
    parser.add_argument("--logins", type=int, default=2000)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--out", type=Path, help="write JSON here")
    chosen = parser.parse_args()
    found = measure(chosen.url, chosen.logins, chosen.people)
    found |= {"machine": platform.platform(), "cores": os.cpu_count()}
    show(found)
    if chosen.out:
        chosen.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
