"""Policies over HTTP: drafted, tried, agreed on by two, taken up by every process, taken back."""

import json
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from service.app import open_house
from service.domain.assurance import Acr
from service.domain.errors import SetupError
from service.domain.risk import Assessment
from service.policy.actions.backtest import Backtest
from service.policy.model import reading
from service.policy.store import PolicyDecision
from tests.functional.conftest import CONSENT, PASSWORD
from tests.functional.test_operators import ask, officers  # noqa: F401 - a fixture

SHIPPED = json.loads(
    (Path(__file__).parents[2] / "service" / "policy" / "default.json").read_text("utf-8")
)
WRONG = "not the right pass phrase"


class Feeling:
    """A signal that says what it is told to."""

    def __init__(self, llr=0.0, fault=None):
        self.name, self.worst = "feeling", -9.0
        self.llr, self.fault = llr, fault

    def assess(self, tx, facts):
        if self.fault:
            self.fault(tx)
        return Assessment(self.name, self.llr)

    def learn(self, tx, facts):
        if self.fault:
            self.fault(tx)

    failed = learn


def feel(service, *signals):
    service.house.login._parts.signals.signals = signals


def changed(**segment):
    """Return the shipped document with changes to its default segment."""
    document = json.loads(json.dumps(SHIPPED)) | {"name": "changed"}
    document["segments"]["default"] |= segment
    return document


def drafted(service, bearer, document):
    answer = service.call("POST", "/v1/policies", {"document": document}, bearer=bearer)
    assert answer.status_code == 201, answer.json
    return answer.json["version"]


def validated(service, bearer, document):
    version = drafted(service, bearer, document)
    path = f"/v1/policies/{version}/validate"
    assert service.call("POST", path, {}, bearer=bearer).status_code == 200
    return version


def agreed(service, officers, target):  # noqa: F811 - the fixture
    ada, grace = officers
    asked = ask(service, ada, "policy.activate", target).json
    path = f"/v1/approvals/{asked['id']}/approve"
    assert service.call("POST", path, {}, bearer=grace).status_code == 200
    return asked["id"]


def activated(service, officers, document):  # noqa: F811 - the fixture
    version = validated(service, officers[0], document)
    body = {"approval": agreed(service, officers, version)}
    path = f"/v1/policies/{version}/activate"
    answer = service.call("POST", path, body, bearer=officers[0])
    assert (answer.status_code, answer.json["status"]) == (200, "active")
    service.clock.advance(seconds=5)
    return version


def act(service, name, *arguments, **named):
    """Do one act on the documents as the host would."""
    lives = service.house.lives
    with service.house.store.transaction() as tx:
        return getattr(lives, name)(tx, *arguments, **named)


def in_force(service, document):
    """Put a document in force without the ceremony."""
    read = reading.read(document)
    version = act(service, "draft", read, "test")["version"]
    act(service, "validate", version, "test")
    act(service, "activate", version, "test")
    service.clock.advance(seconds=5)
    with service.house.store.transaction():
        assert service.house.policies.version == version
    return version


def replayed(service):
    test = Backtest(None)
    with service.house.store.transaction(read=True) as tx:
        while test.page(tx):
            pass
    return test


def test_a_policy_takes_its_way_by_two_and_back(service, officers):  # noqa: F811 - the fixture
    """Draft, validate, activate with the approval of another, and roll back with one more."""
    ada, _ = officers
    before = service.house.policies.version
    document = changed(login={"acr": Acr.AAL1.urn, "layers": [["password"]]})
    version = drafted(service, ada, document)
    assert drafted(service, ada, document) == version
    path = f"/v1/policies/{version}"
    assert activated(service, officers, document) == version
    person = service.register("bob")
    flow = service.begin("bob").json
    done = service.act(flow, "password", {"password": PASSWORD}).json
    assert (done["status"], done["risk"]["policy_version"]) == ("completed", version)
    listed = service.call("GET", "/v1/policies").json["items"]
    assert {row["version"]: row["status"] for row in listed} == {
        version: "active", before: "retired",
    }  # fmt: skip
    body = {"approval": agreed(service, officers, f"rollback {version}")}
    back = service.call("POST", f"{path}/rollback", body, bearer=ada)
    assert (back.status_code, back.json["version"]) == (200, before), back.json
    service.clock.advance(seconds=5)
    assert service.login(person)["risk"]["policy_version"] == before


