"""Policies over HTTP: drafted, tried, agreed on by two, taken up by every process, taken back."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from service.app import open_container
from service.audit.store import Leaf
from service.domain.assurance import Acr
from service.domain.errors import SetupError
from service.policy.actions.backtest import Backtest
from service.policy.model import parser
from service.policy.store import PolicyDecision
from tests.functional.conftest import CONSENT, PASSWORD
from tests.functional.policing import (
    SHIPPED,
    Feeling,
    act,
    activated,
    agreed,
    changed,
    drafted,
    feel,
    in_force,
    validated,
)


def replayed(service):
    test = Backtest(None)
    with service.container.store.transaction(read=True) as tx:
        while test.page(tx):
            pass
    return test


def test_a_policy_takes_its_way_by_two_and_back(service, officers):
    """Draft, validate, activate with the approval of another, and roll back with one more."""
    ada, _ = officers
    before = service.container.policies.version
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
        version: "active",
        before: "retired",
    }
    body = {"approval": agreed(service, officers, f"rollback {version}")}
    back = service.call("POST", f"{path}/rollback", body, bearer=ada)
    assert (back.status_code, back.json["version"]) == (200, before), back.json
    service.clock.advance(seconds=5)
    assert service.login(person)["risk"]["policy_version"] == before


def test_only_what_is_in_force_is_rolled_back(service):
    """A document that is not active, or had none before it, is not; nor is one activated twice."""
    before = service.container.policies.version
    version = in_force(service, changed())
    act(service, "rollback", version, "test")
    with pytest.raises(Exception, match="policy_not_active"):
        act(service, "rollback", version, "test")
    with pytest.raises(Exception, match="policy_first"):
        act(service, "rollback", before, "test")
    with pytest.raises(Exception, match="policy_active"):
        act(service, "activate", before, "test")


def test_nobody_skips_a_step_or_a_person(service, officers):
    """Unvalidated, alone, or with the approval of something else: refused, and nothing changes."""
    ada, _ = officers
    before = service.container.policies.version
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
    from service.policy.actions import repository

    with service.container.store.transaction(read=True) as tx:
        old = repository.state(tx)
    version = in_force(service, changed())
    before = service.container.policies.version
    monkeypatch.setattr(repository, "state", lambda _tx: old)
    with pytest.raises(Exception, match="policy_moved"):
        act(service, "tighten", target=1.0, ramp=60, life=timedelta(hours=1), actor="t")
    monkeypatch.undo()
    service.clock.advance(seconds=5)
    with service.container.store.transaction(read=True) as tx:
        assert service.container.lives.parameters(tx)["tighten"]["value"] == 0
    assert service.container.policies.version == before == version


def test_a_policy_that_is_gone_is_no_difference(service):
    """A decision of a document that is not stored any more is counted apart."""
    service.login(service.register())
    with service.container.store.transaction() as tx:
        tx.execute(text("UPDATE policy_decision SET policy = 'gone'"))
    test = replayed(service)
    assert (test.table.unopened, test.different) == (1, [])


def test_a_replay_shows_what_differs(service):
    """A stored outcome that the policy does not give again is named."""
    person = service.register()
    in_force(service, changed(login={"acr": Acr.AAL1.urn, "layers": [["password"]]}))
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    with service.container.store.transaction() as tx:
        tx.execute(text("UPDATE policy_decision SET policy = :v"), {"v": act_shipped(service)})
    test = replayed(service)
    assert [item["policy"] for item in test.different] == [act_shipped(service)]
    assert person


def act_shipped(service):
    """Return the version that ships."""
    from service.policy.actions.parsing import shipped

    return parser.version_of(shipped())


def test_clients_read_policies_and_only_operators_write(service, officers):
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


def test_a_wrong_document_is_refused_with_its_pointer(service, officers):
    """Nothing is stored; the pointer leads into the body; what nobody satisfies is refused too."""
    ada, _ = officers
    wrong = changed(unknown=1)
    answer = service.call("POST", "/v1/policies", {"document": wrong}, bearer=ada)
    assert (answer.status_code, answer.json["code"]) == (422, "bad_policy")
    assert answer.json["errors"][0]["pointer"] == "/document/segments/default"
    only = changed(login={"acr": Acr.AAL2_PHR.urn, "layers": [["webauthn"]]})
    version = drafted(service, ada, only)
    refused = service.call("POST", f"/v1/policies/{version}/validate", {}, bearer=ada)
    assert refused.json["errors"][0]["code"] == "unsatisfiable"
    assert refused.json["errors"][0]["pointer"] == "/segments/default/login"
    assert len(service.call("GET", "/v1/policies").json["items"]) == 2


def test_every_process_takes_up_a_policy_within_five_seconds(service, settings, clock):
    """Another process decides by the new document five seconds later, and says so."""
    other = open_container(settings, clock)
    first = other.policies.version
    version = in_force(service, changed())
    with other.store.transaction(read=True):
        assert other.policies.version == version != first
    other.store.engine.dispose()


def test_a_shadow_decides_beside_and_changes_nothing(service, monkeypatch):
    """Its differences are counted by segment and kind; the answers are those of the active one."""
    monkeypatch.setattr("service.policy.model.replay.LEAST_PEOPLE", 1)
    person = service.register()
    harder = changed(
        login={"acr": Acr.AAL2.urn, "layers": [["password"], ["totp"], ["recovery_code"]]}
    )
    version = act(service, "draft", parser.read(harder), "t")["version"]
    act(service, "validate", version, "t")
    assert act(service, "shadow", version, "t")["status"] == "shadow"
    service.clock.advance(seconds=5)
    assert service.login(person)["status"] == "completed"
    shown = service.call("GET", f"/v1/policies/{version}").json
    counts = {row["change"]: row["decisions"] for row in shown["shadow"]}
    assert counts == {"other": 1, "step_up": 1}
    assert act(service, "shadow", version, "t", on=False)["status"] == "validated"
    active = service.container.policies.version
    with pytest.raises(Exception, match="policy_active"):
        act(service, "shadow", active, "t")


def test_a_shadow_that_fails_is_counted_and_harmless(service, monkeypatch):
    """Even a fault of the shadow's own decision leaves the answer as it is."""
    monkeypatch.setattr("service.policy.model.replay.LEAST_PEOPLE", 1)
    person = service.register()
    version = act(service, "draft", parser.read(changed()), "t")["version"]
    act(service, "validate", version, "t")
    act(service, "shadow", version, "t")
    service.clock.advance(seconds=5)
    from service.policy.actions import evaluation

    decide = evaluation.engine.decide

    def failing(whole, facts):
        if whole.version == version:
            raise ZeroDivisionError
        return decide(whole, facts)

    monkeypatch.setattr(evaluation.engine, "decide", failing)
    assert service.login(person)["status"] == "completed"
    shown = service.call("GET", f"/v1/policies/{version}").json
    assert [(row["change"], row["decisions"]) for row in shown["shadow"]] == [("fault", 2)]


