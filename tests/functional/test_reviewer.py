"""What a reviewer of field encryption tries first; docs/keys.md names the test for each attempt."""

import base64
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from itertools import permutations
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select, text

from crypto import envelope
from crypto.errors import OpenError
from crypto.fields import Owner, OwnerKind
from crypto.hashing import PasswordHasher
from crypto.keyring import KEY_CLASSES
from service.accounts.store.subjects import Subject
from service.app import open_container
from service.domain.errors import NotFound
from service.store.base import table_of
from service.store.fields import sealed_tables
from tests.functional.conftest import PASSWORD

CANARY = "kestrel"
FORKING = """
import os, uuid
from crypto import envelope
from crypto.fields import Owner, OwnerKind, place_of
from crypto.keyring import KeyEncryptionKey
kek = KeyEncryptionKey("contact", 1, b"k" * 32)
wrapped, key = envelope.create_data_key(kek, Owner(OwnerKind.SUBJECT, uuid.UUID(int=1)))
place = place_of("t", "c")
key.seal_cell(b"", place, bytes(16))
for _ in range(4):
    if os.fork() == 0:
        nonces = [key.seal_cell(b"", place, bytes(16))[4:16] for _ in range(200)]
        cell = key.seal_cell(b"x", place, bytes(16)), place, bytes(16), bytes(2)
        nonces += [sealed[4:16] for sealed in key.reseal_many([cell] * 50, key)]
        nonces.append(envelope.rewrap_data_key(kek, kek, key.owner.to_bytes(), wrapped)[9:33])
        os.write(1, "".join(nonce.hex() + "\\n" for nonce in nonces).encode())
        os._exit(0)
for _ in range(4):
    os.wait()
"""
PROFILE = {"name": "Kestrel Kestrelson", "national_id": "kestrel-1234"}


def people(service):
    """Register two people whose every field holds the canary."""
    return [
        service.register(
            f"{CANARY}-{name}",
            profile=PROFILE,
            identifiers={
                "username": f"{CANARY}-{name}",
                "email": f"{CANARY}.{name}@example.com",
            },
        )
        for name in ("a", "b")
    ]


def test_no_two_cells_can_be_swapped(service):
    """Every sealed value of two people, put into every other cell, opens in none of them."""
    people(service)
    container = service.container
    with container.store.transaction(read=True) as tx:
        cells = []
        for table in sealed_tables():
            for row in tx.execute(select(table.table)):
                cells += [
                    (table, item, row, getattr(row, item.name))
                    for item in table.fields
                    if getattr(row, item.name) is not None
                ]
        assert len(cells) > 20
        swapped = 0
        for (_, _, _, value), (table, item, row, own) in permutations(cells, 2):
            if value == own:
                continue
            owner, key_class = table.owner(row), item.key_class(row)
            generation = envelope.sealed_generation(value)
            key = container.key_store.key(
                tx, key_class=key_class, owner=owner, generation=generation, peers=tuple
            )
            with pytest.raises(OpenError, match=r"^the sealed value does not open$"):
                key.open_cell(value, item.place, row.id.bytes, item.adds(row))
            swapped += 1
    assert swapped > 400