def test_only_what_is_in_force_is_rolled_back(service):
    """A document that is not active, or had none before it, is not; nor is one activated twice."""
    before = service.house.policies.version
    version = in_force(service, changed())
    act(service, "rollback", version, "test")
    with pytest.raises(Exception, match="policy_not_active"):
        act(service, "rollback", version, "test")
    with pytest.raises(Exception, match="policy_first"):
        act(service, "rollback", before, "test")
    with pytest.raises(Exception, match="policy_active"):
        act(service, "activate", before, "test")


def test_nobody_skips_a_step_or_a_person(service, officers):  # noqa: F811 - the fixture
    """Unvalidated, alone, or with the approval of something else: refused, and nothing changes."""
    ada, _ = officers
    before = service.house.policies.version
    path = f"/v1/policies/{drafted(service, ada, changed())}"
    early = service.call("POST", f"{path}/shadow", {}, bearer=ada)
    assert (early.status_code, early.json["code"]) == (409, "policy_not_validated")
    assert service.call("POST", f"{path}/validate", {}, bearer=ada).json["status"] == "validated"
    alone = service.call("POST", f"{path}/activate", {}, bearer=ada)
    assert alone.json["errors"][0]["pointer"] == "/approval"
    other = {"approval": agreed(service, officers, before)}
    refused = service.call("POST", f"{path}/activate", other, bearer=ada)
    assert (refused.status_code, refused.json["code"]) == (403, "approval_mismatch")
    short = path[: len("/v1/policies/") + 8]
    some = {"approval": agreed(service, officers, short.rpartition("/")[2])}
    refused = service.call("POST", f"{short}/activate", some, bearer=ada)
    assert (refused.status_code, refused.json["code"]) == (403, "approval_mismatch")
    assert service.call("GET", path).json["status"] == "validated"


def test_of_two_changes_at_once_one_wins(service, monkeypatch):
    """The second is refused and changes nothing: what it looked at is no longer so."""
    from service.policy.actions import stored

    with service.house.store.transaction(read=True) as tx:
        old = stored.state(tx)
    version = in_force(service, changed())
    before = service.house.policies.version
    monkeypatch.setattr(stored, "state", lambda _tx: old)
    with pytest.raises(Exception, match="policy_moved"):
        act(service, "tighten", 1.0, 60, timedelta(hours=1), "t")
    monkeypatch.undo()
    service.clock.advance(seconds=5)
    with service.house.store.transaction(read=True) as tx:
        assert service.house.lives.parameters(tx)["tighten"]["value"] == 0
    assert service.house.policies.version == before == version


def test_a_policy_that_is_gone_is_no_difference(service):
    """A decision of a document that is not stored any more is counted apart."""
    service.login(service.register())
    with service.house.store.transaction() as tx:
        tx.execute(text("UPDATE policy_decision SET policy = 'gone'"))
    test = replayed(service)
    assert (test.table.unopened, test.different) == (2, [])


def test_a_replay_shows_what_differs(service):
    """A stored outcome that the policy does not give again is named."""
    person = service.register()
    in_force(service, changed(login={"acr": Acr.AAL1.urn, "layers": [["password"]]}))
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    with service.house.store.transaction() as tx:
        tx.execute(text("UPDATE policy_decision SET policy = :v"),
                   {"v": act_shipped(service)})  # fmt: skip
    test = replayed(service)
    assert [item["policy"] for item in test.different] == [act_shipped(service)]
    assert person


def act_shipped(service):
    """Return the version that ships."""
    from service.policy.actions import shipped

    return reading.version_of(shipped())


def test_clients_read_policies_and_only_operators_write(service, officers):  # noqa: F811 - the fixture
    """A scope of clients shows documents, schema and parameters; nothing else."""
    version = service.call("GET", "/v1/policies").json["items"][0]["version"]
    shown = service.call("GET", f"/v1/policies/{version[:12]}").json
    assert shown["document"] == SHIPPED
    assert service.call("GET", "/v1/policy-schema").json["title"] == "Lamina policy"
    assert service.call("GET", "/v1/risk-parameters").json == {
        "tighten": {"value": 0.0, "target": 0.0}
    }
    for path in ("/v1/policies", f"/v1/policies/{version}/validate"):
        assert service.call("POST", path, {"document": {}}).status_code == 403
    for path in ("/v1/policies/zz", "/v1/policies/0123456789abcdef"):
        assert service.call("GET", path).status_code == 404


