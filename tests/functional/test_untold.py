"""Two worlds that differ in an element of which nothing is told yet are one to whoever reads."""

import json
import os
import re
from random import Random

import pytest
from sqlalchemy import inspect, text

from tests.depth import depth
from tests.functional.behaving import AGREED, settle
from tests.functional.conftest import PASSWORD
from tests.functional.policing import Feeling, changed, feel, in_force
from tests.typists import typists, wire

WRONG = "not the right pass phrase"
ROUNDS = int(os.environ.get("LAMINA_TEST_ORACLES", depth(8, least=4)))
# What a reader of the database cannot open, and what differs between any two requests.
_NOISE = re.compile(r'"(id|trace_id|instance|flow_token|href|capture_id|expires_at|t)": "[^"]*"')


@pytest.fixture
def deferred(service):
    """The service under PSD2, where the second step of a round tells."""
    in_force(service, changed(regime="psd2", cooldown_hours=0))
    return service


def plain(answer):
    """Return status and body without what differs between any two requests."""
    body = json.dumps(answer.json, sort_keys=True) if answer.is_json else answer.text
    return answer.status_code, _NOISE.sub(r'"\1": ""', body)


def tables(service):
    """Return every plain column of every table, but those of keys, requests and sealed cells."""
    found, engine = {}, service.container.store.engine
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            rows = connection.execute(_all_of(table)).mappings()
            found[table] = sorted(
                json.dumps({name: str(value) for name, value in row.items() if _told(name, value)})
                for row in rows
            )
    return found


def _all_of(table):
    return text(f'SELECT * FROM "{table}"')  # noqa: S608 - names of our own tables


def _told(name, value):
    """Leave out ids of new rows, sealed bytes, MACs and times of the request itself."""
    hidden = {"id", "leaf_id", "position", "head", "data", "mac", "number", "start", "signature"}
    return name not in hidden and not isinstance(value, bytes | memoryview)


def metrics(service):
    """Return the counters, without those that a scrape itself moves."""
    lines = service.measured().splitlines()
    ours = [line for line in lines if line.startswith("lamina_") and "_created" not in line]
    return [line for line in ours if "http_request_seconds" not in line and "/metrics" not in line]


def readable(service, person, flow):
    """Return all that a client, an operator's log or a reader of the tables could compare."""
    paths = ("", "/authenticators", "/sessions", "/suspensions", "/consents")
    seen = [plain(service.call("GET", f"/v1/subjects/{person.id}{path}")) for path in paths]
    held = service.call("GET", f"/v1/flows/{flow['id']}", Flow_Token=flow["flow_token"])
    with service.container.store.engine.connect() as connection:
        leaves = connection.execute(text("SELECT kind, data FROM audit_leaf")).all()
    # Those of one moment have no order.
    log = sorted((row.kind, _NOISE.sub("", _bare(row.data))) for row in leaves)
    return {
        "answers": seen,
        "flow": plain(held),
        "metrics": metrics(service),
        "log": log,
        "tables": tables(service),
    }


def _bare(data):
    """Return the data of a leaf without ids and hashes, which differ for any two flows."""
    value = data if isinstance(data, dict) else json.loads(data)
    hidden = {"flow", "transcript", "rows_mac"}
    told = {name: item for name, item in value.items() if name not in hidden}
    # Of the rows that changed, the table: the rest is keys and MACs, new for any two flows.
    return json.dumps(told | {"rows": sorted(row[0] for row in value.get("rows", ()))})


def world(service, person, kind, right, sample):
    """Begin a flow and try its first element; return the answer and all that can be read."""
    if kind == "login":
        begun = service.begin(person.name)
    else:
        more = {"act": "enroll:password"} if kind == "enrollment" else {}
        token = person.tokens["access_token"]
        begun = service.begin(None, kind, access_token=token, max_age=0, **more)
    assert begun.status_code == 201, begun.json
    flow = begun.json
    body = {"password": PASSWORD if right else WRONG}
    if sample is not None:
        body |= {"behavior": wire(sample, flow["actions"]["password"]["options"]["capture_id"])}
    return flow, service.act(flow, "password", body)


def compared(service, person, kind, sample, order):
    """Return what both worlds show, each from the same state."""
    shown = {}
    for right in order:
        kept = snapshot(service)
        flow, answer = world(service, person, kind, right, sample)
        shown[right] = {"answer": plain(answer), **readable(service, person, flow)}
        restore(service, kept)
    return shown


def snapshot(service):
    """Keep the rows of every table, and the counters of metrics."""
    engine = service.container.store.engine
    with engine.connect() as connection:
        names = inspect(engine).get_table_names()
        rows = {name: connection.execute(_all_of(name)).mappings().all() for name in names}
    return rows, metrics_state(service)


def metrics_state(service):
    """Return the values of every counter by reference, to be set back."""
    return {
        child: child._value.get()
        for family in (
            service.container.metrics.factors,
            service.container.metrics.flows,
            service.container.metrics.requests,
        )
        for child in family._metrics.values()
    }


