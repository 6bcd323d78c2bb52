"""Personal data at rest: sealed in the database, bound to its row, absent from everything else."""

import pickle
import sqlite3
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from crypto.errors import OpenError
from service.accounts.store.subjects import Subject
from service.authenticators.store import authenticators
from service.authenticators.store.authenticators import AuthenticatorRow
from service.domain.authenticator import Status
from service.store.base import table_of
from service.store.sealed import Unsealed
from tests.integration.conftest import build

CANARY = "kestrel.person@example.com"


def test_a_field_is_sealed_at_rest_and_opens_when_read(container):
    """The row holds ciphertext; the attribute gives the text; SQL cannot compare it."""
    account = container.register(email=CANARY)
    with container.store.transaction() as tx:
        raw = tx.execute(text("SELECT email FROM subject WHERE email IS NOT NULL")).scalar()
        assert bytes(raw)[0] == 0xF9
        assert CANARY.encode() not in bytes(raw)
        row = tx.get(Subject, account.id)
        assert row.email == CANARY
        assert CANARY not in repr(vars(row))
    with pytest.raises(TypeError, match="blind index"):
        Subject.email == CANARY  # noqa: B015 - the comparison itself is what raises


def test_nothing_of_it_reaches_the_database_file(container, tmp_path):
    """The address is in no byte of the SQLite file or its log."""
    if container.store.engine.dialect.name != "sqlite":
        pytest.skip("reads SQLite's own files")
    container.register(email=CANARY, username="kestrel-name")
    files = list(tmp_path.glob("lamina.db*"))
    assert files
    for file in files:
        assert b"kestrel" not in file.read_bytes()


def test_plaintext_is_refused_by_the_column(container):
    """SQL that carries plaintext to a sealed column raises before it runs."""
    account = container.register(username="someone")
    with pytest.raises(Exception, match="only a sealed value"), container.store.transaction() as tx:
        row = tx.get(Subject, account.id)
        row.sealed_email = b"plain"
        tx.flush()
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(Unsealed(b"x"))
    assert repr(Unsealed(b"x")) == "Unsealed()"


def test_a_verifier_copied_to_another_subject_does_not_open(container):
    """A row whose verifier came from somebody else's row is refused."""
    rows = []
    for name in ("alice", "mallory"):
        account = container.register(username=name)
        with container.store.transaction() as tx:
            rows.append(
                container.authenticators.add(tx, account.id, "totp", b"seed", status=Status.ACTIVE)
            )
    with container.store.transaction() as tx:
        tx.execute(
            text(
                "UPDATE authenticator SET verifier = (SELECT verifier FROM authenticator "
                "WHERE subject_id = :a) WHERE subject_id = :m"
            ),
            {"a": _key(container, rows[0].subject), "m": _key(container, rows[1].subject)},
        )
    with pytest.raises(OpenError), container.store.transaction() as tx:
        _ = tx.get(AuthenticatorRow, rows[1].id).verifier


def test_a_verifier_whose_status_was_flipped_does_not_open(container):
    """Turning an authenticator active with SQL gives no verifier, whatever its MAC says."""
    account = container.register(username="alice")
    with container.store.transaction() as tx:
        added = container.authenticators.add(tx, account.id, "totp", b"seed", status=Status.PENDING)
    with container.store.transaction() as tx:
        tx.execute(text("UPDATE authenticator SET status = 'active'"))
    with container.store.transaction(read=True) as tx:
        assert container.authenticators.verifier(tx, added.subject, added.subject, "totp") is None
        row = tx.execute(select(table_of(AuthenticatorRow))).one()
        with pytest.raises(OpenError):
            authenticators.opened(tx, row)


def test_confirming_seals_the_verifier_under_its_new_status(container):
    """The status changes through the action, and the verifier still opens."""
    account = container.register(username="alice")
    with container.store.transaction() as tx:
        added = container.authenticators.add(tx, account.id, "totp", b"seed", status=Status.PENDING)
    with container.store.transaction() as tx:
        container.authenticators.confirm(tx, account.id, added.id)
    with container.store.transaction() as tx:
        found = container.authenticators.verifier(tx, account.id, account.id, "totp")
        assert found.secret == b"seed"
        assert "seed" not in repr(found)


def test_what_is_active_is_what_this_unit_of_work_has_left(container):
    """The types that a verifier was read with count until one of them changes."""
    account = container.register(username="alice")
    with container.store.transaction() as tx:
        added = container.authenticators.add(tx, account.id, "totp", b"seed", status=Status.ACTIVE)
    with container.store.transaction() as tx:
        assert container.authenticators.verifier(tx, account.id, uuid4(), "totp").secret == b"seed"
        before = container.authenticators.enrolled(tx, account.id)
        container.authenticators.revoke(tx, account.id, added.id)
        tx.flush()
        assert container.authenticators.enrolled(tx, account.id) == before - {"totp"}
        assert container.authenticators.verifier(tx, account.id, uuid4(), "totp") is None
        assert container.authenticators.enrolled(tx, account.id) == before - {"totp"}


def test_a_key_made_in_a_rolled_back_transaction_is_not_used(container):
    """What is sealed after the rollback opens in a process that starts anew."""
    with pytest.raises(ZeroDivisionError), container.store.transaction() as tx:
        container.key_store.purpose_key(tx, "throttle")
        _ = 1 / 0
    with container.store.transaction() as tx:
        first = container.key_store.purpose_key(tx, "throttle")
    with container.store.transaction() as tx:
        assert container.key_store.purpose_key(tx, "throttle") == first


def test_another_process_opens_what_this_one_sealed(container, url, roots):
    """Keys come back from their rows: subjects, signing keys and indexes alike."""
    account = container.register(username="alice", email=CANARY)
    other = build(url, roots)
    with other.store.transaction() as tx:
        assert other.accounts.view(tx, account.id)["identifiers"]["email"] == CANARY
        assert other.accounts.find(tx, "ALICE").account.id == account.id
        assert all(line["held"] for line in other.key_store.status(tx))
    assert other.signing.jwks() == container.signing.jwks()
    assert other.key_store.classes() == container.key_store.classes()
    other.store.engine.dispose()


def test_no_slow_work_inside_a_transaction(container):
    """The guard raises where a hash would hold a lock, and one unit of work is the most."""
    container.store.outside()
    with container.store.transaction():
        with pytest.raises(RuntimeError, match="slow work"):
            container.store.outside()
        with pytest.raises(RuntimeError, match="already open"), container.store.transaction():
            pass


def test_sqlite_is_set_up_to_forget(container):
    """Deleted content is overwritten, and foreign keys are enforced."""
    if container.store.engine.dialect.name != "sqlite":
        pytest.skip("asks SQLite's own settings")
    with container.store.transaction(read=True) as tx:
        assert tx.execute(text("PRAGMA secure_delete")).scalar() == 1
        assert tx.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert tx.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    assert sqlite3.sqlite_version_info >= (3, 35)


def _key(container, value):
    return value.hex if container.store.engine.dialect.name == "sqlite" else value