def test_a_wrong_document_is_refused_with_its_pointer(service, officers):  # noqa: F811 - the fixture
    """Nothing is stored; the pointer leads into the body; what nobody satisfies is refused too."""
    ada, _ = officers
    wrong = changed(unknown=1)
    answer = service.call("POST", "/v1/policies", {"document": wrong}, bearer=ada)
    assert (answer.status_code, answer.json["code"]) == (422, "bad_policy")
    assert answer.json["errors"][0]["pointer"] == "/document/segments/default/unknown"
    only = changed(login={"acr": Acr.AAL2_PHR.urn, "layers": [["webauthn"]]})
    version = drafted(service, ada, only)
    refused = service.call("POST", f"/v1/policies/{version}/validate", {}, bearer=ada)
    assert refused.json["errors"][0]["code"] == "unsatisfiable"
    assert refused.json["errors"][0]["pointer"] == "/segments/default/login"
    assert len(service.call("GET", "/v1/policies").json["items"]) == 2


def test_every_process_takes_up_a_policy_within_five_seconds(service, settings, clock):
    """Another process decides by the new document five seconds later, and says so."""
    other = open_house(settings, clock)
    first = other.policies.version
    version = in_force(service, changed())
    with other.store.transaction(read=True):
        assert other.policies.version == version != first
    other.store.engine.dispose()


def test_a_shadow_decides_beside_and_changes_nothing(service):
    """Its differences are counted by segment and kind; the answers are those of the active one."""
    person = service.register()
    harder = changed(login={"acr": Acr.AAL2.urn, "layers": [["password"], ["totp"],
                                                            ["recovery_code"]]})  # fmt: skip
    version = act(service, "draft", reading.read(harder), "t")["version"]
    act(service, "validate", version, "t")
    assert act(service, "shadow", version, "t")["status"] == "shadow"
    service.clock.advance(seconds=5)
    assert service.login(person)["status"] == "completed"
    shown = service.call("GET", f"/v1/policies/{version}").json
    counts = {row["change"]: row["decisions"] for row in shown["shadow"]}
    assert counts == {"other": 1, "step_up": 1}
    assert act(service, "shadow", version, "t", on=False)["status"] == "validated"
    active = service.house.policies.version
    with pytest.raises(Exception, match="policy_active"):
        act(service, "shadow", active, "t")


def test_a_shadow_that_fails_is_counted_and_harmless(service, monkeypatch):
    """Even a fault of the shadow's own decision leaves the answer as it is."""
    person = service.register()
    version = act(service, "draft", reading.read(changed()), "t")["version"]
    act(service, "validate", version, "t")
    act(service, "shadow", version, "t")
    service.clock.advance(seconds=5)
    from service.policy.actions import force

    decide = force.engine.decide

    def failing(whole, facts):
        if whole.version == version:
            raise ZeroDivisionError
        return decide(whole, facts)

    monkeypatch.setattr(force.engine, "decide", failing)
    assert service.login(person)["status"] == "completed"
    shown = service.call("GET", f"/v1/policies/{version}").json
    assert [(row["change"], row["decisions"]) for row in shown["shadow"]] == [("fault", 2)]


def test_a_backtest_shows_old_against_new(service, officers):  # noqa: F811 - the fixture
    """By segment: what was allowed, asked and denied, and what would be."""
    harder = changed(login={"acr": Acr.AAL2.urn, "layers": [["password"], ["totp"],
                                                            ["recovery_code"]]})  # fmt: skip
    version = drafted(service, officers[0], harder)
    path = f"/v1/policies/{version}/backtest"
    answer = service.call("POST", path, {}, bearer=officers[0]).json
    (row,) = answer["segments"]
    assert (answer["decisions"], answer["of"], answer["unopened"]) == (4, 4, 0)
    assert (row["decisions"], row["old_allow"], row["new_allow"]) == (4, 2, 0)
    assert (row["step_ups"], row["denials"], row["eased"], row["same"]) == (2, 0, 0, 0)
    few = service.call("POST", path, {"limit": 1}, bearer=officers[0]).json
    assert few["decisions"] == 1
    later = {"since": "2027-01-01T00:00:00Z"}
    assert service.call("POST", path, later, bearer=officers[0]).json["segments"] == []


