"""Operators, what two of them may do together, and keys over HTTP."""

import json
from uuid import UUID

import pytest

from crypto.recovery import create_recipient, open_export, recipient_id
from service.operators.model import ADMIN_SCOPES
from tests.functional.conftest import PASSWORD


def ask(service, bearer, act, target, **params):
    body = {"act": act, "target": target, "params": params, "reason": "planned"}
    return service.call("POST", "/v1/approvals", body, bearer=bearer)


def test_the_bootstrap_token_works_once_and_only_for_the_first(service):
    """A used, wrong or late token is refused, and so is a second bootstrap."""
    _, tokens = service.sign_up("ada")
    with service.container.store.transaction() as tx:
        token, *_ = service.container.operators.break_glass.bootstrap(tx)
    path = "/v1/operators/bootstrap"
    access = tokens["access_token"]
    wrong = service.call("POST", path, {"token": "lboot_x", "access_token": access})
    assert (wrong.status_code, wrong.json["code"]) == (403, "bootstrap_refused")
    anon = service.call("POST", path, {"token": token, "access_token": "nothing"})
    assert anon.json["code"] == "insufficient_user_authentication"
    body = {"token": token, "access_token": access}
    assert service.call("POST", path, body).status_code == 200
    assert service.call("POST", path, body).json["code"] == "bootstrap_refused"
    with (
        service.container.store.transaction() as tx,
        pytest.raises(Exception, match="operators_exist"),
    ):
        service.container.operators.break_glass.bootstrap(tx)


def test_only_operators_get_a_token_for_the_api(service):
    """People who operate nothing, and other resources, are refused alike."""
    _, tokens = service.sign_up("ada")
    for resource in (service.container.settings.issuer, "https://elsewhere.example"):
        answer = service.oauth(
            "token",
            grant_type="refresh_token",
            refresh_token=tokens["refresh_token"],
            resource=resource,
        )
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_target")


def test_no_client_holds_an_operators_scope(service):
    """The scopes of operators are not among those that a client can be given."""
    from service.clients.model import SCOPES

    assert not ADMIN_SCOPES & SCOPES
    refused = service.call("GET", "/v1/keys")
    assert (refused.status_code, refused.json["code"]) == (403, "insufficient_scope")
    assert ask(service, service.bearer, "keys.destroy", "kek factor 1").status_code == 403
    assert service.call("GET", "/v1/approvals").json["code"] == "operators_only"


def test_a_role_that_is_taken_away_is_gone_at_once(service, officers):
    """The very next call with the same token is refused."""
    ada, grace = officers
    assert service.call("GET", "/v1/keys", bearer=ada).status_code == 200
    mine = ask(service, ada, "policy.activate", "x").json["requested_by"]
    subject = mine.removeprefix("operator:")
    asked = ask(service, grace, "operators.revoke", subject, role="security_officer")
    assert asked.status_code == 201, asked.json
    path = f"/v1/approvals/{asked.json['id']}/approve"
    mine = service.call("POST", path, {}, bearer=grace)
    assert (mine.status_code, mine.json["code"]) == (403, "same_operator")
    done = service.call("POST", path, {}, bearer=ada)
    assert (done.status_code, done.json["status"]) == (200, "used")
    assert service.call("GET", "/v1/keys", bearer=ada).status_code == 401


def test_a_session_that_is_too_weak_is_told_what_it_takes(service, officers, monkeypatch):
    """Outside development the answer asks for phishing resistance, as RFC 9470 has it."""
    from service.domain.assurance import Acr

    monkeypatch.setattr(service.container.operators, "level", Acr.AAL2_PHR)
    refused = service.call("GET", "/v1/keys", bearer=officers[0])
    assert refused.status_code == 403
    assert 'acr_values="urn:lamina:acr:aal2:phr"' in refused.headers["WWW-Authenticate"]


