"""The audit log over HTTP, for auditors."""

from uuid import UUID

import pytest
from sqlalchemy import delete, event, insert, select, text, update

from service.audit.model import ChainBroken, Wanted
from service.audit.store import Leaf, Link
from service.operators.model import Role
from service.store.base import table_of
from service.web.paging import PageRequest
from tests.functional.conftest import PASSWORD, START

LOG = "/v1/audit"


@pytest.fixture
def audited(service):
    """Ask for the log as an auditor; what waits for its place gets it first."""
    person, tokens = service.sign_up("iris")
    with service.container.store.transaction() as tx:
        service.container.operators.break_glass.grant(tx, UUID(person.id), Role.AUDITOR)
    bearer = service.operator_token(tokens)

    def ask(query="", status=200, *, place=True):
        if place:
            with service.container.store.transaction() as tx:
                service.container.audit.sequence_waiting(tx)
        answer = service.call("GET", LOG + query, bearer=bearer)
        assert answer.status_code == status, answer.json
        return answer.json

    return ask


def whole(audited, query="limit=100"):
    """Return every entry, page by page."""
    found, cursor = [], ""
    while cursor is not None:
        page = audited(f"?{query}{cursor and f'&cursor={cursor}'}")
        found += page["items"]
        cursor = page["next_cursor"]
    return found


def test_an_auditor_reads_the_log_in_its_order(service, audited):
    """Each entry once, with its place and its head, as it is stored and intact."""
    service.register("bob", profile={"name": "Bob Example"})
    found = whole(audited)
    with service.container.store.transaction(read=True) as tx:
        rows = tx.execute(
            select(Leaf.id, Leaf.kind, Leaf.actor, Link.position, Link.head)
            .join(Link, Link.leaf_id == Leaf.id)
            .order_by(Leaf.id)
        ).all()
    assert [UUID(item["id"]) for item in found] == [row.id for row in rows]
    assert [(item["name"], item["actor"], item["position"], item["head"]) for item in found] == [
        (row.kind, row.actor, row.position, row.head.hex()) for row in rows
    ]
    assert {item["intact"] for item in found} == {True}
    assert set(found[0]) == {
        "id",
        "position",
        "at",
        "name",
        "subject",
        "actor",
        "data",
        "head",
        "intact",
    }
    told = str(found)
    assert not any("rows" in item["data"] or "rows_mac" in item["data"] for item in found)
    assert "Bob Example" not in told
    assert PASSWORD not in told
    assert whole(audited, "limit=7") == found


def test_an_entry_without_a_place_is_told_as_such(service, audited):
    """It is there at once; nothing says yet that it is as it was written."""
    person = service.register("bob")
    last = audited(f"?subject={person.id}", place=False)["items"][0]
    assert (last["position"], last["head"], last["intact"]) == (None, None, None)
    placed = audited(f"?subject={person.id}")["items"][0]
    assert placed["id"] == last["id"]
    assert (placed["intact"], placed["position"] > 0) == (True, True)


def test_the_log_is_narrowed_by_person_name_and_time(service, audited):
    """Each alone and all together; `from` is part of it and `to` is not."""
    bob = service.register("bob")
    begins = service.clock.now()
    service.clock.advance(minutes=1)
    service.call("PATCH", f"/v1/subjects/{bob.id}", {"profile": {"name": "Bob"}})
    middle = service.clock.now()
    service.clock.advance(minutes=1)
    service.call("PATCH", f"/v1/subjects/{bob.id}", {"profile": {"name": "Robert"}})
    ends = service.clock.now()
    changed = f"subject={bob.id}&name=subject.changed"
    moments = [moment.isoformat().replace("+00:00", "Z") for moment in (begins, middle, ends)]
    of = whole(audited, f"subject={bob.id}")
    assert {item["subject"] for item in of} == {bob.id}
    assert [item["name"] for item in of][-2:] == ["subject.changed"] * 2
    assert {item["name"] for item in whole(audited, "name=subject.registered")} == {
        "subject.registered"
    }
    assert len(whole(audited, changed)) == 2
    for since, until, count in ((0, 2, 1), (1, 2, 1), (2, None, 1), (0, 1, 0), (1, None, 2)):
        query = f"{changed}&from={moments[since]}"
        query += f"&to={moments[until]}" if until else ""
        assert len(whole(audited, query)) == count, (since, until)
    offset = middle.isoformat().replace("12:", "14:", 1).replace("+00:00", "%2B02:00")
    assert len(whole(audited, f"{changed}&from={offset}")) == 2
    assert whole(audited, "from=9999-12-31T23:59:59Z") == []
    assert whole(audited, "to=0001-01-02T00:00:00Z") == []