def test_a_fork_reuses_no_nonce():
    """Children of one process, sealing with the key it held, draw different nonces."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, check=True, timeout=60
    )
    nonces = done.stdout.split()
    assert len(nonces) == 4 * 251
    assert len(set(nonces)) == len(nonces)


def test_no_key_in_environment_arguments_logs_or_tracebacks(service, settings, caplog):
    """A process that holds keys shows none of them where others may look."""
    caplog.set_level(logging.DEBUG)
    people(service)
    secrets = []
    for file in Path(settings.root_key.removeprefix("file:")).iterdir():
        if file.is_file():
            parts = file.read_text("utf-8").split()
            secrets += [part for part in parts if len(part) > 40]
    assert len(secrets) >= len(KEY_CLASSES)
    key_store = service.container.key_store
    held = [key_store, key_store._ring, *key_store._kept.values(), key_store.active_kek("contact")]
    shown = [
        caplog.text,
        Path("/proc/self/environ").read_text("utf-8", "replace"),
        *map(repr, held),
    ]
    shown.append(Path("/proc/self/cmdline").read_text("utf-8", "replace"))
    key = next(iter(key_store._kept.values()))
    try:
        key.open_cell(b"broken", b"place", b"row")
    except OpenError as error:
        shown.append("".join(traceback.TracebackException.from_exception(error).format()))
    everything = "\n".join(shown)
    for secret in (*secrets, key._secret.hex(), base64.b64encode(key._secret).decode()):
        assert secret not in everything
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(key)


def test_a_crash_writes_no_core():
    """A process that serves dies of a fault without leaving its memory behind."""
    program = (
        "import os, resource, signal; from service.telemetry import core_dumps; "
        "most = resource.getrlimit(resource.RLIMIT_CORE)[1]; "
        "resource.setrlimit(resource.RLIMIT_CORE, (most, most)); "
        "core_dumps.forbid(); print(resource.getrlimit(resource.RLIMIT_CORE), flush=True); "
        "print(__import__('ctypes').CDLL(None).prctl(3, 0, 0, 0, 0), flush=True); "
        "os.kill(os.getpid(), signal.SIGSEGV)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    out = child.stdout.read()
    child.stdout.close()
    _, status = os.waitpid(child.pid, 0)
    child.returncode = 0
    assert os.WTERMSIG(status) == signal.SIGSEGV
    assert not os.WCOREDUMP(status)
    assert out.split() == ["(0,", "0)", "0"]


def test_no_plaintext_in_engine_logs_exceptions_or_dumps(service, settings, caplog, tmp_path):
    """The canary is in no statement that is logged, no error, no file and no dump."""
    caplog.set_level(logging.DEBUG, logger="sqlalchemy")
    service.container.store.engine.echo = "debug"
    person, _ = people(service)
    service.login(person)
    with (
        pytest.raises(Exception, match="changed_meanwhile") as failed,
        service.container.store.transaction() as tx,
    ):
        row = tx.get(Subject, UUID(person.id))
        copy = Subject(
            id=row.id,
            status="active",
            segment="default",
            client_id=row.client_id,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
        copy.username = CANARY
        tx.expunge(row)
        tx.add(copy)
        tx.flush()
    service.container.store.engine.echo = False
    assert "INSERT INTO subject" in caplog.text
    seen = [caplog.text, str(failed.value), "".join(traceback.format_exception(failed.value))]
    assert CANARY not in "\n".join(seen)
    assert PASSWORD not in "\n".join(seen)
    if settings.sqlite:
        files = list(tmp_path.glob("lamina.db*"))
        dump = b"".join(file.read_bytes() for file in files)
    else:
        url = settings.database_url.replace("+psycopg", "")
        dump = subprocess.run(["pg_dump", url], capture_output=True, check=True).stdout
    assert len(dump) > 10_000
    for needle in (CANARY.encode(), PASSWORD.encode(), CANARY.encode().hex().encode()):
        assert needle not in dump


def _wrapped_and_cells(service, person):
    number = UUID(person.id)
    with service.container.store.transaction(read=True) as tx:
        found = list(
            tx.execute(
                text("SELECT wrapped FROM dek WHERE owner_id = :id"),
                {"id": number.hex if service.container.settings.sqlite else number},
            ).scalars()
        )
        table = table_of(Subject)
        row = tx.execute(select(table).where(table.c.id == number)).one()
        found += [row.username, row.email, row.profile]
    return [bytes(value) for value in found if value is not None]


def test_residue_after_an_erasure(service, tmp_path):
    """SQLite keeps no byte of keys or cells; PostgreSQL none once the tables are rewritten.

    PostgreSQL's log and backups keep old pages for their time, which the erase horizon states.
    """
    person, _ = people(service)
    before = _wrapped_and_cells(service, person)
    assert len(before) >= 4
    store = service.container.store
    if store.engine.dialect.name == "sqlite":
        store.scrub()
        whole = b"".join(file.read_bytes() for file in tmp_path.glob("lamina.db*"))
        assert all(value in whole for value in before)
        assert service.call("DELETE", f"/v1/subjects/{person.id}").status_code == 200
        whole = b"".join(file.read_bytes() for file in tmp_path.glob("lamina.db*"))
        assert not any(value in whole for value in before)
        return

    def heap():
        with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as raw:
            raw.exec_driver_sql("CHECKPOINT")
            return b"".join(
                raw.exec_driver_sql(
                    f"SELECT pg_read_binary_file(pg_relation_filepath('{name}'))"
                ).scalar_one()
                for name in ("dek", "subject")
            )

    assert any(value in heap() for value in before)
    answer = service.call("DELETE", f"/v1/subjects/{person.id}").json
    assert answer["erase_horizon"] > answer["erased_at"]
    # A snapshot of the server's own housekeeping may keep the dead rows for a moment.
    for _ in range(480):
        with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as raw:
            raw.exec_driver_sql("VACUUM FULL dek")
            raw.exec_driver_sql("VACUUM FULL subject")
        left = [value for value in before if value in heap()]
        if not left:
            break
        time.sleep(0.25)
    assert not left


def test_no_key_cache_outlives_a_shred(service, settings, clock):
    """Another process that has just read a person finds nothing in its next unit of work."""
    person, other = people(service)
    twin = open_container(settings, clock, PasswordHasher.unsafe_for_tests())
    number = UUID(person.id)
    with twin.store.transaction(read=True) as tx:
        assert tx.get(Subject, number).username == f"{CANARY}-a"
        copy = _wrapped_and_cells(service, person)
    assert service.call("DELETE", f"/v1/subjects/{person.id}").status_code == 200
    with twin.store.transaction(read=True) as tx:
        with pytest.raises(NotFound):
            twin.accounts.get(tx, number)
        owner = Owner(OwnerKind.SUBJECT, number)
        with pytest.raises(OpenError):
            twin.key_store.key(tx, key_class="contact", owner=owner, generation=1, peers=tuple)
        assert tx.get(Subject, UUID(other.id)).username == f"{CANARY}-b"
    assert copy
    twin.store.engine.dispose()
