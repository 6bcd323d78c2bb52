"""The first operators come by quorum; what a dismissed one asked for is not carried out."""

import json
import re
from operator import attrgetter
from uuid import UUID

import pytest
from click.testing import CliRunner
from sqlalchemy import delete, text

from service.audit.model import decided
from service.cli import main
from service.domain.errors import BadInput, Conflict, NotFound
from service.operators.model import Role
from service.operators.store import OperatorRole
from tests.functional.test_operators import approved, ask

BOOTSTRAP = "/v1/operators/bootstrap"


def do(service, name, *arguments, **named):
    """Call an action of the operators in a unit of work of its own."""
    with service.container.store.transaction() as tx:
        return attrgetter(name)(service.container.operators)(tx, *arguments, **named)


def sit(service, token, tokens):
    """Use a bootstrap token as a signed-in person."""
    return service.call("POST", BOOTSTRAP, {"token": token, "access_token": tokens["access_token"]})


def short(service):
    with service.container.store.transaction(read=True) as tx:
        return {row["scope"]: row["able"] for row in service.container.operators.roles.short(tx)}


def who(service, bearer):
    """Return the subject behind an operator's token."""
    asked = ask(service, bearer, "policy.activate", "x").json
    service.call("POST", f"/v1/approvals/{asked['id']}/reject", {}, bearer=bearer)
    return asked["requested_by"].removeprefix("operator:")


def audited(service, kind):
    with service.container.store.transaction(read=True) as tx:
        found = text("SELECT actor, data FROM audit_leaf WHERE kind = :kind ORDER BY id")
        rows = tx.execute(found, {"kind": kind}).all()
    return [
        (row.actor, decided(json.loads(row.data) if isinstance(row.data, str) else row.data))
        for row in rows
    ]


def outbox(service):
    with service.container.store.transaction(read=True) as tx:
        return [row["kind"] for row in service.container.outbox.waiting(tx)]


@pytest.mark.parametrize("seats", [2, 3])
def test_each_of_the_first_operators_has_a_link_of_their_own(service, seats):
    """Two or three people become officers and can agree at once; nobody takes two seats."""
    links = do(service, "break_glass.bootstrap", seats)
    assert len(set(links)) == seats
    people = [service.sign_up(name) for name in ("ada", "grace", "mary")[:seats]]
    bearers = []
    for number, (person, tokens) in enumerate(people):
        made = sit(service, links[number], tokens)
        assert made.json == {"subject": person.id, "roles": ["security_officer"]}
        bearers.append(service.operator_token(tokens))
        if number == 0:
            again = sit(service, links[1], tokens)
            assert (again.status_code, again.json["code"]) == (409, "already_operator")
            assert short(service)["operators:admin"] == 1
    assert short(service) == {}
    other = service.sign_up("late")[0]
    done = approved(service, bearers[:2], "operators.grant", other.id, role="auditor")
    assert (done.status_code, done.json["status"]) == (200, "used")


def test_bootstrap_is_open_once_and_for_a_day(service):
    """Used, late and closed links are refused; to begin again takes `--reopen` and is alarmed."""
    links = do(service, "break_glass.bootstrap", 3)
    for count in (0, 1, 4):
        with pytest.raises(BadInput):
            do(service, "break_glass.bootstrap", count)
    with pytest.raises(Conflict) as refused:
        do(service, "break_glass.bootstrap")
    assert refused.value.code == "bootstrap_opened"
    service.clock.advance(hours=24)
    with pytest.raises(Conflict):
        do(service, "break_glass.bootstrap")
    service.bearer = service.access()
    fresh = do(service, "break_glass.bootstrap", reopen=True)
    assert audited(service, "break_glass")[-1][1]["command"] == "operators bootstrap --reopen"
    again = do(service, "break_glass.bootstrap", reopen=True)
    people = [service.sign_up(name) for name in ("carol", "dave")]
    for old in (*links, *fresh):
        assert sit(service, old, people[0][1]).json["code"] == "bootstrap_refused"
    for token, (_, theirs) in zip(again, people, strict=True):
        assert sit(service, token, theirs).status_code == 200
    with pytest.raises(Conflict) as refused:
        do(service, "break_glass.bootstrap")
    assert refused.value.code == "operators_exist"
    assert outbox(service).count("alarm.break_glass") == 3


def test_who_was_dismissed_does_not_come_back_by_a_link(service):
    """Any change of roles but by a link closes what was left of bootstrap."""
    first, second = do(service, "break_glass.bootstrap")
    ada, tokens = service.sign_up("ada")
    assert sit(service, first, tokens).status_code == 200
    do(service, "roles.revoke", UUID(ada.id), "security_officer", "break_glass")
    assert sit(service, second, tokens).json["code"] == "bootstrap_refused"
    third, _ = do(service, "break_glass.bootstrap", reopen=True)
    grace, _ = service.sign_up("grace")
    do(service, "break_glass.grant", UUID(grace.id), Role.SECURITY_OFFICER)
    assert sit(service, third, tokens).json["code"] == "bootstrap_refused"