def test_a_backtest_shows_old_against_new(service, officers, monkeypatch):
    """By segment: what was allowed, asked and denied, and what would be."""
    harder = changed(
        login={"acr": Acr.AAL2.urn, "layers": [["password"], ["totp"], ["recovery_code"]]}
    )
    version = drafted(service, officers[0], harder)
    monkeypatch.setattr("service.app.backtests.LEAST_PEOPLE", 1)
    answer = backtested(service, officers[0], version)
    (row,) = answer["report"]["segments"]
    assert (answer["kind"], answer["status"]) == ("policy.backtest", "done")
    assert (answer["done"], answer["total"]) == (2, 2)
    assert (row["decisions"], row["old_allow"], row["new_allow"]) == (2, 2, 0)
    assert (row["step_ups"], row["denials"], row["eased"], row["same"]) == (2, 0, 0, 0)
    assert backtested(service, officers[0], version, limit=1)["done"] == 1
    later = backtested(service, officers[0], version, since="2027-01-01T00:00:00Z")
    assert later["report"]["segments"] == []


def backtested(service, bearer, version, **body):
    """Queue a backtest, let it be done, and return the job."""
    path = f"/v1/policies/{version}/backtest"
    queued = service.call("POST", path, body, bearer=bearer)
    assert (queued.status_code, queued.json["status"]) == (202, "queued"), queued.json
    assert service.container.key_admin.jobs.run_queued() == 1
    return service.call("GET", queued.headers["Location"], bearer=bearer).json


def test_a_comparison_reads_nobodys_risk(service, officers):
    """A number with fewer than twenty people behind it is withheld, by job and by shadow."""
    version = validated(
        service, officers[0], changed(bands={"elevated": -0.1, "high": -0.2, "critical": -0.3})
    )
    act(service, "shadow", version, "t")
    service.clock.advance(seconds=5)
    feel(service, Feeling(-1.23456))
    service.login(service.register())
    for body in ({}, {"limit": 1}, {"limit": 3}):
        for row in backtested(service, officers[0], version, **body)["report"]["segments"]:
            numbers = {name: row[name] for name in row if name != "segment"}
            assert set(numbers.values()) <= {None, 0}, row
    shown = service.call("GET", f"/v1/policies/{version}", bearer=officers[0]).json["shadow"]
    assert shown
    assert {row["decisions"] for row in shown} == {None}


