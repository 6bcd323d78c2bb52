"""Somebody to race about: what they own, made when a request is built that needs it."""

import base64
import itertools
from dataclasses import replace
from functools import cached_property
from uuid import UUID

import orjson
import pyotp
from sqlalchemy import text

from service.accounts.store.subjects import Subject
from service.clients.model import SCOPES, NewClient
from service.domain.ids import new_id
from service.notifications.store.outbox import Outgoing
from service.operators.model import Role, actor_of
from service.policy import store as policies
from service.tokens.model import FLOW_GRANT
from tests.functional.conftest import CONSENT, PASSWORD
from tests.functional.desk import sent
from tests.races.processes import Request, ask
from tests.typists import typists, wire

OTHER_PASSWORD = "another long pass phrase"
_numbers = itertools.count(1)
_rows = itertools.cycle(typists(1)[0])


class World:
    """The service as a client calls it, outside of every race.

    Args:
        container: One more process's house, here.
        app: Its app.
    """

    def __init__(self, container, app) -> None:
        self.container, self.app = container, app
        new = NewClient(name="shop", scopes=tuple(SCOPES), first_party=True)
        with container.store.transaction() as tx:
            client, secret = container.clients.create(tx, new)
        self.client = client.id
        basic = base64.b64encode(f"{client.id}:{secret}".encode()).decode()
        self.basic = {"Authorization": f"Basic {basic}"}
        answer = self.ask(self.form("token", grant_type="client_credentials"))
        self.bearer = answer.body["access_token"]

    def form(self, path, **form):
        """Return a request with a form."""
        return Request("POST", f"/oauth2/{path}", form, self.basic, form=True)

    def request(self, method, path, body=None, **headers):
        """Return a request; header names are given with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items() if value}
        return Request(method, path, body, named | {"Authorization": f"Bearer {self.bearer}"})

    def ask(self, request):
        """Ask here and now."""
        return ask(self.container, self.app, request, next(_numbers))

    def call(self, method, path, body=None, **headers):
        """Ask for what must succeed; return what was answered."""
        answer = self.ask(self.request(method, path, body, **headers))
        assert 200 <= answer.status < 300, answer
        return answer.body

    def grant(self, subject, act):
        """Return a grant, as a completed flow gives it."""
        with self.container.store.transaction() as tx:
            return self.container.authenticators.grants.issue(
                tx, UUID(subject), client=self.client, act=act
            )

    @cached_property
    def operators(self):
        """Two operators, by their ids."""
        found = []
        for _ in range(2):
            body = {"identifiers": {"username": f"operator{next(_numbers)}"}}
            found.append(UUID(self.call("POST", "/v1/subjects", body)["id"]))
            with self.container.store.transaction() as tx:
                self.container.operators.break_glass.grant(tx, found[-1], Role.OPERATOR)
        return found

    def rows(self, statement, **values):
        """Return rows of the database as they are."""
        with self.container.store.engine.connect() as connection:
            return connection.execute(text(statement), values).all()


class Person:
    """One subject of a round.

    Args:
        world: The service.
        count: How many requests of each act will be built.
    """

    def __init__(self, world: World, count: int = 1) -> None:
        self.world, self.count = world, count
        self.name = f"person{next(_numbers)}"
        self.email = f"{self.name}@example.com"
        consents = [CONSENT | {"purpose": name} for name in ("face", "behavior")]
        body = {
            "identifiers": {"username": self.name, "email": self.email},
            "password": PASSWORD,
            "consents": consents,
        }
        self.id = world.call("POST", "/v1/subjects", body)["id"]
        self.path = f"/v1/subjects/{self.id}"

    def request(self, method, rest="", body=None, **headers):
        """Return a request about this subject."""
        return self.world.request(method, self.path + rest, body, **headers)

    def call(self, method, rest="", body=None, **headers):
        """Ask about this subject, outside of the race."""
        return self.world.call(method, self.path + rest, body, **headers)

    @cached_property
    def totp(self):
        """The active TOTP: its id and secret."""
        return self._confirmed(self.pending())

    @cached_property
    def codes(self):
        """Ten recovery codes."""
        self.codes_id = None
        made = self.call("POST", "/authenticators", {"type": "recovery_codes"})
        self.codes_id = made["id"]
        return made["codes"]

    @cached_property
    def pendings(self):
        """Two TOTPs that wait for confirmation."""
        return [self.pending() for _ in range(2)]

    @cached_property
    def pending_face(self):
        """A face that waits for its frames."""
        return self.call("POST", "/authenticators", {"type": "face"})

    @cached_property
    def face(self):
        """An enrolled face; its id."""
        self.world.ask(self.confirming_face())
        return self.pending_face["id"]

    @cached_property
    def session(self):
        """Tokens of a session at AAL2; that there was a login is forgotten."""
        form = {"grant_type": FLOW_GRANT, "code": self.completed()["completion_code"]}
        answer = self.world.ask(self.world.form("token", **form))
        self.number = self.call("GET", "/sessions")["items"][0]["id"]
        return answer.body

    @cached_property
    def profile(self):
        """A profile of behavior."""
        return self.call("POST", "/behavior/samples", {"samples": [self.sample()]})

    @cached_property
    def risk(self):
        """A risk that is held."""
        container = self.world.container
        content = {"llr": -0.5, "codes": ["x"], "policy": ""}
        with container.store.transaction() as tx:
            now = container.clock.now()
            policies.hold_risk(
                tx, number=new_id(now), subject=UUID(self.id), content=content, now=now
            )
        return True

    def sample(self):
        """Return a typed sample that nobody has sent before."""
        return wire(next(_rows) + 1e-4 * next(_numbers))

    def pending(self):
        """Begin the enrollment of a TOTP; return its id and secret."""
        return self.call("POST", "/authenticators", {"type": "totp"})

    def code(self, made, step=0):
        """Return the code of a TOTP."""
        now = int(self.world.container.clock.now().timestamp())
        return pyotp.TOTP(made["secret"]).at(now + 30 * step)

    def wrong(self, made):
        """Return a code that is not one of a TOTP by any clock of today."""
        near = {self.code(made, step) for step in range(-9, 10)}
        return next(code for code in (f"{n:06d}" for n in range(100)) if code not in near)

    def begin(self, **more):
        """Begin a login."""
        return self.world.call(
            "POST", "/v1/flows", {"kind": "login", "identifier": self.name} | more
        )

    def recovering(self):
        """Begin a recovery."""
        body = {"kind": "recovery", "identifier": self.name}
        return self.world.call("POST", "/v1/flows", body)

    @cached_property
    def desk_code(self):
        """A code that two operators had sent to this person."""
        container, names = self.world.container, map(actor_of, self.world.operators)
        with container.store.transaction() as tx:
            _, code = sent(container, tx, UUID(self.id), list(names))
        return code

    def proven(self):
        """Begin a login and verify the password."""
        assert self.codes
        return self.begin(action={"name": "password", "input": {"password": PASSWORD}})

    def completed(self):
        """Sign in, with the face too where there is one; return the completed flow."""
        flow = self.proven()
        done = self.act(flow, "recovery_code", {"code": self.codes.pop()})
        while done["status"] == "pending":
            challenge = done["actions"]["face"]["options"]["challenge_id"]
            body = {"challenge_id": challenge, "frames": self.frames(3)}
            done = self.act(flow, "face", body)
        return done

    def act(self, flow, name, body):
        """Act in a flow, outside of the race."""
        answer = self.world.ask(self.acting(flow, name, body))
        assert answer.status == 200, answer
        if answer.body["status"] == "completed":
            # So that enrolling and changing goes on without a grant, on the right of who registers.
            with self.world.container.store.transaction() as tx:
                tx.get(Subject, UUID(self.id)).first_login_at = None
        return answer.body

    def acting(self, flow, name, body):
        """Return a request in a flow."""
        path = f"/v1/flows/{flow['id']}/actions/{name}"
        return self.world.request("POST", path, body, Flow_Token=flow["flow_token"])

    def confirming(self, made, code):
        """Return a request that confirms an authenticator."""
        return self.request("POST", f"/authenticators/{made['id']}/confirm", {"code": code})

    def confirming_face(self):
        """Return a request that confirms a pending face with fresh frames."""
        made = self.pending_face
        body = {"challenge_id": made["challenge"]["challenge_id"], "frames": self.frames(3)}
        return self.request("POST", f"/authenticators/{made['id']}/confirm", body)

    def frames(self, count):
        """Return frames that nobody has sent before."""
        pictures = [f"picture {next(_numbers)}".encode() for _ in range(count)]
        return [
            {"t": 100.0 * number, "image": base64.b64encode(picture).decode()}
            for number, picture in enumerate(pictures)
        ]

    @cached_property
    def sent(self):
        """A code that was sent to the address, as the outbox holds it."""
        self.call("POST", "/identifiers/email/verification", {})
        with self.world.container.store.transaction(read=True) as tx:
            query = tx.query(Outgoing).filter(
                Outgoing.subject_id == UUID(self.id), Outgoing.kind == "identifier.verification"
            )
            (payload,) = [orjson.loads(row.payload) for row in query]
        return payload["code"]

    def _confirmed(self, made):
        answer = self.world.ask(self.confirming(made, self.code(made, -1)))
        assert answer.status == 200, answer
        return made


def named(request, name):
    """Return a request under a name of its own."""
    return replace(request, name=name)