def test_a_grant_from_the_host_is_alarmed(service):
    """It names the host in the log, raises the alarm, and refuses nobody and twice the same."""
    ada, _ = service.sign_up("ada")
    do(service, "break_glass.grant", UUID(ada.id), Role.SECURITY_OFFICER)
    ((actor, data),) = audited(service, "operator.granted")
    assert (actor, data["role"]) == ("break_glass", "security_officer")
    assert audited(service, "break_glass")[0][1] == {"command": "operators grant"}
    assert "alarm.break_glass" in outbox(service)
    with pytest.raises(Conflict):
        do(service, "break_glass.grant", UUID(ada.id), Role.SECURITY_OFFICER)
    with pytest.raises(NotFound):
        do(service, "break_glass.grant", UUID(int=7), Role.SECURITY_OFFICER)
    assert short(service)["operators:admin"] == 1


def dismiss(service, subject, way):
    """Let a person lose what they may, one way or another."""
    number = UUID(subject)
    if way == "revoked":
        do(service, "roles.revoke", number, "security_officer", "break_glass")
    elif way == "less":
        do(service, "break_glass.grant", number, Role.AUDITOR)
        do(service, "roles.revoke", number, "security_officer", "break_glass")
    elif way == "erased":
        service.container.erasure.erase(number, "test")
    else:
        path = f"/v1/subjects/{subject}/suspensions"
        body = {"capability": "login", "reason": "left"}
        assert service.call("POST", path, body).status_code == 201


WAYS = ["revoked", "less", "suspended", "erased"]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_dismissed_operator_asked_for_is_void(service, officers, way):
    """Pending and approved requests end at once, for good, and are named in the log."""
    ada, grace = officers
    do(service, "break_glass.grant", UUID(service.sign_up("mary")[0].id), Role.SECURITY_OFFICER)
    subject = who(service, ada)
    waits = ask(service, ada, "operators.grant", subject, role="operator").json["id"]
    given = approved(service, officers, "keys.destroy", "kek behavior 9").json
    assert given["status"] == "approved"
    dismiss(service, subject, way)
    for number in (waits, given["id"]):
        shown = service.call("GET", f"/v1/approvals/{number}", bearer=grace).json
        assert shown["status"] == "void"
        late = service.call("POST", f"/v1/approvals/{number}/approve", {}, bearer=grace)
        assert (late.status_code, late.json["code"]) == (409, "approval_void")
    body = {"class": "behavior", "version": 9, "approval": given["id"]}
    used = service.call("POST", "/v1/keys/destroy", body, bearer=grace)
    assert (used.status_code, used.json["code"]) == (409, "approval_void")
    assert {data["approval"] for _, data in audited(service, "approval.void")} >= {
        waits,
        given["id"],
    }
    if way == "suspended":
        path = f"/v1/subjects/{subject}/suspensions/login"
        assert service.call("DELETE", path).status_code == 204
        again = service.call("POST", "/v1/keys/destroy", body, bearer=grace)
        assert again.json["code"] == "approval_void"


@pytest.mark.parametrize("way", WAYS)
def test_what_a_dismissed_operator_approved_is_void(service, officers, way):
    """An approval needs both to stand for it until it is used; what still waits is open."""
    ada, grace = officers
    subject = who(service, grace)
    given = approved(service, officers, "keys.destroy", "kek behavior 9").json["id"]
    waits = ask(service, ada, "keys.destroy", "kek behavior 8").json["id"]
    dismiss(service, subject, way)
    body = {"class": "behavior", "version": 9, "approval": given}
    used = service.call("POST", "/v1/keys/destroy", body, bearer=ada)
    assert (used.status_code, used.json["code"]) == (409, "approval_void")
    assert service.call("GET", f"/v1/approvals/{waits}", bearer=ada).json["status"] == "pending"


@pytest.mark.edits_rows
def test_it_is_asked_again_when_it_is_approved_and_when_it_is_used(service, officers):
    """Where a role went without a word, by SQL, the request is refused all the same."""
    ada, grace = officers
    subject = who(service, ada)
    waits = ask(service, ada, "keys.destroy", "kek behavior 8").json["id"]
    given = approved(service, officers, "keys.destroy", "kek behavior 9").json["id"]
    with service.container.store.transaction() as tx:
        tx.execute(delete(OperatorRole).where(OperatorRole.subject_id == UUID(subject)))
    late = service.call("POST", f"/v1/approvals/{waits}/approve", {}, bearer=grace)
    assert (late.status_code, late.json["code"]) == (409, "approval_void")
    body = {"class": "behavior", "version": 9, "approval": given}
    used = service.call("POST", "/v1/keys/destroy", body, bearer=grace)
    assert (used.status_code, used.json["code"]) == (409, "approval_void")


