"""An approval covers exactly what was agreed on, for the two who agreed on it."""

from collections import Counter
from uuid import UUID

import pytest

from service.operators.model import Role
from tests.functional.policing import changed
from tests.functional.test_operators import approved, ask
from tests.functional.test_quorum import audited, who
from tests.races.test_once import together

RISK = "/v1/risk-parameters"


@pytest.fixture
def third(service):
    """A third security officer, by their token."""
    person, tokens = service.sign_up("carl")
    with service.container.store.transaction() as tx:
        service.container.operators.break_glass.grant(tx, UUID(person.id), Role.SECURITY_OFFICER)
    return service.operator_token(tokens)


def roles(service, subject):
    with service.container.store.transaction(read=True) as tx:
        return service.container.operators.roles.scopes(tx, UUID(subject))


def test_parameters_do_not_name_another_act(service, officers):
    """Neither new parameters nor stored ones turn a dismissal into a grant."""
    ada, grace = officers
    person = service.sign_up("mallory")[0]
    words = {"role": "security_officer", "act": "operators.grant"}
    refused = service.call(
        "POST",
        "/v1/approvals",
        {"act": "operators.revoke", "target": person.id, "params": words, "reason": "x"},
        bearer=ada,
    )
    assert refused.status_code == 422
    (fault,) = refused.json["errors"]
    assert (fault["pointer"], fault["code"]) == ("/params", "unknown_param")
    assert fault["detail"].endswith("known: role")
    asked = ask(service, ada, "operators.revoke", person.id, role="security_officer").json
    with service.container.store.transaction() as tx:
        from service.operators.store import Approval

        tx.get(Approval, UUID(asked["id"])).params = words
    done = service.call("POST", f"/v1/approvals/{asked['id']}/approve", {}, bearer=grace)
    assert done.status_code >= 400
    assert not roles(service, person.id)


@pytest.mark.parametrize(
    ("act", "known"),
    [
        ("operators.grant", "role"),
        ("operators.revoke", "role"),
        ("clients.scopes", "scopes"),
        ("clients.secret", "overlap"),
        ("clients.jwks", "overlap"),
        ("keys.destroy", "grace_days"),
        ("keys.export", "days"),
        ("policy.activate", "none"),
        ("subjects.export", "none"),
        ("subject.recover", "act"),
    ],
)
def test_each_act_knows_its_parameters(service, officers, act, known):
    """Others are refused, with those that there are, and are not repeated."""
    refused = ask(service, officers[0], act, "x", canary_42="x")
    assert refused.json["errors"][0]["pointer"] == "/params", refused.json
    assert refused.json["errors"][0]["detail"].endswith(f"known: {known}")
    assert "canary_42" not in refused.text


def test_a_third_operator_uses_no_approval_of_two(service, officers, third):
    """Who asked and who approved may; the log names which of them did."""
    ada, grace = officers
    client = service.new_client()[0]
    path = f"/v1/clients/{client}/secret"
    for user in (ada, grace):
        number = approved(service, officers, "clients.secret", client).json["id"]
        refused = service.call("POST", path, {"approval": number}, bearer=third)
        assert (refused.status_code, refused.json["code"]) == (403, "approval_of_others")
        used = service.call("POST", path, {"approval": number}, bearer=user)
        assert used.status_code == 200, used.json
        found = [
            actor for actor, told in audited(service, "approval.used") if told["approval"] == number
        ]
        assert found == [f"operator:{who(service, user)}"]


def test_a_third_operator_gets_no_export_of_two(service, officers, third):
    """Who is not among the two is refused, and the approval is still good."""
    person = service.register("victoria")
    number = approved(service, officers, "subjects.export", person.id).json["id"]
    path = f"/v1/subjects/{person.id}/export"
    refused = service.call("POST", path, bearer=third, Approval=number)
    assert (refused.status_code, refused.json["code"]) == (403, "approval_of_others")
    assert service.call("POST", path, bearer=officers[1], Approval=number).status_code == 202