def test_a_replay_reproduces_every_stored_decision(service):
    """The same policy on the stored facts gives the same effect, layers, band and reasons."""
    person = service.register()
    feel(service, Feeling(-1.0))
    service.login(person)
    act(service, "tighten", 1.5, 60, timedelta(hours=1), "t")
    in_force(service, changed(bands={"elevated": -2.0, "high": -4.0, "critical": -7.0}))
    service.clock.advance(seconds=60)
    feel(service, Feeling(-2.0), Feeling(1.0))
    flow = service.begin().json
    asked = service.act(flow, "password", {"password": PASSWORD}).json
    assert asked["risk"]["band"] == "elevated"
    service.act(flow, "totp", {"code": service.code(person)})
    test = replayed(service)
    assert test.different == []
    assert sum(row.decisions for row in test.table.rows.values()) == 4
    versions = set()
    with service.house.store.transaction(read=True) as tx:
        versions = {row.policy for row in tx.query(PolicyDecision)}
    assert len(versions) == 2


def test_erasure_and_retention_cover_decisions(service):
    """An erased person's decisions are gone; old ones are dropped by the job."""
    alice, bob = service.register("alice"), service.register("bob")
    service.login(alice)
    service.login(bob)
    service.call("DELETE", f"/v1/subjects/{alice.id}")
    with service.house.store.transaction(read=True) as tx:
        owners = {str(row.subject_id) for row in tx.query(PolicyDecision)}
    assert owners == {bob.id}
    service.clock.advance(days=181)
    assert service.house.jobs.run_due()["policy.drop"] == 2
    assert sum(row.decisions for row in replayed(service).table.rows.values()) == 0


def test_a_withdrawn_consent_takes_the_decisions_with_it(service):
    """Their facts hold what the signal gave; what is held against the subject stays."""
    person = service.register(consents=[CONSENT | {"purpose": "behavior"}])
    feel(service, Feeling(-5.0))
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    path = f"/v1/subjects/{person.id}/consents/behavior"
    assert service.call("DELETE", path).status_code == 204
    with service.house.store.transaction() as tx:
        assert tx.query(PolicyDecision).count() == 0
        assert service.house.standing.of(tx, UUID(person.id)) == -5.0


def test_decisions_whose_keys_are_gone_are_counted_apart(service):
    """What does not open is told and is no difference."""
    service.login(service.register())
    with service.house.store.transaction() as tx:
        tx.execute(text("UPDATE policy_decision SET facts = NULL"))
    assert replayed(service).table.unopened == 2


def test_a_tampered_policy_leaves_the_last_good_in_force(service, settings, clock):
    """Neither a changed body nor a changed pointer gets in; a new process does not start on it."""
    version = service.house.policies.version
    with service.house.store.transaction() as tx:
        tx.execute(text("UPDATE policy_state SET revision = 2"))
    service.clock.advance(seconds=5)
    service.bearer = service.access()
    person = service.register()
    assert service.login(person)["risk"]["policy_version"] == version
    with pytest.raises(SetupError):
        open_house(settings, clock)


def test_the_live_parameter_is_tightened_by_one_and_loosened_by_two(service, officers):  # noqa: F811 - the fixture
    """It ramps, holds, expires; anything looser than what stands needs another operator."""
    ada, _ = officers
    path = "/v1/risk-parameters"
    up = service.call("PATCH", path, {"tighten": 1.0, "ramp": 100, "expires_in": 1000}, bearer=ada)
    assert (up.status_code, up.json["tighten"]["value"]) == (200, 0.0), up.json
    service.clock.advance(seconds=50)
    assert service.call("GET", path, bearer=ada).json["tighten"]["value"] == 0.5
    looser = {"tighten": -0.5, "ramp": 1, "expires_in": 100}
    refused = service.call("PATCH", path, looser, bearer=ada)
    assert (refused.status_code, refused.json["code"]) == (403, "approval_required")
    assert refused.json["target"] == "tighten -0.50"
    body = looser | {"approval": agreed(service, officers, "tighten -0.50")}
    assert service.call("PATCH", path, body, bearer=ada).status_code == 200
    service.clock.advance(seconds=10)
    assert service.call("GET", path, bearer=ada).json["tighten"]["value"] == -0.5
    service.clock.advance(seconds=200)
    assert service.call("GET", path, bearer=ada).json["tighten"]["value"] == 0.0
    bad = service.call("PATCH", path, {"tighten": 3}, bearer=ada)
    assert bad.json["errors"][0]["pointer"] == "/tighten"


