"""A person who has lost everything, and two operators who let them back in."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from crypto import opaque
from service.domain.ids import new_id
from service.factors.help_desk import store
from service.factors.help_desk.actions.recoveries import code_digester
from service.operators.model import Role
from tests.functional.conftest import PASSWORD, Past, Person, Service

NEW_PASSWORD = "a wholly new pass phrase"
RECOVER = "subject.recover"


@dataclass
class Desk:
    """The service, somebody known to it for three days, and two security officers.

    Args:
        operators: The two officers.
        officers: Their tokens.
    """

    service: Service
    person: Person
    operators: tuple[Person, ...]
    officers: tuple[str, ...] = ()

    @property
    def names(self):
        """Return what the log calls the officers."""
        return [f"operator:{one.id}" for one in self.operators]

    def sign_in(self):
        """Give the client and the officers fresh tokens."""
        service = self.service
        service.bearer = service.access()
        tokens = [
            service.exchange(service.login(one)["completion_code"]).json for one in self.operators
        ]
        self.officers = tuple(service.operator_token(mine) for mine in tokens)

    def ask(self, act="enroll:password", *, by=0, target=None):
        """Ask for a recovery."""
        body = {
            "act": RECOVER,
            "target": target or self.person.id,
            "params": {"act": act},
            "reason": "lost everything",
        }
        return self.service.call("POST", "/v1/approvals", body, bearer=self.officers[by])

    def decide(self, number, verb="approve", *, by=1):
        """Approve or reject one."""
        path = f"/v1/approvals/{number}/{verb}"
        return self.service.call("POST", path, {}, bearer=self.officers[by])

    def agreed(self, act="enroll:password"):
        """Let one ask and the other approve; return the number of the approval."""
        asked = self.ask(act)
        assert asked.status_code == 201, asked.json
        approved = self.decide(asked.json["id"])
        assert approved.status_code == 200, approved.json
        return asked.json["id"]

    def wait(self, **amount):
        """Let time pass, and the background do what is due."""
        self.service.clock.advance(**amount)
        self.service.container.jobs.run_due()
        self.sign_in()

    def sent(self, act="enroll:password"):
        """Let a code be sent; return it."""
        self.agreed(act)
        self.wait(hours=24)
        return self.code()

    def code(self):
        """Return the code that was sent last."""
        return self.told("subject.recovery_code")[-1]["code"]

    def told(self, kind):
        """Return what was said to people, by kind, oldest first."""
        container = self.service.container
        with container.store.transaction(read=True) as tx:
            rows = container.outbox.waiting(tx, 1000, reveal=True)
        return [row["payload"] for row in rows if row["kind"] == kind]

    def begin(self, identifier="alice"):
        """Begin a recovery."""
        begun = self.service.begin(identifier, "recovery")
        assert begun.status_code == 201, begun.json
        return begun.json

    def use(self, code, identifier="alice"):
        """Show a code in a recovery flow of its own."""
        return self.service.act(self.begin(identifier), "help_desk", {"code": code})


def sent(container, tx, subject, operators):
    """Put a recovery there whose code was sent; return its id and the code."""
    now, code = container.clock.now(), opaque.new_code()
    number = new_id(now)
    digest = code_digester(tx, number, subject)(opaque.normalize_code(code))
    store.add(
        tx,
        {
            "id": number,
            "subject_id": subject,
            "approval_id": number,
            "act": "enroll:password",
            "status": "sent",
            "asked_by": operators[0],
            "approved_by": operators[1],
            "asked_at": now,
            "due_at": now,
            "ends_at": now + timedelta(hours=24),
            "address": bytes(32),
            "digest": digest,
        },
    )
    return number, code


def lost(service, name="alice", *, second=True):
    """Register somebody with a verified address, who has signed in if they have a second factor."""
    mail = f"{name}@example.com"
    identifiers = {"username": name, "email": mail}
    if second:
        person = service.register(name, identifiers=identifiers)
    else:
        body = {"identifiers": identifiers, "password": PASSWORD}
        person = Person(service.call("POST", "/v1/subjects", body).json["id"], name)
    path = f"/v1/subjects/{person.id}/identifiers/email/verification"
    assert service.call("POST", path, {}).json == {"status": "sent"}
    with service.container.store.transaction(read=True) as tx:
        waiting = service.container.outbox.waiting(tx, 1000, reveal=True)
    code = next(row["payload"]["code"] for row in waiting if row["payload"].get("to") == mail)
    assert service.call("POST", path, {"code": code}).json == {"status": "verified"}
    if second:
        assert service.login(person)["status"] == "completed"
        service.clock.advance(seconds=31)
    return person


def opened(service, name="alice", officers=("ada", "grace")) -> Desk:
    """Return a desk with somebody who has lost everything."""
    return Desk(service, **_opened(service, name, officers))


@pytest.fixture(scope="session")
def desk_once(migrated, contract, tmp_path_factory) -> Past:
    """A file that knows those of a desk."""
    return Past.take(migrated, tmp_path_factory.mktemp("desk"), _opened, contract)


@pytest.fixture
def past(request, pasts, desk_once) -> Past:
    """Whoever asks for a `desk` begins with one."""
    return desk_once if "desk" in request.fixturenames else pasts[frozenset()]


def _opened(service, name="alice", officers=("ada", "grace")) -> dict[str, Any]:
    person = lost(service, name)
    people = tuple(person if each == name else service.register(each) for each in officers)
    desk = Desk(service, person, people)
    for one in desk.operators:
        with service.container.store.transaction() as tx:
            service.container.operators.break_glass.grant(tx, UUID(one.id), Role.SECURITY_OFFICER)
    service.clock.advance(hours=72)
    desk.sign_in()
    return {"person": person, "operators": people, "officers": desk.officers}
