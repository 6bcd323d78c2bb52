"""Every leaf of the audit log names who did it: each operation is driven and looked at."""

import re
from uuid import UUID

import pyotp
import pytest
from sqlalchemy import select

from crypto.recovery import create_recipient, recipient_id
from crypto.signing import SigningKey
from service.audit.store import Leaf
from service.domain.ids import new_id
from service.operators.model import Role
from service.policy.store import hold_risk
from tests.functional.conftest import CONSENT, PASSWORD
from tests.functional.policing import changed
from tests.functional.test_quorum import do, who
from tests.typists import typists, wire

NOT_DRIVEN = {
    "POST /v1/subjects/{subject}/face/score": "test_face_score.py looks at its leaf",
    "POST /v1/operators/bootstrap": "the fixture of two officers does it",
}
OTHERS = frozenset({"policy", "subject"})
"""Whom a leaf may name instead of the caller, whose client stands beside it then."""


class Watch:
    """Calls as a client or as an operator, and checks what each call leaves in the log."""

    def __init__(self, service, officers):
        self.service = service
        self.officers = officers
        self.names = [f"operator:{who(service, bearer)}" for bearer in officers]
        self.driven = {}
        document = service.http.get("/openapi.json").json
        self.known = [
            (method.upper(), path) for path, item in document["paths"].items() for method in item
        ]

    def leaves(self):
        with self.service.container.store.transaction(read=True) as tx:
            return {row.id: row for row in tx.scalars(select(Leaf))}

    def operation(self, method, path):
        """Return an operation as it is documented; fixed paths before those with a parameter."""
        found = [
            name
            for verb, name in self.known
            if verb == method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", name), path)
        ]
        return f"{method} {min(found, key=lambda name: name.count('{'))}"

    def check(self, before, name, expected):
        """Look at the leaves that are new."""
        made = [row for number, row in self.leaves().items() if number not in before]
        for row in made:
            allowed = row.actor == expected or row.actor in OTHERS
            pair = expected in str(row.actor).split("+") and "operator:" in expected
            assert allowed or pair, (name, row.kind, row.actor, expected)
            if row.actor != self.service.client_id:
                assert row.data["via"] == self.service.client_id, (name, row.kind, row.data)
        self.driven[name] = self.driven.get(name, 0) + len(made)

    def client(self, method, path, body=None, **headers):
        before = self.leaves()
        answer = self.service.call(method, path, body, **headers)
        assert answer.status_code < 300, (method, path, answer.json)
        self.check(before, self.operation(method, path), self.service.client_id)
        return answer.json

    def officer(self, method, path, body=None, number=0, **headers):
        before = self.leaves()
        answer = self.service.call(method, path, body, bearer=self.officers[number], **headers)
        assert answer.status_code < 300, (method, path, answer.json)
        self.check(before, self.operation(method, path), self.names[number])
        return answer.json

    def oauth(self, path, **form):
        before = self.leaves()
        answer = self.service.oauth(path, **form)
        assert answer.status_code == 200, (path, answer.json)
        self.check(before, f"POST /oauth2/{path}", self.service.client_id)
        return answer.json

    def agreed(self, act, target, **params):
        """Let the first ask and the second approve."""
        body = {"act": act, "target": target, "params": params, "reason": "planned"}
        number = self.officer("POST", "/v1/approvals", body)["id"]
        self.officer("POST", f"/v1/approvals/{number}/approve", {}, 1)
        return number


@pytest.fixture
def watch(service, officers):
    """Two officers may also serve people, so that what they do there is looked at as well."""
    return Watch(service, officers)


def subjects(watch):
    """Drive what is done to a subject, but for signing in."""
    service = watch.service
    body = {
        "identifiers": {"username": "eve", "email": "eve@example.org"},
        "password": PASSWORD,
        "consents": [CONSENT | {"purpose": "marketing"}],
    }
    one = f"/v1/subjects/{watch.client('POST', '/v1/subjects', body)['id']}"
    watch.client("POST", "/v1/subjects/lookup", {"identifier": "eve"})
    watch.client("PATCH", one, {"profile": {"name": "Eve"}})
    watch.client("POST", f"{one}/identifiers/email/verification", {})
    watch.client("POST", f"{one}/consents", CONSENT | {"purpose": "behavior"})
    watch.client("DELETE", f"{one}/consents/marketing")
    added = watch.client("POST", f"{one}/authenticators", {"type": "totp"})
    code = pyotp.TOTP(added["secret"]).at(int(service.clock.now().timestamp()))
    watch.client("POST", f"{one}/authenticators/{added['id']}/confirm", {"code": code})
    watch.client("DELETE", f"{one}/authenticators/{added['id']}")
    watch.client("POST", f"{one}/suspensions", {"capability": "payment", "reason": "x"})
    watch.client("DELETE", f"{one}/suspensions/payment")
    rows = [wire(row) for row in typists(1)[0][:2]]
    watch.client("POST", f"{one}/behavior/samples", {"samples": rows[:1]})
    watch.client("POST", f"{one}/behavior/score", {"behavior": rows[1]})
    watch.client("DELETE", f"{one}/behavior")
    watch.client("DELETE", one)