def test_a_replay_reproduces_every_stored_decision(service):
    """The same policy on the stored facts gives the same effect, layers, band and reasons."""
    person = service.register()
    feel(service, Feeling(-1.0))
    service.login(person)
    act(service, "tighten", target=1.5, ramp=60, life=timedelta(hours=1), actor="t")
    in_force(service, changed(bands={"elevated": -2.0, "high": -4.0, "critical": -7.0}))
    service.clock.advance(seconds=60)
    feel(service, Feeling(-2.0), Feeling(1.0))
    flow = service.begin().json
    asked = service.act(flow, "password", {"password": PASSWORD}).json
    assert asked["risk"]["band"] == "elevated"
    service.act(flow, "totp", {"code": service.code(person)})
    test = replayed(service)
    assert test.different == []
    assert sum(row.decisions for row in test.table.rows.values()) == 2
    versions = set()
    with service.container.store.transaction(read=True) as tx:
        versions = {row.policy for row in tx.query(PolicyDecision)}
    assert len(versions) == 2


def test_a_decision_is_stored_once_for_each_flow(service):
    """One that only asks for more is a keyed digest in the log; what holds risk is kept as well."""
    person = service.register()
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    assert stored(service) == []
    service.act(flow, "totp", {"code": service.code(person)})
    assert stored(service) == ["allow"]
    with service.container.store.transaction(read=True) as tx:
        digests = {
            row.data["factor"]: row.data.get("decision")
            for row in tx.query(Leaf).filter(Leaf.kind == "factor.verified")
        }
    assert digests["totp"] is None
    assert len(bytes.fromhex(digests["password"])) == 16
    feel(service, Feeling(-5.0))
    service.act(service.begin().json, "password", {"password": PASSWORD})
    # Both have the same time, so their order is drawn.
    assert sorted(stored(service)) == ["allow", "require"]
    with service.container.store.transaction(read=True) as tx:
        assert service.container.standing.of(tx, UUID(person.id)) == -5.0


def test_what_a_shadow_makes_easier_is_shown(service, monkeypatch):
    """A draft that is content with a password would let pass who stops at the code."""
    monkeypatch.setattr("service.policy.model.replay.LEAST_PEOPLE", 1)
    person = service.register()
    easier = changed(login={"acr": Acr.AAL1.urn, "layers": [["password"]]})
    version = act(service, "draft", parser.read(easier), "test")["version"]
    act(service, "validate", version, "test")
    act(service, "shadow", version, "test")
    service.clock.advance(seconds=5)
    service.login(person)
    service.clock.advance(seconds=60)
    service.act(service.begin().json, "password", {"password": PASSWORD})
    shown = service.call("GET", f"/v1/policies/{version}").json["shadow"]
    assert "eased" in {row["change"] for row in shown}


def stored(service):
    """Return the effects of the stored decisions, oldest first."""
    with service.container.store.transaction(read=True) as tx:
        return [row.effect for row in tx.query(PolicyDecision).order_by(PolicyDecision.id)]


def test_erasure_and_retention_cover_decisions(service):
    """An erased person's decisions are gone; old ones are dropped by the job."""
    alice, bob = service.register("alice"), service.register("bob")
    service.login(alice)
    service.login(bob)
    service.call("DELETE", f"/v1/subjects/{alice.id}")
    with service.container.store.transaction(read=True) as tx:
        owners = {str(row.subject_id) for row in tx.query(PolicyDecision)}
    assert owners == {bob.id}
    service.clock.advance(days=181)
    assert service.container.jobs.run_due()["policy.drop"] == 1
    assert sum(row.decisions for row in replayed(service).table.rows.values()) == 0


def test_a_withdrawn_consent_takes_the_decisions_with_it(service):
    """Their facts hold what the signal gave; what is held against the subject stays."""
    person = service.register(consents=[CONSENT | {"purpose": "behavior"}])
    feel(service, Feeling(-5.0))
    flow = service.begin().json
    service.act(flow, "password", {"password": PASSWORD})
    path = f"/v1/subjects/{person.id}/consents/behavior"
    assert service.call("DELETE", path).status_code == 204
    with service.container.store.transaction() as tx:
        assert tx.query(PolicyDecision).count() == 0
        assert service.container.standing.of(tx, UUID(person.id)) == -5.0


def test_decisions_whose_keys_are_gone_are_counted_apart(service):
    """What does not open is told and is no difference."""
    service.login(service.register())
    with service.container.store.transaction() as tx:
        tx.execute(text("UPDATE policy_decision SET facts = NULL"))
    assert replayed(service).table.unopened == 1


@pytest.mark.edits_rows
def test_a_tampered_policy_leaves_the_last_good_in_force(service, settings, clock):
    """Neither a changed body nor a changed pointer gets in; a new process does not start on it."""
    version = service.container.policies.version
    with service.container.store.transaction() as tx:
        tx.execute(text("UPDATE policy_state SET revision = 2"))
    service.clock.advance(seconds=5)
    service.bearer = service.access()
    person = service.register()
    assert service.login(person)["risk"]["policy_version"] == version
    with pytest.raises(SetupError):
        open_container(settings, clock)
