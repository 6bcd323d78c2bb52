"""The list of subjects for operators."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text, update

from service.accounts.store.subjects import Subject
from service.domain.errors import BadInput
from service.operators.model import Role, scopes_of
from service.store.base import table_of
from tests.functional.conftest import START

LIST = "/v1/subjects"
EARLIER = START - timedelta(days=1)


@pytest.fixture
def listing(service, officers):
    """Ask for the list as an operator."""

    def ask(query="", status=200):
        answer = service.call("GET", LIST + query, bearer=officers[0])
        assert answer.status_code == status, answer.json
        return answer.json

    return ask


@pytest.fixture
def two_segments(service):
    """The service whose client serves two of three segments, with people of all three."""
    with service.container.store.transaction() as tx:
        service.container.clients.set_segments(
            tx, UUID(service.client_id), ["default", "vip"], "test"
        )
    wide, secret = service.new_client(name="wide", segments=("other",))
    bearer = service.access((wide, secret))
    made = []
    for number in range(6):
        service.clock.advance(seconds=1)
        body = {"identifiers": {"username": f"p{number}"}}
        segment = ("default", "vip", "other")[number % 3]
        body["segment"] = segment
        who = bearer if segment == "other" else None
        made.append(service.call("POST", LIST, body, bearer=who).json["id"])
    return made


def test_operators_list_the_people_of_their_segments(two_segments, listing):
    """By id over both segments, each once, without anything that is sealed."""
    made = two_segments
    found = listing("?limit=100")
    served = [item for number, item in enumerate(made) if number % 3 < 2]
    listed = [item["id"] for item in found["items"] if item["id"] in made]
    assert listed == served
    assert found["next_cursor"] is None
    item = next(item for item in found["items"] if item["id"] == made[1])
    assert item.pop("created_at").startswith("2026-11-24T12:")
    assert item == {"id": made[1], "status": "active", "segment": "vip"}
    vip = [item["id"] for item in listing("?segment=vip")["items"]]
    assert vip == [made[1], made[4]]


def test_pages_hold_each_once_while_people_come(service, two_segments, listing):
    """The pages together are the list; who registers meanwhile moves nothing before."""
    whole = [item["id"] for item in listing("?limit=100")["items"]]
    pages, cursor = [], ""
    while cursor is not None:
        page = listing(f"?limit=3{cursor and f'&cursor={cursor}'}")
        assert len(page["items"]) <= 3
        pages += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        service.clock.advance(seconds=1)
        if len(pages) <= 6:
            service.call("POST", LIST, {"identifiers": {"username": f"late{len(pages)}"}})
    assert pages[: len(whole)] == whole
    assert len(pages) == len(set(pages)) == len(whole) + 2


def test_an_erased_subject_is_listed_as_such_alone(service, listing):
    """By itself the list shows who is there; nobody finds the decoy."""
    person = service.register()
    assert person.id in [item["id"] for item in listing()["items"]]
    assert service.call("DELETE", f"{LIST}/{person.id}").status_code == 200
    assert person.id not in [item["id"] for item in listing()["items"]]
    assert [(item["id"], item["status"]) for item in listing("?status=erased")["items"]] == [
        (person.id, "erased")
    ]
    every = listing("?limit=100")["items"] + listing("?status=erased")["items"]
    assert {item["status"] for item in every} == {"active", "erased"}


def test_clients_and_auditors_list_nobody(service):
    """Only an operator may: no client is registered with the scope."""
    with pytest.raises(BadInput):
        service.new_client(name="eager", scopes=("subjects:list",))
    assert "subjects:list" not in scopes_of([Role.AUDITOR])
    answer = service.call("GET", LIST)
    assert (answer.status_code, answer.json["scope"]) == (403, "subjects:list")
    assert service.call("GET", LIST, bearer="x").status_code == 401


@pytest.mark.parametrize(
    ("query", "status", "code", "pointer"),
    [
        ("segment=elsewhere", 403, "segment_not_allowed", None),
        ("status=decoy", 422, "literal_error", "/status"),
        ("status=active&status=erased", 422, "bad_query", "/status"),
        ("state=active", 422, "bad_query", ""),
        ("segment=", 422, "string_too_short", "/segment"),
        (f"segment={'x' * 300}", 422, "bad_query", "/segment"),
        ("limit=0", 422, "bad_limit", ""),
        ("limit=101", 422, "bad_limit", ""),
        ("cursor=x", 422, "bad_cursor", ""),
    ],
)
def test_a_list_that_is_not_narrowed_as_meant_is_refused(listing, query, status, code, pointer):
    """What is misspelt, doubled, unknown or not served is told, and never left out in silence."""
    refused = listing(f"?{query}", status)
    if pointer is None:
        assert refused["code"] == code
    else:
        assert [(each["code"], each["pointer"]) for each in refused["errors"]] == [(code, pointer)]


def test_the_parameters_are_described(service):
    """OpenAPI names each, with its form."""
    told = service.http.get("/openapi.json").json["paths"][LIST]["get"]["parameters"]
    assert [(item["name"], item["in"]) for item in told] == [
        ("status", "query"),
        ("segment", "query"),
        ("limit", "query"),
        ("cursor", "query"),
    ]
    assert told[0]["schema"]["enum"] == ["active", "erased"]


@pytest.mark.edits_rows
def test_a_row_that_was_edited_is_left_out_and_hides_nobody(service, listing):
    """The list goes on behind it, page by page."""
    made = []
    for number in range(3):
        service.clock.advance(seconds=1)
        made.append(service.register(f"p{number}").id)
    with service.container.store.engine.begin() as connection:
        table = table_of(Subject)
        edit = update(table).where(table.c.id == UUID(made[1])).values(created_at=EARLIER)
        assert connection.execute(edit).rowcount == 1
    found, cursor = [], ""
    while cursor is not None:
        page = listing(f"?limit=1{cursor and f'&cursor={cursor}'}")
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert [number for number in made if number in found] == [made[0], made[2]]
    assert found[-1] == made[2]


def test_the_list_is_read_by_its_index(service, listing):
    """A page of a long list reads no more rows than it shows."""
    engine, container = service.container.store.engine, service.container
    query = (
        "SELECT id FROM subject WHERE segment = 'default' AND status = 'active' AND id > {least} "
        "ORDER BY id LIMIT 51"
    )
    least = "'" + "0" * 32 + "'"
    with engine.connect() as connection:
        if container.settings.database_url.startswith("postgresql"):
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            connection.execute(text("SET LOCAL enable_bitmapscan = off"))
            plan = connection.execute(text(f"EXPLAIN {query.format(least=least)}")).scalars()
        else:
            asked = text(f"EXPLAIN QUERY PLAN {query.format(least=least)}")
            plan = [row[3] for row in connection.execute(asked)]
    told = "\n".join(plan)
    assert "ix_subject_listed" in told
    assert "Sort" not in told
    assert "TEMP B-TREE" not in told
