"""A person who has lost everything is let back in by two operators, and by nobody else."""

from uuid import UUID

import pytest
from sqlalchemy import select, update

from service.accounts.store.subjects import Subject
from service.audit.store import Leaf
from service.factors.help_desk.store import Recovery
from service.store.base import table_of
from tests.functional.conftest import PASSWORD
from tests.functional.desk import NEW_PASSWORD, Desk, desk_once, lost, past  # noqa: F401 - fixtures
from tests.functional.test_quorum import audited


@pytest.fixture
def desk(service):
    """Somebody who has lost everything, and two operators."""
    return Desk(service, **service.left)


def leaves(desk, kind):
    """Return who acted, and for which operators, as the log keeps it."""
    with desk.service.container.store.transaction(read=True) as tx:
        rows = tx.scalars(select(Leaf).where(Leaf.kind == kind).order_by(Leaf.id)).all()
        return [(row.actor, row.data.get("operators")) for row in rows]


def enrolled(desk):
    """Return the active authenticators, by type and id."""
    container = desk.service.container
    with container.store.transaction(read=True) as tx:
        active = container.authenticators.active(tx, UUID(desk.person.id))
    return {str(number): kind for number, kind in active.items()}


def sessions(desk):
    path = f"/v1/subjects/{desk.person.id}/sessions"
    return desk.service.call("GET", path).json["items"]


def test_two_operators_let_a_person_back_in(desk):
    """Asked, approved, waited for, sent to the address, used: one new password and no more."""
    service = desk.service
    asked = desk.ask()
    assert (asked.status_code, asked.json["params"]) == (201, {"act": "enroll:password"})
    approved = desk.decide(asked.json["id"]).json
    assert approved["status"] == "used"
    assert approved["recovery"] == {"act": "enroll:password", "code_at": "2026-11-28T12:00:36Z"}
    (said,) = desk.told("subject.recovery_asked")
    assert said["to"] == "alice@example.com"
    assert desk.told("subject.recovery_approved")[0]["when"] == "2026-11-28T12:00:36Z"
    desk.wait(hours=23, minutes=59)
    assert desk.told("subject.recovery_code") == []
    desk.wait(minutes=1)
    (message,) = desk.told("subject.recovery_code")
    assert message["to"] == "alice@example.com"
    done = desk.use(message["code"].lower().replace("-", " "))
    assert (done.status_code, done.json["status"]) == (200, "completed")
    assert "completion_code" not in done.json
    achieved = done.json["assurance"]["achieved"]
    assert (achieved["acr"], achieved["aal"], achieved["amr"]) == (None, 0, [])
    given = service.enroll(desk.person, "password", password=NEW_PASSWORD, grant=done.json["grant"])
    assert given.status_code == 201, given.json
    flow = service.begin("alice").json
    assert service.act(flow, "password", {"password": PASSWORD}).status_code == 422
    first = service.act(flow, "password", {"password": NEW_PASSWORD})
    assert first.json["status"] == "pending"
    last = service.act(flow, "totp", {"code": service.code(desk.person)})
    assert last.json["status"] == "completed"


def test_every_step_names_both_operators(desk):
    """In the log, beside who did it; the person hears of the last step too."""
    service, both = desk.service, "+".join(desk.names)
    assert desk.use(desk.sent()).json["status"] == "completed"
    assert leaves(desk, "subject.recovery_asked") == [(desk.names[0], desk.names[0])]
    assert leaves(desk, "subject.recovery_approved") == [(both, both)]
    assert leaves(desk, "subject.recovery_sent") == [(both, both)]
    assert leaves(desk, "subject.recovered") == [(service.client_id, both)]
    assert len(desk.told("subject.recovered")) == 1


@pytest.mark.parametrize("act", ["enroll:password", "enroll:totp", "enroll:recovery_codes"])
def test_the_grant_is_for_the_one_act_that_was_agreed_on(desk, act):
    """Neither another enrollment nor anything else; nothing else is dropped."""
    service, before = desk.service, enrolled(desk)
    done = desk.use(desk.sent(act)).json
    assert enrolled(desk) == before
    wanted = act.removeprefix("enroll:")
    bodies = {
        "password": {"password": NEW_PASSWORD},
        "totp": {},
        "recovery_codes": {},
        "face": {},
    }
    for kind in bodies.keys() - {wanted, "face"}:
        refused = service.enroll(desk.person, kind, grant=done["grant"], **bodies[kind])
        assert (refused.status_code, refused.json["code"]) == (403, "grant_invalid"), kind
    path = f"/v1/subjects/{desk.person.id}"
    body = {"identifiers": {"email": "mallory@example.com"}}
    assert service.call("PATCH", path, body, Grant=done["grant"]).status_code == 403
    for number in before:
        gone = f"{path}/authenticators/{number}"
        assert service.call("DELETE", gone, Grant=done["grant"]).status_code == 403
    given = service.enroll(desk.person, wanted, grant=done["grant"], **bodies[wanted])
    assert given.status_code == 201, given.json
    kept = {number for number, kind in before.items() if kind != wanted or kind == "totp"}
    assert kept <= set(enrolled(desk))


def test_a_code_that_nobody_sees_but_the_person(desk):
    """No answer to an operator, no line of the log and no event holds the code."""
    asked = desk.ask()
    approved = desk.decide(asked.json["id"])
    desk.wait(hours=24)
    code = desk.code()
    container = desk.service.container
    with container.store.transaction(read=True) as tx:
        shown = container.outbox.waiting(tx, 1000)
    told = [asked.text, approved.text, repr(shown)]
    told += [desk.service.call("GET", "/v1/approvals", bearer=one).text for one in desk.officers]
    told += [
        repr(audited(desk.service, kind))
        for kind in ("subject.recovery_sent", "subject.recovery_approved", "approval.used")
    ]
    assert not any(code in text or code.replace("-", "") in text for text in told)