def test_an_automatic_change_only_tightens_for_a_day(service):
    """Nothing that no person asked for loosens, or stands for longer."""
    hour = timedelta(hours=1)
    act(service, "tighten", 1.0, 60, hour, "warning", automatic=True)
    for target, life in ((0.5, hour), (1.5, timedelta(hours=25))):
        with pytest.raises(Exception, match=r"approval_required|invalid_input"):
            act(service, "tighten", target, 60, life, "warning", automatic=True, approved=True)


def test_what_is_held_against_a_subject_outlives_the_session(service, officers):  # noqa: F811 - the fixture
    """High risk is remembered until a flow at the highest level, or an operator, clears it."""
    person = service.register("bob")
    in_force(service, changed(young_hours=0))
    feel(service, Feeling(-5.0))
    flow = service.begin("bob").json
    risky = service.act(flow, "password", {"password": PASSWORD}).json
    assert risky["risk"]["band"] == "high"
    feel(service)
    flow = service.begin("bob").json
    calm = service.act(flow, "password", {"password": PASSWORD}).json
    assert (calm["risk"]["band"], calm["risk"]["reasons"][-1]["code"]) == ("high", "subject_risk")
    service.act(flow, "totp", {"code": service.code(person)})
    done = service.act(flow, "recovery_code", {"code": person.codes[0]}).json
    assert done["status"] == "completed", done
    flow = service.begin("bob").json
    assert service.act(flow, "password", {"password": PASSWORD}).json["risk"]["band"] == "low"
    feel(service, Feeling(-5.0))
    flow = service.begin("bob").json
    service.act(flow, "password", {"password": PASSWORD})
    path = f"/v1/subjects/{person.id}/risk"
    assert service.call("DELETE", path).status_code == 403
    assert service.call("DELETE", path, bearer=officers[0]).status_code == 204
    assert service.call("DELETE", path, bearer=officers[0]).json["code"] == "risk_not_found"


def test_a_policy_may_ask_for_a_passkey_to_clear_risk(service):
    """Then password and code sign in, and what is held stays."""
    person = service.register()
    in_force(service, changed(subject_risk={"clears": "phr"}))
    feel(service, Feeling(-5.0))
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    service.act(flow, "totp", {"code": service.code(person)})
    done = service.act(flow, "recovery_code", {"code": person.codes[0]}).json
    assert done["status"] == "completed"
    with service.house.store.transaction() as tx:
        assert service.house.standing.of(tx, UUID(person.id)) == -5.0


def test_critical_risk_suspends_where_the_policy_says_so(service):
    """Sessions end and nobody signs in until the suspension is lifted."""
    person = service.register()
    tokens = service.exchange(service.login(person)["completion_code"]).json
    in_force(service, changed(**{"raise": {"critical": {"suspend": True}}}))
    feel(service, Feeling(-8.0))
    flow = service.begin().json
    denied = service.act(flow, "password", {"password": PASSWORD})
    assert (denied.status_code, denied.json["code"]) == (403, "critical_risk")
    assert service.oauth("introspect", token=tokens["access_token"]).json == {"active": False}
    listed = service.call("GET", f"/v1/subjects/{person.id}/suspensions").json
    assert [row["capability"] for row in listed["items"]] == ["login"]
    feel(service)
    flow = service.begin().json
    assert service.act(flow, "password", {"password": PASSWORD}).json["code"] == "suspended"


def test_risk_may_make_an_attempt_wait(service):
    """The next action comes too early until the seconds are over; once is enough."""
    person = service.register()
    in_force(service, changed(**{"raise": {"elevated": {"delay": 20}}}))
    feel(service, Feeling(-3.0))
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    early = service.act(flow, "totp", {"code": service.code(person)})
    assert (early.status_code, early.headers["Retry-After"]) == (429, "20")
    service.clock.advance(seconds=20)
    done = service.act(flow, "totp", {"code": service.code(person)}).json
    assert done["status"] == "completed"


def poison(tx):
    tx.execute(text("SELECT * FROM no_such_table"))


def raising(error):
    def fault(_tx):
        raise error

    return fault