def restore(service, kept):
    """Set every table and counter back to what was kept."""
    from service.store.base import Base

    rows, counters = kept
    engine = service.container.store.engine
    with engine.begin() as connection:
        ordered = [table for table in Base.metadata.sorted_tables if table.name in rows]
        for table in reversed(ordered):
            connection.execute(table.delete())
        for table in ordered:
            for row in rows[table.name]:
                named = ", ".join(f'"{name}"' for name in row)
                values = ", ".join(f":{name}" for name in row)
                statement = text(f'INSERT INTO "{table.name}" ({named}) VALUES ({values})')  # noqa: S608 - names of our own tables
                connection.execute(statement, {name: _raw(value) for name, value in row.items()})
    for family in (
        service.container.metrics.factors,
        service.container.metrics.flows,
        service.container.metrics.requests,
    ):
        # What is new counts from 0 again; it stays, as the service keeps hold of it.
        for child in family._metrics.values():
            child._value.set(counters.get(child, 0.0))


def _raw(value):
    return json.dumps(value) if isinstance(value, dict | list) else value


@pytest.mark.parametrize("kind", ["login", "step_up", "enrollment"])
def test_nothing_tells_a_right_element_from_a_wrong_one(deferred, kind):
    """Answers, flows, time stamps, metrics, log and tables are the same until the round ends."""
    if deferred.container.store.engine.dialect.name != "sqlite":
        pytest.skip("the two worlds are made by setting one file's tables back")
    person = deferred.register(consents=AGREED)
    people = typists(2)
    settle(deferred, person, people[0][:12])
    deferred.clock.advance(seconds=60)
    deferred.bearer = deferred.access()
    person.tokens = deferred.exchange(done(deferred, person)["completion_code"]).json
    deferred.clock.advance(seconds=60)
    deferred.bearer = deferred.access()
    random = Random(5)
    for number in range(ROUNDS):
        sample = [None, people[0][40 + number % 40], people[1][number % 40]][number % 3]
        feel_at = (-5.0, 0.0)[number % 2]
        if number % 4 == 3:
            feel(deferred, Feeling(feel_at))
        order = random.sample([True, False], 2)
        shown = compared(deferred, person, kind, sample, order)
        assert shown[True] == shown[False], number


def done(service, person):
    """Sign in under deferred disclosure."""
    flow = service.begin(person.name).json
    service.act(flow, "password", {"password": PASSWORD})
    answer = service.act(flow, "totp", {"code": service.code(person)})
    assert answer.status_code == 200, answer.json
    return answer.json


def test_a_right_code_beside_a_wrong_password_is_not_used_up(deferred):
    """It was told of nothing, so it is good in the next round; and once it was told, used."""
    person = deferred.register()
    flow, code = deferred.begin().json, deferred.code(person)
    deferred.act(flow, "password", {"password": WRONG})
    assert deferred.act(flow, "totp", {"code": code}).status_code == 422
    deferred.act(flow, "password", {"password": PASSWORD})
    assert deferred.act(flow, "totp", {"code": code}).json["status"] == "completed"
    again = deferred.begin().json
    deferred.act(again, "password", {"password": PASSWORD})
    assert deferred.act(again, "totp", {"code": code}).status_code == 422
    recovery = deferred.begin().json
    deferred.act(recovery, "password", {"password": WRONG})
    deferred.act(recovery, "recovery_code", {"code": person.codes[0]})
    deferred.act(recovery, "password", {"password": PASSWORD})
    ended = deferred.act(recovery, "recovery_code", {"code": person.codes[0]}).json
    assert ended["assurance"]["achieved"]["aal"] == 2, ended


def test_of_two_rounds_with_one_code_one_completes(deferred):
    """Both tried it before either told; it is used up by the first verdict alone."""
    person = deferred.register()
    flows, code = [deferred.begin().json for _ in range(2)], deferred.code(person)
    for flow in flows:
        deferred.act(flow, "password", {"password": PASSWORD})
    answers = [deferred.act(flow, "totp", {"code": code}) for flow in flows]
    assert sorted(answer.status_code for answer in answers) == [200, 422]


def test_the_round_is_in_the_log_and_the_metrics_when_it_is_told(deferred):
    """Which elements failed is for the log alone, and only then."""
    person = deferred.register()
    flow = deferred.begin().json
    deferred.act(flow, "password", {"password": WRONG})
    deferred.act(flow, "totp", {"code": deferred.code(person)})
    deferred.clock.advance(seconds=31)
    deferred.bearer = deferred.access()
    done(deferred, person)
    from service.audit.store import Leaf

    with deferred.container.store.transaction(read=True) as tx:
        leaves = tx.query(Leaf).filter(Leaf.kind.like("round.%")).order_by(Leaf.id).all()
        found = [(leaf.kind, leaf.data["factors"], leaf.data["failed"]) for leaf in leaves]
    assert found == [
        ("round.failed", ["password", "totp"], ["password"]),
        ("round.verified", ["password", "totp"], []),
    ]
    lines = metrics(deferred)
    assert 'lamina_factor_attempts_total{factor="round",outcome="failed"} 1.0' in lines
    assert 'lamina_factor_attempts_total{factor="round",outcome="verified"} 1.0' in lines
    assert not [line for line in lines if 'factor="password",outcome="verified"' in line]