def test_who_keeps_the_scope_keeps_the_requests(service, officers):
    """Of two roles one goes: what needs only the other stays open."""
    ada, grace = officers
    subject = who(service, ada)
    do(service, "break_glass.grant", UUID(subject), Role.OPERATOR)
    keys = ask(service, ada, "keys.destroy", "kek behavior 8").json["id"]
    roles = ask(service, ada, "operators.grant", subject, role="auditor").json["id"]
    do(service, "roles.revoke", UUID(subject), "security_officer", "break_glass")
    states = [
        service.call("GET", f"/v1/approvals/{number}", bearer=grace).json["status"]
        for number in (keys, roles)
    ]
    assert states == ["pending", "void"]


@pytest.mark.parametrize("way", WAYS)
def test_a_job_that_a_dismissed_operator_queued_does_not_begin(service, officers, way):
    """It ends as `void` with the reason; what others queued is done."""
    ada, grace = officers
    subject = who(service, ada)
    theirs = service.call("POST", "/v1/keys/verify", {}, bearer=ada).json["id"]
    mine = service.call("POST", "/v1/keys/rewrap", {"tier": "kek"}, bearer=grace).json["id"]
    dismiss(service, subject, way)
    service.container.key_admin.jobs.run_queued()
    ended = service.call("GET", f"/v1/jobs/{theirs}", bearer=grace).json
    assert (ended["status"], ended["report"]["error"], ended["started_at"]) == (
        "void",
        "job_void",
        None,
    )
    assert service.call("GET", f"/v1/jobs/{mine}", bearer=grace).json["status"] == "done"
    assert service.container.key_admin.jobs.run(UUID(theirs))["status"] == "void"


@pytest.mark.edits_rows
def test_a_job_is_asked_again_when_it_begins(service, officers):
    """Of a role that went without a word, or a client that was revoked, no job begins."""
    ada, _ = officers
    subject = who(service, ada)
    queued = service.call("POST", "/v1/keys/verify", {}, bearer=ada).json["id"]
    jobs = service.container.key_admin.jobs
    client = UUID(service.new_client()[0])
    with service.container.store.transaction() as tx:
        other = jobs.plan(tx, "verify", {}, str(client))
        host = jobs.plan(tx, "verify", {}, "break_glass")
        service.container.clients.revoke(tx, client)
        tx.execute(delete(OperatorRole).where(OperatorRole.subject_id == UUID(subject)))
    jobs.run_queued()
    with service.container.store.transaction(read=True) as tx:
        states = [jobs.view(tx, number)["status"] for number in (UUID(queued), other, host)]
    assert states == ["void", "void", "done"]


def test_too_few_are_told_and_alarmed(service, officers):
    """Where fewer than two can agree, the list says so over HTTP and the outbox has an alarm."""
    ada, grace = officers
    assert service.call("GET", "/v1/operators", bearer=ada).json["short"] == []
    do(service, "roles.revoke", UUID(who(service, grace)), "security_officer", "break_glass")
    told = service.call("GET", "/v1/operators", bearer=ada).json["short"]
    assert {"scope": "operators:admin", "able": 1} in told
    assert "alarm.operators_short" in outbox(service)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_the_commands_make_grant_list_and_revoke(service, settings):
    """Tokens as JSON and as lines; what too few can agree on goes to stderr; exit 2 on refusals."""
    environment = {
        "LAMINA_MODE": "development",
        "LAMINA_DATABASE_URL": settings.database_url,
        "LAMINA_ROOT_KEY": settings.root_key,
        "LAMINA_FACE_ENGINE": "off",
    }

    def lamina(*arguments):
        return CliRunner().invoke(main, ["operators", *arguments], env=environment)

    made = json.loads(lamina("bootstrap", "--operators", "3", "--json").stdout)
    assert len({row["token"] for row in made["operators"]}) == 3
    assert made["post"] == "http://localhost:8000/v1/operators/bootstrap"
    assert lamina("bootstrap").exit_code == 2
    assert lamina("bootstrap", "--operators", "1").exit_code == 2
    told = lamina("bootstrap", "--reopen").stdout
    assert len(re.findall(r"^lboot_[\w-]", told, re.MULTILINE)) == 2
    assert 'POST http://localhost:8000/v1/operators/bootstrap {"token": ' in told
    person, _ = service.sign_up("ada")
    assert lamina("grant", "ada", "king").exit_code == 2
    assert lamina("grant", "nobody", "auditor").exit_code == 2
    assert json.loads(lamina("grant", "ada", "security_officer", "--json").stdout) == {
        "subject": person.id,
        "granted": "security_officer",
    }
    assert lamina("grant", person.id, "auditor").stdout == "auditor granted\n"
    listed = lamina("list", "--json")
    assert {row["role"] for row in json.loads(listed.stdout)} == {"security_officer", "auditor"}
    assert "lamina: 1 of 2 needed operators have operators:admin" in listed.stderr
    assert lamina("revoke", person.id, "--role", "auditor").stdout == "auditor revoked\n"
    assert lamina("revoke", person.id).stdout == "security_officer revoked\n"
    assert lamina("revoke", person.id).exit_code == 2