def test_a_key_is_destroyed_by_two(service, officers):
    """Another operator approves exactly that key; the approval is used once, within a day."""
    ada, grace = officers
    for verb in ("generate", "promote"):
        body = {"tier": "kek", "class": "transaction"}
        answer = service.call("POST", f"/v1/keys/{verb}", body, bearer=ada)
        assert answer.json == {"keys": ["kek transaction 2"]}, answer.json
    service.clock.advance(seconds=70)
    retired = service.call("POST", "/v1/keys/retire", {"class": "transaction"}, bearer=ada)
    assert retired.json == {"keys": ["kek transaction 1"]}
    asked = ask(service, ada, "keys.destroy", "kek transaction 1").json
    body = {"class": "transaction", "version": 1, "approval": asked["id"]}
    early = service.call("POST", "/v1/keys/destroy", body, bearer=ada)
    assert (early.status_code, early.json["code"]) == (409, "approval_decided")
    path = f"/v1/approvals/{asked['id']}"
    assert service.call("POST", f"{path}/approve", {}, bearer=grace).json["status"] == "approved"
    assert service.call("POST", f"{path}/reject", {}, bearer=grace).status_code == 409
    other = service.call("POST", "/v1/keys/destroy", body | {"version": 2}, bearer=ada)
    assert other.json["code"] == "approval_mismatch"
    done = service.call("POST", "/v1/keys/destroy", body, bearer=ada)
    assert done.json["destroyed_after"].startswith("2026-12-01"), done.json
    assert service.call("POST", "/v1/keys/destroy", body, bearer=ada).status_code == 409
    assert service.call("GET", path, bearer=ada).json["status"] == "used"
    assert len(service.call("GET", "/v1/approvals", bearer=ada).json["items"]) == 1


def approved(service, officers, act, target, **params):
    """Let one ask and the other approve; return the answer to the second."""
    ada, grace = officers
    asked = ask(service, ada, act, target, **params).json
    return service.call("POST", f"/v1/approvals/{asked['id']}/approve", {}, bearer=grace)


def test_a_recovery_export_takes_two_and_delays_the_horizon(service, officers):
    """Only the approved recipient gets it, and a key's erase horizon waits for its end."""
    private, public = create_recipient()
    target = f"recipient {recipient_id(public)}"
    number = approved(service, officers, "keys.export", target, days="400").json["id"]
    body = {"recipient": create_recipient()[1], "days": 400, "approval": number}
    other = service.call("POST", "/v1/keys/export", body, bearer=officers[0])
    assert (other.status_code, other.json["code"]) == (403, "approval_mismatch")
    bad = service.call("POST", "/v1/keys/export", body | {"recipient": "x"}, bearer=officers[0])
    assert (bad.status_code, bad.json["errors"][0]["pointer"]) == (422, "/recipient")
    done = service.call("POST", "/v1/keys/export", body | {"recipient": public}, bearer=officers[0])
    about, keys = open_export(private, json.dumps(done.json["export"]).encode())
    assert ("transaction", 1) in [key[:2] for key in keys]
    again = service.call(
        "POST", "/v1/keys/export", body | {"recipient": public}, bearer=officers[0]
    )
    assert again.status_code == 409
    for verb in ("generate", "promote"):
        service.call("POST", f"/v1/keys/{verb}", {"class": "transaction"}, bearer=officers[0])
    service.clock.advance(seconds=70)
    service.call("POST", "/v1/keys/retire", {"class": "transaction"}, bearer=officers[0])
    number = approved(service, officers, "keys.destroy", "kek transaction 1").json["id"]
    body = {"class": "transaction", "version": 1, "approval": number}
    answer = service.call("POST", "/v1/keys/destroy", body, bearer=officers[0]).json
    assert answer["recovery_exports"] == [about["id"]]
    assert answer["erase_horizon"] == about["expires_at"] > answer["destroyed_after"]
    assert answer["root"] == "root transaction 1"


