"""Twenty at once at the help desk: one recovery under way, one approval, one use of the code."""

from collections import Counter
from uuid import UUID

import pytest

from service.factors.help_desk.store import Recovery
from tests.functional.conftest import PASSWORD
from tests.functional.desk import RECOVER, Desk, desk_once, lost, past  # noqa: F401 - fixtures
from tests.races.test_once import AT_ONCE, poster, together
from tests.races.test_roles import as_operator


@pytest.fixture
def desk(service):
    """Somebody who has lost everything, and two operators."""
    return Desk(service, **service.left)


def outcomes(answers):
    """Return how often each status and code came."""
    return Counter((answer.status_code, answer.json.get("code", "")) for answer in answers)


def test_of_twenty_who_ask_one_is_heard(desk):
    """By two operators, for two acts: the others are told that one is under way."""
    asking = [
        as_operator(
            desk.service,
            desk.officers[number % 2],
            "/v1/approvals",
            {
                "act": RECOVER,
                "target": desk.person.id,
                "reason": "x",
                "params": {"act": ("enroll:password", "enroll:totp")[number % 3 == 0]},
            },
        )
        for number in range(AT_ONCE)
    ]
    found = outcomes(together(asking))
    assert found == {(201, ""): 1, (409, "recovery_pending"): AT_ONCE - 1}
    assert len(desk.told("subject.recovery_asked")) == 1


def test_of_twenty_approvals_one_begins_the_waiting(desk):
    """The person is told once."""
    path = f"/v1/approvals/{desk.ask().json['id']}/approve"
    approving = [as_operator(desk.service, desk.officers[1], path, {}) for _ in range(AT_ONCE)]
    found = outcomes(together(approving))
    assert found[200, ""] == 1, found
    assert len(desk.told("subject.recovery_approved")) == 1


def test_a_code_is_used_once(desk):
    """In twenty flows at once it completes one."""
    code = desk.sent()
    flows = [desk.begin() for _ in range(AT_ONCE)]
    using = [
        poster(
            desk.service,
            f"/v1/flows/{flow['id']}/actions/help_desk",
            {"code": code},
            Flow_Token=flow["flow_token"],
        )
        for flow in flows
    ]
    found = outcomes(together(using))
    assert found.pop((200, "")) == 1, found
    assert {status for status, _ in found} <= {422, 429}, found


def test_two_workers_send_one_code(desk):
    """The task of the leader, done by twenty at once."""
    desk.agreed()
    desk.service.clock.advance(hours=24)
    container = desk.service.container

    def send():
        container.store.unit(lambda tx: container.recoveries.send_due(tx, desk.service.clock.now()))

    together([send] * AT_ONCE)
    assert len(desk.told("subject.recovery_code")) == 1


@pytest.mark.parametrize("stopping", ["login", "reject", "suspend"])
def test_a_stop_and_a_use_have_an_order(desk, stopping):
    """Either the code was used before, or the recovery is stopped: never both."""
    number = desk.agreed()
    desk.wait(hours=24)
    service, code = desk.service, desk.code()
    flows = [desk.begin() for _ in range(AT_ONCE - 1)]
    using = [
        poster(
            service,
            f"/v1/flows/{flow['id']}/actions/help_desk",
            {"code": code},
            Flow_Token=flow["flow_token"],
        )
        for flow in flows
    ]
    if stopping == "login":
        flow = service.begin("alice").json
        service.act(flow, "password", {"password": PASSWORD})
        path, body = f"/v1/flows/{flow['id']}/actions/totp", {"code": service.code(desk.person)}
        stop = poster(service, path, body, Flow_Token=flow["flow_token"])
    elif stopping == "reject":
        path = f"/v1/approvals/{number}/reject"
        stop = as_operator(service, desk.officers[0], path, {})
    else:
        path = f"/v1/subjects/{desk.person.id}/suspensions"
        stop = poster(service, path, {"capability": "login", "reason": "x"})
    found = outcomes(together([*using, stop])[:-1])
    with service.container.store.transaction(read=True) as tx:
        (row,) = tx.query(Recovery).filter(Recovery.subject_id == UUID(desk.person.id))
        assert row.status == ("used" if found[200, ""] else "stopped"), found
    assert found[200, ""] <= 1
