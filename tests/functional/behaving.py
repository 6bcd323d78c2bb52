"""How a test types and signs in."""

from uuid import UUID

import pytest
from sqlalchemy import text

from service.store.base import table_of
from service.store.dropping import drop_all
from service.throttling.store.limits import Limit
from tests.functional.conftest import CONSENT, PASSWORD, Past
from tests.typists import wire

AGREED = [CONSENT | {"purpose": "behavior"}]
DESKTOP = {
    "ip": "192.0.2.7",
    "user_agent": "Mozilla/5.0 (Windows NT 10.0) Chrome/140.0",
    "accept_language": "de-DE",
}


def typed(service, row, *, name="alice", context=None, **more):
    """Begin a flow and type the password; return flow and answer."""
    flow = service.begin(name, **({"context": context} if context else {})).json
    capture = flow["actions"]["password"]["options"]["capture_id"]
    body = {"password": PASSWORD}
    if row is not None:
        body["behavior"] = wire(row, capture, **more)
    return flow, service.act(flow, "password", body)


def sign_in(service, person, row, **more):
    """Sign in at AAL2; return what was said after the password, and the completed flow."""
    flow, after = typed(service, row, name=person.name, **more)
    assert after.status_code == 200, after.json
    done = service.act(flow, "totp", {"code": service.code(person)}).json
    while done.get("status") == "pending":
        done = service.act(flow, "recovery_code", {"code": person.codes.pop()}).json
    assert done["status"] == "completed", done
    service.clock.advance(seconds=31)
    service.bearer = service.access()
    return after.json, done


def settle(service, person, rows, **more):
    """Teach a profile by logins."""
    for row in rows:
        sign_in(service, person, row, **more)


@pytest.fixture(scope="module")
def settled_once(migrated, contract, tmp_path_factory, people):
    """A file that knows somebody whose profile speaks, of the `people` of a module."""

    def happened(service):
        found = service.register(consents=AGREED)
        settle(service, found, people[0][:6])
        return {"person": found}

    return Past.take(migrated, tmp_path_factory.mktemp("settled"), happened, contract)


@pytest.fixture
def past(request, opened_once, settled_once):
    """Whoever asks for a `person` begins with that one."""
    return settled_once if "person" in request.fixturenames else opened_once


def about(answer, code):
    """Return the reason of a code, None where there is none."""
    reasons = answer["risk"]["reasons"]
    return next((item for item in reasons if item["code"] == code), None)


def said(answer):
    """Return the sum of what the signal says."""
    reasons = answer["risk"]["reasons"]
    return sum(item["contribution"] for item in reasons if item["signal"] == "behavior")


def learned(service, person):
    """Return how many samples the largest profile was made of."""
    with service.container.store.transaction() as tx:
        return service.container.behaviors.learned(tx, UUID(person.id))


def stored(service):
    """Return the profiles as they lie in the table."""
    with service.container.store.engine.connect() as connection:
        found = connection.execute(text("SELECT * FROM behavior_profile ORDER BY id"))
        return [tuple(row) for row in found]


def behave(service, person, method="POST", rest="", body=None, **headers):
    """Call the routes of behavior, with nothing counted of what there may be."""
    with service.container.store.transaction() as tx:
        drop_all(tx, table_of(Limit))
    return service.call(method, f"/v1/subjects/{person.id}/behavior{rest}", body, **headers)


def grant(service, person):
    """Return a grant for changing the profile."""
    tokens = service.exchange(service.login(person)["completion_code"]).json
    wanted = {"access_token": tokens["access_token"], "act": "change:behavior"}
    flow = service.begin(None, "enrollment", **wanted).json
    assert flow["status"] == "completed", flow
    service.clock.advance(seconds=31)
    service.bearer = service.access()
    return flow["grant"]