def signing_in(watch):
    """Drive flows, tokens and sessions."""
    service, person = watch.service, watch.service.register("mallory")
    one = f"/v1/subjects/{person.id}"

    def complete():
        flow = watch.client("POST", "/v1/flows", {"kind": "login", "identifier": "mallory"})
        path, proof = f"/v1/flows/{flow['id']}/actions", {"Flow_Token": flow["flow_token"]}
        watch.client("POST", f"{path}/password", {"password": PASSWORD}, **proof)
        done = watch.client("POST", f"{path}/totp", {"code": service.code(person)}, **proof)
        service.clock.advance(seconds=31)
        form = {"grant_type": "urn:lamina:params:oauth:grant-type:flow"}
        return watch.oauth("token", code=done["completion_code"], **form)

    flow = watch.client("POST", "/v1/flows", {"kind": "login", "identifier": "mallory"})
    watch.client("DELETE", f"/v1/flows/{flow['id']}", Flow_Token=flow["flow_token"])
    tokens = complete()
    watch.oauth("introspect", token=tokens["access_token"])
    watch.oauth("revoke", token=tokens["access_token"])
    watch.oauth("revoke", token=tokens["refresh_token"])
    complete()
    (session,) = service.call("GET", f"{one}/sessions").json["items"]
    watch.client("DELETE", f"{one}/sessions/{session['id']}")
    complete()
    watch.client("DELETE", f"{one}/sessions")


def acting_on_keys(watch):
    """Drive what operators do with keys."""
    some = {"class": "transaction"}
    for verb in ("generate", "promote"):
        watch.officer("POST", f"/v1/keys/{verb}", some)
    watch.service.clock.advance(seconds=70)
    watch.officer("POST", "/v1/keys/retire", some)
    for kind, body in (
        ("rewrap", {"tier": "kek"}),
        ("reencrypt", some),
        ("verify", {}),
        ("reindex", {}),
    ):
        watch.officer("POST", f"/v1/keys/{kind}", body)
    _, public = create_recipient()
    number = watch.agreed("keys.export", f"recipient {recipient_id(public)}")
    watch.officer("POST", "/v1/keys/export", {"recipient": public, "approval": number})
    number = watch.agreed("keys.destroy", "kek transaction 1")
    watch.officer("POST", "/v1/keys/destroy", some | {"version": 1, "approval": number})


def acting_on_policies(watch):
    """Drive what operators do with policies."""
    document = {"document": changed(cooldown_hours=24)}
    version = watch.officer("POST", "/v1/policies", document)["version"]
    one = f"/v1/policies/{version}"
    watch.officer("POST", f"{one}/validate", {})
    watch.officer("POST", f"{one}/backtest", {})
    watch.officer("POST", f"{one}/shadow", {})
    number = watch.agreed("policy.activate", version)
    watch.officer("POST", f"{one}/activate", {"approval": number})
    number = watch.agreed("policy.activate", f"rollback {version}")
    watch.officer("POST", f"{one}/rollback", {"approval": number})
    draft = {"document": changed(cooldown_hours=25)}
    version = watch.officer("POST", "/v1/policies", draft)["version"]
    watch.officer("DELETE", f"/v1/policies/{version}")
    watch.officer("PATCH", "/v1/risk-parameters", {"tighten": 0.5})
    person = watch.service.register("risky")
    now = watch.service.clock.now()
    with watch.service.container.store.transaction() as tx:
        hold_risk(tx, number=new_id(now), subject=UUID(person.id), content={"nats": 3.0}, now=now)
    watch.officer("DELETE", f"/v1/subjects/{person.id}/risk")


def acting_on_people(watch):
    """Drive roles, clients, and what operators do to subjects."""
    service = watch.service
    person = service.register("subject")
    watch.agreed("operators.grant", person.id, role="auditor")
    watch.agreed("operators.revoke", person.id, role="auditor")
    body = {"act": "keys.destroy", "target": "kek x 1", "reason": "x"}
    number = watch.officer("POST", "/v1/approvals", body)["id"]
    watch.officer("POST", f"/v1/approvals/{number}/reject", {}, 1)
    client, _ = service.new_client()
    watch.agreed("clients.scopes", client, scopes="flows:write")
    number = watch.agreed("clients.secret", client)
    watch.officer("POST", f"/v1/clients/{client}/secret", {"approval": number})
    keys = {"jwks": {"keys": [SigningKey.generate().public_jwk()]}}
    path = f"/v1/clients/{client}/jwks"
    target = service.call("POST", path, keys, bearer=watch.officers[0]).json["target"]
    number = watch.agreed("clients.jwks", target)
    watch.officer("POST", path, keys | {"approval": number})
    watch.officer("DELETE", f"/v1/clients/{client}")
    for rest, body in (("", {"url": "https://shop.example/"}), ("/{}/secret", {"overlap": 0})):
        path = f"/v1/webhooks{rest.format(client)}"
        told = service.call("POST", path, body, bearer=watch.officers[0]).json
        number = watch.agreed(told["act"], told["target"], **told["params"])
        client = watch.officer("POST", path, body | {"approval": number})["id"]
    watch.officer("DELETE", f"/v1/webhooks/{client}")
    path = f"/v1/subjects/{person.id}/export"
    number = watch.agreed("subjects.export", person.id)
    watch.officer("POST", path, Approval=number)
    watch.officer("DELETE", f"/v1/subjects/{person.id}")


def test_every_leaf_of_every_operation_names_who_did_it(service, watch):
    """Clients by their id; operators by theirs, with the client they came by; never the other."""
    subjects(watch)
    signing_in(watch)
    acting_on_keys(watch)
    acting_on_policies(watch)
    acting_on_people(watch)
    changing = {f"{method} {path}" for method, path in watch.known if method != "GET"}
    assert changing - set(watch.driven) == set(NOT_DRIVEN)
    silent = {name for name, count in watch.driven.items() if count == 0}
    assert silent <= {
        "POST /v1/subjects/lookup",
        "POST /oauth2/token",
        "POST /oauth2/introspect",
        "POST /v1/policies/{version}/backtest",
        "POST /v1/flows",
        "DELETE /v1/flows/{flow}",
        "POST /v1/subjects/{subject}/behavior/score",
        "POST /v1/subjects/{subject}/identifiers/{name}/verification",
        "POST /v1/keys/rewrap",
        "POST /v1/keys/reencrypt",
        "POST /v1/keys/reindex",
        "POST /v1/keys/verify",
        "POST /v1/subjects/{subject}/authenticators",
    }, silent
    assert all(row.actor for row in watch.leaves().values())


def test_an_erasure_by_an_operator_is_the_operators(service, watch):
    """Not the client's by which the operator came."""
    person = service.register("gone")
    watch.officer("DELETE", f"/v1/subjects/{person.id}")
    (leaf,) = (row for row in watch.leaves().values() if row.kind == "subject.shredded")
    assert (leaf.actor, leaf.data["via"]) == (watch.names[0], service.client_id)


def test_what_two_stand_for_names_both_whole(service, watch):
    """Neither of two operators is cut off."""
    person, _ = service.sign_up("new")
    watch.agreed("operators.grant", person.id, role="operator")
    (leaf,) = (
        row
        for row in watch.leaves().values()
        if (row.kind, row.subject_id) == ("operator.granted", UUID(person.id))
    )
    assert leaf.actor == "+".join(watch.names)


def test_what_nobody_calls_for_is_the_services(service):
    """Work in the background and on the host names no client."""
    person = service.register("somebody")
    do(service, "break_glass.grant", UUID(person.id), Role.AUDITOR)
    with service.container.store.transaction() as tx:
        service.container.audit.append(tx, "test.leaf")
    with service.container.store.transaction(read=True) as tx:
        found = tx.scalars(select(Leaf).where(Leaf.kind.in_(["test.leaf", "operator.granted"])))
        assert {row.kind: row.actor for row in found} == {
            "test.leaf": "service",
            "operator.granted": "break_glass",
        }