def test_access_ends_when_the_recovery_completes(desk):
    """Sessions, refresh tokens, remembered devices and what waits for confirmation."""
    service = desk.service
    login = service.login(desk.person)
    tokens = service.exchange(login["completion_code"]).json
    assert len(sessions(desk)) == 1
    desk.service.clock.advance(seconds=31)
    code = desk.sent()
    done = desk.use(code).json
    assert done["status"] == "completed"
    assert sessions(desk) == []
    refused = service.oauth(
        "token", grant_type="refresh_token", refresh_token=tokens["refresh_token"]
    )
    assert refused.status_code == 400
    with service.container.store.transaction(read=True) as tx:
        subject = UUID(desk.person.id)
        assert service.container.devices.recognize(tx, login["device_token"], subject) is None


def test_a_code_counts_once_and_for_a_day(desk):
    """Neither twice, nor late, nor after another was sent."""
    code = desk.sent()
    assert desk.use(code).status_code == 200
    assert desk.use(code).status_code == 422
    late = desk.sent()
    assert late != code
    desk.wait(hours=24)
    assert desk.use(late).status_code == 422
    assert desk.use(desk.sent()).status_code == 200


def test_wrong_codes_are_counted_in_the_persons_own_bucket(desk):
    """Five are free; then the right one must wait too, and no other kind is counted."""
    code = desk.sent()
    wrong = "0000-0000-0000-0000"
    assert [desk.use(wrong).status_code for _ in range(5)] == [422] * 5
    assert desk.use(code).status_code == 429
    malformed = desk.use("0000")
    assert (malformed.status_code, malformed.json["code"]) == (422, "invalid_input")
    desk.wait(seconds=31)
    assert desk.use(code).status_code == 200


def test_an_unknown_person_is_offered_and_answered_the_same(desk):
    """Before a factor has verified nothing tells of the person: with a code, without, unknown."""
    lost(desk.service, "bob")
    desk.sent()
    flows = [desk.begin(name) for name in ("alice", "bob", "nobody")]
    assert {tuple(flow["actions"]) for flow in flows} == {("recovery_code", "help_desk")}
    answers = [
        desk.service.act(flow, "help_desk", {"code": "0000-0000-0000-0000"}) for flow in flows
    ]
    told = []
    for answer in answers:
        body = answer.json
        flow = body.pop("flow")
        body.pop("trace_id"), body.pop("instance")
        told.append((answer.status_code, body, flow["attempts_left"], list(flow["actions"])))
    assert told[0] == told[1] == told[2]
    assert told[0][0] == 422


def test_a_login_is_not_offered_the_help_desk(desk):
    """Nor a step-up or an enrollment; and the action is not legal there."""
    flow = desk.service.begin("alice").json
    assert "help_desk" not in flow["actions"]
    code = desk.sent()
    flow = desk.service.begin("alice").json
    refused = desk.service.act(flow, "help_desk", {"code": code})
    assert (refused.status_code, refused.json["code"]) == (409, "action_not_available")


def test_whoever_signs_in_meanwhile_stops_it(desk):
    """Asked for, waiting or sent: a completed login ends it, and says so."""
    service = desk.service

    def signs_in():
        service.clock.advance(seconds=31)
        assert service.login(desk.person)["status"] == "completed"

    asked = desk.ask().json
    signs_in()
    late = desk.decide(asked["id"])
    assert (late.status_code, late.json["code"]) == (409, "recovery_stopped")
    desk.agreed()
    signs_in()
    desk.wait(hours=24)
    assert desk.told("subject.recovery_code") == []
    code = desk.sent()
    signs_in()
    assert desk.use(code).status_code == 422
    ended = [data["reason"] for _, data in audited(service, "subject.recovery_ended")]
    assert ended == ["signed_in"] * 3
    assert len(desk.told("subject.recovery_stopped")) == 3


@pytest.mark.edits_rows
def test_a_row_that_is_refused_stops_no_recovery_of_another(desk):
    """The code of the other goes out, and its recovery ends; the edited one stays as it is."""
    other = lost(desk.service, "zoe")
    desk.wait(hours=73)
    for target in (desk.person.id, other.id):
        asked = desk.ask(target=target)
        assert desk.decide(asked.json["id"]).status_code == 200
    container = desk.service.container
    with container.store.engine.begin() as connection:
        rows = table_of(Subject)
        edited = update(rows).where(rows.c.id == UUID(desk.person.id)).values(segment="elsewhere")
        assert connection.execute(edited).rowcount == 1
    desk.wait(hours=24)
    assert [row["to"] for row in desk.told("subject.recovery_code")] == ["zoe@example.com"]
    desk.wait(hours=24)
    with container.store.transaction(read=True) as tx:
        states = dict(tx.execute(select(Recovery.subject_id, Recovery.status)).all())
    assert states == {UUID(desk.person.id): "waiting", UUID(other.id): "over"}


@pytest.mark.parametrize("spelling", ["urn:uuid:{}", "{{{}}}", "upper", "hex"])
def test_an_act_stands_under_the_persons_id_however_it_was_spelled(desk, spelling):
    """The person's export finds it there, and so do the approvals of others."""
    number = desk.person.id
    shapes = {"upper": number.upper(), "hex": UUID(number).hex}
    asked = desk.ask(target=shapes.get(spelling, spelling.format(number)))
    assert (asked.status_code, asked.json["target"]) == (201, number)
    assert desk.decide(asked.json["id"]).status_code == 200