def test_a_clients_scopes_are_changed_by_two(service, officers):
    """What two agree on holds at once for what is taken away; nonsense is refused when asked."""
    client = service.client_id
    bad = ask(service, officers[0], "clients.scopes", client, scopes="everything")
    assert bad.json["errors"][0]["pointer"] == "/params/scopes"
    bad = ask(service, officers[0], "clients.scopes", client)
    assert bad.json["errors"][0]["code"] == "unknown_scope"
    bad = ask(service, officers[0], "clients.scopes", "nobody", scopes="flows:write")
    assert bad.json["errors"][0]["pointer"] == "/target"
    assert service.call("POST", "/v1/subjects/lookup", {"identifier": "ada"}).status_code == 200
    done = approved(
        service, officers, "clients.scopes", client, scopes="flows:write subjects:write"
    )
    assert (done.status_code, done.json["status"]) == (200, "used")
    gone = service.call("POST", "/v1/subjects/lookup", {"identifier": "ada"})
    assert (gone.status_code, gone.json["code"]) == (403, "insufficient_scope")


def test_an_approval_is_good_for_a_day(service, officers):
    """After 24 hours it can neither be given nor used."""
    ada, grace = officers
    asked = ask(service, ada, "keys.destroy", "kek behavior 1").json
    with service.container.store.transaction() as tx:
        from service.operators.store import Approval

        row = tx.get(Approval, UUID(asked["id"]))
        row.expires_at = row.created_at
    path = f"/v1/approvals/{asked['id']}/approve"
    late = service.call("POST", path, {}, bearer=grace)
    assert (late.status_code, late.json["code"]) == (410, "approval_expired")


def test_what_cannot_be_asked_for_is_named(service, officers):
    """An unknown act, role, subject, tier, class or job is refused with its place."""
    ada, _ = officers
    refused = [
        ask(service, ada, "everything", "x"),
        ask(service, ada, "operators.grant", "x", role="king"),
        ask(service, ada, "operators.grant", "x", role="auditor"),
        service.call("POST", "/v1/keys/generate", {"tier": "data"}, bearer=ada),
        service.call("POST", "/v1/keys/promote", {"tier": "data"}, bearer=ada),
        service.call("POST", "/v1/keys/retire", {"tier": "index"}, bearer=ada),
        service.call("POST", "/v1/keys/retire", {"class": "none"}, bearer=ada),
        service.call("POST", "/v1/keys/rewrap", {"tier": "data"}, bearer=ada),
    ]
    pointers = [answer.json["errors"][0]["pointer"] for answer in refused]
    assert [answer.status_code for answer in refused] == [422] * 8
    assert pointers == [
        "/act",
        "/params/role",
        "/target",
        "/tier",
        "/tier",
        "/tier",
        "/class",
        "/tier",
    ]
    for path in ("/v1/jobs/x", f"/v1/jobs/{service.client_id}", "/v1/approvals/x"):
        assert service.call("GET", path, bearer=ada).status_code == 404


def test_long_jobs_are_queued_and_their_end_is_shown(service, officers):
    """202 with the place of the job; the background does it; the signed report is there."""
    ada, _ = officers
    jobs = service.container.key_admin.jobs
    for kind, body in (
        ("rewrap", {"tier": "kek"}),
        ("reencrypt", {"class": "contact"}),
        ("verify", {}),
    ):
        queued = service.call("POST", f"/v1/keys/{kind}", body, bearer=ada)
        assert queued.status_code == 202
        assert jobs.run_queued() == 1
        shown = service.call("GET", queued.headers["Location"], bearer=ada).json
        assert shown["status"] == "done", shown
        assert shown["actor"].startswith("operator:")
    assert shown["report"]["proof"]["failed"] == 0
    assert shown["report"]["signed"].count(".") == 2
    assert jobs.run_queued() == 0
    findings = service.call("GET", "/v1/keys", bearer=ada).json["findings"]
    assert findings == []


def test_an_operator_signs_in_like_anybody(service, officers):
    """The password of an operator is no better a proof than anybody's."""
    flow = service.begin("ada").json
    assert service.act(flow, "password", {"password": PASSWORD}).json["status"] == "pending"