def test_a_looser_parameter_is_exactly_the_approved_one(service, officers):
    """Neither finer, nor faster, nor longer than two agreed on."""
    ada, _ = officers
    body = {"tighten": -0.5, "ramp": 60, "expires_in": 3600}
    needed = service.call("PATCH", RISK, body, bearer=ada).json
    assert needed["params"] == {"ramp": "60", "expires_in": "3600"}
    number = approved(service, officers, needed["act"], needed["target"], **needed["params"]).json[
        "id"
    ]
    for other, code in (
        ({"tighten": -0.5049}, "invalid_input"),
        ({"tighten": -0.51}, "approval_mismatch"),
        ({"ramp": 1}, "approval_mismatch"),
        ({"expires_in": 2_592_000}, "approval_mismatch"),
    ):
        answer = service.call("PATCH", RISK, body | {"approval": number} | other, bearer=ada)
        assert (answer.status_code, answer.json["code"]) in {(422, code), (403, code)}, other
    done = service.call("PATCH", RISK, body | {"approval": number}, bearer=ada)
    assert (done.status_code, done.json["tighten"]["target"]) == (200, -0.5)


def test_a_secret_overlaps_as_long_as_was_approved(service, officers):
    """What is not said is none at all; numbers are read alike, and must be such."""
    ada, _ = officers
    client = service.new_client()[0]
    path = f"/v1/clients/{client}/secret"
    plain = approved(service, officers, "clients.secret", client).json
    assert plain["params"] == {"overlap": "0"}
    month = {"approval": plain["id"], "overlap": 30 * 86400}
    refused = service.call("POST", path, month, bearer=ada)
    assert (refused.status_code, refused.json["code"]) == (403, "approval_mismatch")
    agreed = approved(service, officers, "clients.secret", client, overlap="060").json
    assert agreed["params"] == {"overlap": "60"}
    done = service.call("POST", path, {"approval": agreed["id"], "overlap": 60}, bearer=ada)
    assert done.json["old_secret_until"]
    for bad in ("", "-1", "1.5", "\u0663", "9" * 11):
        answer = ask(service, ada, "clients.secret", client, overlap=bad)
        assert answer.json["errors"][0]["pointer"] == "/params/overlap"


def at_once(service, bearer, method, path, bodies):
    """Send every body at the same moment; return how often each status came."""
    headers = {"Authorization": f"Bearer {bearer}"}

    def sender(body):
        client = service.app.test_client()
        return lambda: client.open(path, method=method, json=body, headers=headers).status_code

    return Counter(together([sender(body) for body in bodies]))


def test_bounds_hold_for_twenty_at_once(service, officers, monkeypatch):
    """Approvals and jobs of one operator, and drafts of all: none above its bound."""
    ada, _ = officers
    few = service.container.settings.model_copy(
        update={"max_approvals": 5, "max_jobs": 5, "max_drafts": 5}
    )
    for holder in (
        service.container.operators,
        service.container.key_admin.jobs,
        service.container.lives,
    ):
        monkeypatch.setattr(holder, "_bounds", few)
    asked = [
        {"act": "policy.activate", "target": f"x{number}", "reason": "x"} for number in range(20)
    ]
    assert at_once(service, ada, "POST", "/v1/approvals", asked) == {201: 5, 429: 15}
    assert at_once(service, ada, "POST", "/v1/keys/verify", [{}] * 20) == {202: 5, 429: 15}
    drafts = [{"document": changed(cooldown_hours=number)} for number in range(1, 21)]
    assert at_once(service, ada, "POST", "/v1/policies", drafts) == {201: 5, 409: 15}


def test_a_restore_closes_every_approval(service, officers, monkeypatch):
    """However many there are: what the backup revives is nobody's to decide or use."""
    monkeypatch.setattr("service.operators.actions.operators._CLOSED", 2)
    ada, grace = officers
    numbers = [ask(service, ada, "policy.activate", f"x{at}").json["id"] for at in range(5)]
    given = service.call("POST", f"/v1/approvals/{numbers[0]}/approve", {}, bearer=grace)
    assert given.json["status"] == "approved"
    with service.container.store.transaction() as tx:
        assert service.container.operators.close_approvals(tx, "ledger") == 5
    shown = service.call("GET", "/v1/approvals", bearer=grace).json["items"]
    assert sorted(item["status"] for item in shown) == ["rejected"] * 4 + ["used"]
