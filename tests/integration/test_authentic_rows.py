"""Rows with MACs: given once, changed with their rows, rotated, and missed where they are gone."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import delete, insert, select, text, update

from service.accounts.store.subjects import Consent, Subject, Suspension
from service.audit.actions.audit_log import AuditLog
from service.audit.actions.state import RowState
from service.audit.store import Leaf, Link, RowMark
from service.clients.model import NewClient
from service.clients.store import use_assertion
from service.domain.errors import Conflict, RowRefused, SetupError
from service.operators import store as operators
from service.operators.store import OperatorRole
from service.store import authentic
from service.store.base import table_of
from service.store.shapes import shapes

CONSENT = {"purpose": "face", "version": "1", "text_hash": "x", "locale": "en", "channel": "web"}


@pytest.fixture
def state(container):
    """What compares rows with the log, on a database that is settled."""
    without_macs(container)
    made = RowState(container.store, AuditLog(container.clock), container.clock)
    made.settle()
    return made


def found(state, **more):
    return {(item["table"], item["what"]) for item in state.compare(**more).found}


def without_macs(container):
    """Make the database one of the release before: no MAC, no mark, no word of them in the log."""
    with container.store.engine.begin() as db:
        for shape in shapes():
            if shape.keyed:
                db.execute(update(shape.table).values(mac=None))
        for model in (RowMark, Link, Leaf):
            db.execute(delete(model))


def test_what_a_savepoint_takes_back_is_not_told(container):
    """The log hears of what stays: before the savepoint, after it, and of none that was undone."""
    names = [f"jti {number}" for number in range(3)]
    now = container.clock.now()

    def use(tx, name):
        assert use_assertion(
            tx, client=UUID(int=1), jti=name, expires_at=now + timedelta(minutes=1), now=now
        )

    with container.store.transaction() as tx:
        use(tx, names[0])
        with pytest.raises(ZeroDivisionError), tx.begin_nested():
            use(tx, names[1])
            with tx.begin_nested():
                use(tx, names[2])
            _ = 1 / 0
        told = [item[1] for item in authentic.touched(tx) if item[0] == "used_assertion"]
        assert [row.rpartition("|")[2] for row in told] == names[:1]
        with tx.begin_nested():
            use(tx, names[1])
        assert len(authentic.touched(tx)) == len(told) + 1


def test_rows_of_an_older_database_are_trusted_once(container):
    """The first start gives every row a MAC and tells the log; the next one none."""
    account = container.register(username="alice")
    with container.store.transaction() as tx:
        container.accounts.consents.give(tx, account.id, CONSENT)
    without_macs(container)
    with container.store.transaction(read=True) as tx, pytest.raises(RowRefused):
        container.accounts.get(tx, account.id)
    state = RowState(container.store, AuditLog(container.clock), container.clock)
    assert state.settle() > 3
    assert state.settle() == 0
    with container.store.transaction(read=True) as tx:
        assert container.accounts.get(tx, account.id).id == account.id
        kinds = tx.scalars(select(Leaf.kind)).all()
    assert "rows.authenticated" in kinds
    assert state.compare().found == []


def test_a_row_without_a_mac_is_refused_ever_after(container, state):
    """To take the MACs away makes nothing new of old rows."""
    account = container.register(username="alice")
    with container.store.engine.begin() as db:
        db.execute(text("UPDATE subject SET mac = NULL, status = 'active'"))
    assert state.settle() == 0
    with container.store.transaction(read=True) as tx, pytest.raises(RowRefused):
        container.accounts.get(tx, account.id)
    assert ("subject", "edited") in found(state)


def test_the_mark_cannot_be_taken_away(container, state):
    """Without it, or with one that is not ours, nothing starts; not with all MACs gone either."""
    container.register(username="alice")
    with container.store.engine.begin() as db:
        db.execute(text("UPDATE row_mark SET position = 9"))
    with pytest.raises(SetupError) as refused:
        state.settle()
    assert refused.value.code == "row_mark_refused"
    for statement in ("DELETE FROM row_mark", "UPDATE subject SET mac = NULL"):
        with container.store.engine.begin() as db:
            db.execute(text(statement))
        with pytest.raises(SetupError) as refused:
            state.settle()
        assert refused.value.code == "row_mark_missing"
    with container.store.engine.begin() as db:
        for shape in shapes():
            if shape.keyed:
                db.execute(update(shape.table).values(mac=None))
    with pytest.raises(SetupError) as refused:
        state.settle()
    assert refused.value.code == "row_mark_missing"


def test_an_older_database_with_a_broken_log_is_not_trusted(container):
    """What was edited before the upgrade is not made right by it, where the log tells."""
    container.register(username="alice")
    with container.store.transaction() as tx:
        container.audit.sequence(tx)
    with container.store.engine.begin() as db:
        for shape in shapes():
            if shape.keyed:
                db.execute(update(shape.table).values(mac=None))
        db.execute(text("DELETE FROM row_mark"))
        db.execute(text("UPDATE audit_leaf SET kind = 'other'"))
    from crypto.errors import ChainBroken

    with pytest.raises(ChainBroken):
        RowState(container.store, AuditLog(container.clock), container.clock).settle()


def test_a_row_that_two_change_is_changed_by_one(container, state):
    """The second is told to try again; the row still holds and the log agrees."""
    account = container.register(username="alice")
    with container.store.transaction(read=True) as tx:
        row = tx.get(Subject, account.id)
        plain = authentic.one(
            tx, Subject, authentic.reading(Subject).where(Subject.id == account.id), {}
        )
        tx.expunge(row)
    with container.store.transaction() as tx:
        assert authentic.change(tx, Subject, plain, status="locked")
        assert not authentic.change(tx, Subject, plain, status="gone")
    with pytest.raises(Conflict) as refused, container.store.transaction() as tx:
        tx.add(row)
        row.status = "gone"
    assert refused.value.code == "changed_meanwhile"
    assert found(state) == set()


def test_a_change_after_a_roll_back_is_found(container, state):
    """To put a row back and let the service change it again does not cover it up."""
    account = container.register(username="alice")
    subjects = table_of(Subject)
    with container.store.engine.connect() as db:
        query = select(subjects).where(subjects.c.id == account.id)
        before = dict(db.execute(query).one()._mapping)
    for _ in range(2):
        with container.store.transaction() as tx:
            container.accounts.completed_login(tx, account)
        with container.store.engine.begin() as db:
            db.execute(update(subjects).where(subjects.c.id == account.id).values(**before))
    with container.store.transaction() as tx:
        container.accounts.completed_login(tx, account)
    assert found(state) == {("subject", "changed_after_rollback")}


def test_notes_that_somebody_wrote_are_told(container, state):
    """Neither a leaf with notes of its own nor one without the MAC of its notes is believed."""
    account = container.register(username="alice")
    with container.store.transaction() as tx:
        container.suspensions.suspend(
            tx, account.id, capability="login", reason="fraud", actor="op"
        )
    with container.store.engine.begin() as db:
        row = db.execute(select(table_of(Suspension))).one()
        notes = [["suspension", str(row.id), 2, "gone", None]]
        values = {
            "id": account.id,
            "at": container.clock.now(),
            "kind": "x",
            "data": {"rows": notes},
        }
        db.execute(table_of(Leaf).insert().values(**values))
        db.execute(text("DELETE FROM suspension"))
    assert found(state) == {("audit_leaf", "forged_notes"), ("suspension", "missing")}


def test_a_key_that_is_used_again_begins_anew(container, state):
    """A role that was taken and given again is no row that came back."""
    account, now = container.register(username="alice"), container.clock.now()
    for _ in range(3):
        with container.store.transaction() as tx:
            assert operators.grant(tx, account.id, role="auditor", now=now, by="op")
            assert not operators.grant(tx, account.id, role="auditor", now=now, by="op")
        assert found(state) == set()
        with container.store.engine.connect() as db:
            kept = dict(db.execute(select(table_of(OperatorRole))).one()._mapping)
        with container.store.transaction() as tx:
            assert operators.revoke(tx, account.id, "auditor")
        assert found(state) == set()
    with container.store.engine.begin() as db:
        db.execute(insert(table_of(OperatorRole)).values(**kept))
    assert found(state) == {("operator_role", "came_back")}


def test_what_changed_lately_is_compared_alone(container, state):
    """After a whole comparison only what the log was told since is read again."""
    account = container.register(username="alice")
    with container.store.transaction() as tx:
        container.accounts.consents.give(tx, account.id, CONSENT)
        container.audit.sequence(tx)
    assert state.compare().count == 0
    with container.store.transaction() as tx:
        container.audit.sequence(tx)
    whole = state.compare().rows
    with container.store.transaction() as tx:
        container.suspensions.suspend(
            tx, account.id, capability="login", reason="fraud", actor="op"
        )
    lately = state.compare(lately=True)
    assert lately.rows < whole
    assert lately.found == []
    with container.store.engine.begin() as db:
        db.execute(text("DELETE FROM suspension"))
    assert found(state, lately=True) == {("suspension", "missing")}


def test_what_has_expired_may_be_missing(container, state):
    """A verification code is told with its end; before it, it must be there."""
    account = container.register(email="alice@example.org")
    with container.store.transaction() as tx:
        container.accounts.send_code(tx, account.id, "email")
    with container.store.engine.begin() as db:
        db.execute(text("DELETE FROM verification_code"))
    assert found(state) == {("verification_code", "missing")}
    container.clock.advance(seconds=timedelta(hours=1).total_seconds())
    assert found(state) == set()


def test_a_client_secret_that_is_put_back_is_refused(container, state):
    """The MAC covers the sealed secret: an older one is none, though it opens."""
    with container.store.transaction() as tx:
        client, secret = container.clients.create(tx, NewClient(name="app", scopes=()))
    with container.store.engine.connect() as db:
        old = db.execute(text("SELECT secret FROM client")).scalar()
    with container.store.transaction() as tx:
        container.clients.rotate_secret(tx, client.id)
    with container.store.engine.begin() as db:
        db.execute(text("UPDATE client SET secret = :old"), {"old": old})
    with pytest.raises(RowRefused), container.store.transaction() as tx:
        container.clients.authenticate_secret(tx, str(client.id), secret)


def test_a_list_leaves_out_what_was_forged_and_tells(container, state):
    """The other rows are there, and the alarm names table and key."""
    told = []
    container.store.on_refused(told.extend)
    account = container.register(username="alice")
    with container.store.transaction() as tx:
        container.accounts.consents.give(tx, account.id, CONSENT)
        container.accounts.consents.give(tx, account.id, CONSENT | {"purpose": "behavior"})
    with container.store.engine.begin() as db:
        forged = update(table_of(Consent)).where(Consent.purpose == "face")
        db.execute(forged.values(version="2"))
        bad = db.execute(select(Consent.id).where(Consent.purpose == "face")).scalar()
    with container.store.transaction(read=True) as tx:
        given = container.accounts.consents.listed(tx, account.id)
        assert not container.accounts.consents.active(tx, account.id, "face")
    assert [item["purpose"] for item in given] == ["behavior"]
    assert set(told) == {("consent", str(bad))}