@pytest.mark.parametrize(
    "fault",
    [poison, raising(AssertionError()), raising(MemoryError()), raising(AttributeError("x")),
     raising(TimeoutError())],
)  # fmt: skip
def test_a_signal_that_fails_is_its_worst_and_spoils_nothing(service, fault):
    """An error of the database inside it too: the attempt counts, the others answer, no 500."""
    service.register()
    feel(service, Feeling(0.5), Feeling(fault=fault))
    service.house.login._parts.signals.signals[1].worst = -3.0
    flow = service.begin().json
    wrong = service.act(flow, "password", {"password": WRONG})
    assert (wrong.status_code, wrong.json["code"]) == (422, "verification_failed")
    assert wrong.json["flow"]["attempts_left"] == flow["attempts_left"] - 1
    seen = service.act(flow, "password", {"password": PASSWORD})
    assert seen.status_code == 200, seen.json
    risk = seen.json["risk"]
    assert risk["band"] == "elevated"
    assert [item["code"] for item in risk["reasons"]] == ["scored", "signal_fault"]


def test_a_login_survives_a_signal_that_cannot_learn(service):
    """What a signal raises while it learns is its own loss."""
    person = service.register()
    quiet = Feeling()
    feel(service, quiet)
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    quiet.learn = lambda tx, facts: poison(tx)
    done = service.act(flow, "totp", {"code": service.code(person)})
    assert done.json["status"] == "completed"
    tokens = service.exchange(done.json["completion_code"]).json
    assert service.oauth("introspect", token=tokens["access_token"]).json["active"] is True


def test_a_signal_past_its_time_counts_as_its_worst(service):
    """The budget is the policy's; the reason names the time-out."""
    import time

    service.register()
    in_force(service, changed() | {"signal_budget_ms": 1})
    slow = Feeling(fault=lambda _tx: time.sleep(0.01))
    slow.worst = -2.0
    feel(service, slow)
    flow = service.begin().json
    (reason,) = service.act(flow, "password", {"password": PASSWORD}).json["risk"]["reasons"]
    assert (reason["code"], reason["contribution"]) == ("signal_fault", -2.0)
    assert "time-out" in reason["detail"]


def test_reasons_are_shown_with_the_scope_only(service):
    """A client without risk:read sees neither band nor reasons, at no time of the flow."""
    person = service.register()
    client = service.new_client(scopes=("flows:write",), first_party=True)
    shop, service.bearer = service.bearer, service.access(client)
    flow = service.begin().json
    first = service.act(flow, "password", {"password": PASSWORD}).json
    seen = service.call("GET", f"/v1/flows/{flow['id']}", Flow_Token=flow["flow_token"]).json
    done = service.act(flow, "totp", {"code": service.code(person)}).json
    assert all("risk" not in answer for answer in (flow, first, seen, done))
    service.bearer = shop
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    seen = service.call("GET", f"/v1/flows/{flow['id']}", Flow_Token=flow["flow_token"]).json
    assert seen["risk"]["reasons"]


@pytest.mark.parametrize("proxies", [0, 1])
@pytest.mark.parametrize("forwarded", ["garbage", "::::, 1.2.3.4", "\x01", "9" * 5000, ", ,"])
def test_an_unparsable_forwarded_address_skips_no_step(service, proxies, forwarded):
    """The flow asks the same as without the header, whether or not a proxy is trusted."""
    from service.app import create_app

    service.register()
    settings = service.house.settings.model_copy(update={"trusted_proxies": proxies})
    object.__setattr__(service.house, "settings", settings)
    http = create_app(service.house).test_client()
    headers = {"Authorization": f"Bearer {service.bearer}", "X-Forwarded-For": forwarded}
    flow = http.post("/v1/flows", json={"kind": "login", "identifier": "alice"}, headers=headers)
    assert flow.status_code == 201
    headers["Flow-Token"] = flow.json["flow_token"]
    assert list(flow.json["actions"]) == ["password"]
    act = flow.json["actions"]["password"]["href"]
    wrong = http.post(act, json={"password": WRONG}, headers=headers)
    assert wrong.status_code == 422
    after = http.post(act, json={"password": PASSWORD}, headers=headers).json
    assert (after["status"], list(after["actions"])) == ("pending", ["totp", "recovery_code",
                                                                     "back"])  # fmt: skip