def test_who_is_no_auditor_reads_nothing(service, audited):
    """Neither a client that once held the scope nor an operator without the role."""
    assert service.call("GET", LOG).status_code == 403
    person, tokens = service.sign_up("oscar")
    with service.container.store.transaction() as tx:
        service.container.operators.break_glass.grant(tx, UUID(person.id), Role.OPERATOR)
    refused = service.call("GET", LOG, bearer=service.operator_token(tokens))
    assert (refused.status_code, refused.json["scope"]) == (403, "audit:read")
    assert audited()["items"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("from=yesterday", "/from"),
        ("from=1700000000", "/from"),
        ("to=2026-11-24", "/to"),
        ("to=2026-11-24T12:00:00", "/to"),
        ("from=2026-13-24T12:00:00Z", "/from"),
        ("from=0001-01-01T00:00:00%2B14:00", "/from"),
        ("to=9999-12-31T23:59:59-14:00", "/to"),
        ("to=2026-11-24T12:00:60Z", "/to"),
        ("subject=bob", "/subject"),
        ("name=Subject", "/name"),
        ("name=" + "a" * 65, "/name"),
        ("kind=x", ""),
        ("since=2026-11-24T12:00:00Z", ""),
        ("name=a&name=b", "/name"),
        ("limit=101", ""),
        ("cursor=1", ""),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(audited, query, pointer):
    """By its name; none is left out in silence."""
    refused = audited(f"?{query}", 422)
    assert [fault["pointer"] for fault in refused["errors"]] == [pointer]


@pytest.mark.edits_rows
def test_an_entry_that_was_edited_is_told(service, audited):
    """Whoever writes into the log without its key is seen in the entry itself."""
    numbers = []
    for number in range(4):
        # The place of an entry follows from its id, and that from its time.
        service.clock.advance(seconds=1)
        numbers.append(service.register(f"p{number}").id)
    leaves, links = table_of(Leaf), table_of(Link)

    def registered(number):
        query = f"?subject={number}&name=subject.registered"
        return audited(query)["items"][0]

    assert [registered(number)["intact"] for number in numbers] == [True] * 4
    first, second, third = (UUID(registered(number)["id"]) for number in numbers[:3])
    place = registered(numbers[3])["position"]
    with service.container.store.engine.begin() as connection:

        def edit(table, row, **values):
            key = leaves.c.id if table is leaves else links.c.leaf_id
            assert connection.execute(update(table).where(key == row).values(**values)).rowcount

        edit(leaves, first, actor="somebody")
        edit(links, second, mac=bytes(32))
        edit(links, third, mac=None)
        connection.execute(delete(links).where(links.c.position == place - 1))
        values = {"kind": "key.destroyed", "data": {}, "subject_id": UUID(numbers[0])}
        values |= {"actor": "x", "at": service.clock.now(), "id": UUID(int=(1 << 127) + 5)}
        connection.execute(insert(leaves).values(values | {"position": 1}))
    assert [registered(number)["intact"] for number in numbers] == [False, False, False, False]
    (forged,) = audited("?name=key.destroyed", place=False)["items"]
    assert (forged["position"], forged["intact"]) == (None, None)


@pytest.mark.edits_rows
@pytest.mark.parametrize("data", [{"a": 2**53 + 1}, [1], None, "text"])
def test_an_entry_that_no_service_writes_hides_no_other(service, audited, data):
    """It is listed without data and not intact; the comparison names it and goes on."""
    person = service.register("alice").id
    (entry,) = audited(f"?subject={person}&name=subject.registered")["items"]
    leaves = table_of(Leaf)
    with service.container.store.engine.begin() as connection:
        connection.execute(update(leaves).where(leaves.c.id == UUID(entry["id"])).values(data=data))
    shown = {item["id"]: item for item in audited("?limit=100")["items"]}
    assert (shown[entry["id"]]["intact"], len(shown) > 1) == (False, True)
    assert shown[entry["id"]]["data"] == (data if isinstance(data, dict) else None)
    named = {row["row"] for row in service.container.comparing.all().found}
    assert isinstance(data, dict) or entry["id"] in named
    with service.container.store.transaction(read=True) as tx, pytest.raises(ChainBroken) as broken:
        service.container.audit.verify(tx)
    assert broken.value.position == entry["position"]


def test_an_auditor_reads_which_operators_agreed(service, audited):
    """The names of the two stand in the entry; they are left out of a person's export alone."""
    with service.container.store.transaction() as tx:
        service.container.audit.append(
            tx, "subject.recovery_asked", actor="operator:a", operators=["a", "b"]
        )
    (entry,) = audited("?name=subject.recovery_asked")["items"]
    assert entry["data"]["operators"] == ["a", "b"]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Wanted(subject=UUID(int=1)), "ix_audit_leaf_subject"),
        (Wanted(name="keys.destroyed"), "ix_audit_leaf_rare"),
        (Wanted(name="flow.begun"), ""),
        (Wanted(since=START), ""),
    ],
)
def test_pages_are_read_by_an_index(service, wanted, index):
    """Of a person and of a rare name by one of theirs, all else by the order of the list."""
    engine, asked = service.container.store.engine, []

    def explain(_connection, _cursor, statement, parameters, *_more):
        if "FROM audit_leaf" in statement and not asked:
            asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", explain)
    with service.container.store.transaction() as tx:
        service.container.audit.page(tx, PageRequest(50, UUID(int=9)), wanted)
    event.remove(engine, "before_cursor_execute", explain)
    ((statement, parameters),) = asked
    sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        if not sqlite:
            # The tables are nearly empty: ways that suit those are left out.
            for way in ("seqscan", "bitmapscan", "sort", "hashjoin", "mergejoin"):
                connection.execute(text(f"SET LOCAL enable_{way} = off"))
        verb = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"
        plan = str(connection.exec_driver_sql(f"{verb} {statement}", parameters).all())
    assert (index or ("autoindex_audit_leaf" if sqlite else "pk_audit_leaf")) in plan, plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan
