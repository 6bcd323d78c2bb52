"""Helpers of tests that put policies in force and say what the signals feel."""

import json
from pathlib import Path

from service.policy.model import parser
from service.risk.model import Assessment
from tests.functional.test_operators import ask

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
        return Assessment(signal=self.name, llr=self.llr)

    def learn(self, tx, facts):
        if self.fault:
            self.fault(tx)

    failed = learn


def feel(service, *signals):
    service.container.login._dependencies.signals.signals = signals


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


def agreed(service, officers, target, **params):
    ada, grace = officers
    asked = ask(service, ada, "policy.activate", target, **params).json
    path = f"/v1/approvals/{asked['id']}/approve"
    assert service.call("POST", path, {}, bearer=grace).status_code == 200
    return asked["id"]


def activated(service, officers, document):
    version = validated(service, officers[0], document)
    body = {"approval": agreed(service, officers, version)}
    path = f"/v1/policies/{version}/activate"
    answer = service.call("POST", path, body, bearer=officers[0])
    assert (answer.status_code, answer.json["status"]) == (200, "active")
    service.clock.advance(seconds=5)
    return version


def act(service, name, *arguments, **named):
    """Do one act on the documents as the host would."""
    lives = service.container.lives
    with service.container.store.transaction() as tx:
        return getattr(lives, name)(tx, *arguments, **named)


def in_force(service, document):
    """Put a document in force without the ceremony."""
    read = parser.read(document)
    version = act(service, "draft", read, "test")["version"]
    act(service, "validate", version, "test")
    act(service, "activate", version, "test")
    service.clock.advance(seconds=5)
    with service.container.store.transaction():
        assert service.container.policies.version == version
    return version
