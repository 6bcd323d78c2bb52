"""People, clients and operators in every state, and an attacker who can write the database."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, insert, select, update

from crypto import opaque
from service.accounts.actions.codes import GUESSES
from service.domain.ids import new_id
from service.operators.model import Role, actor_of
from service.policy import store as policy
from service.store.base import Base
from service.throttling.actions import Limits
from tests.functional.conftest import CONSENT, PASSWORD, Service
from tests.functional.desk import sent

TABLES = Base.metadata.tables


@dataclass
class World:
    """The service, what was done in it, and the attacker's hand on its tables."""

    service: Service
    names: dict = field(default_factory=dict)
    earlier: dict = field(default_factory=dict)
    today: dict = field(default_factory=dict)

    @property
    def engine(self):
        return self.service.container.store.engine

    def rows(self):
        """Return every row of every table."""
        with self.engine.connect() as db:
            return {
                name: [dict(row._mapping) for row in db.execute(select(table))]
                for name, table in TABLES.items()
            }

    def restore(self):
        """Put everything back as it is today."""
        with self.engine.begin() as db:
            for table in reversed(Base.metadata.sorted_tables):
                db.execute(delete(table))
            for table in Base.metadata.sorted_tables:
                if self.today[table.name]:
                    db.execute(insert(table), self.today[table.name])

    def _where(self, table, which):
        return [TABLES[table].c[name] == value for name, value in which.items()]

    def put(self, table, which, **values):
        """Edit a row."""
        with self.engine.begin() as db:
            statement = update(TABLES[table]).where(*self._where(table, which)).values(**values)
            assert db.execute(statement).rowcount >= 1, (table, which)

    def drop(self, table, which):
        """Delete a row."""
        with self.engine.begin() as db:
            statement = delete(TABLES[table]).where(*self._where(table, which))
            assert db.execute(statement).rowcount >= 1, (table, which)

    def copy(self, table, which, **values):
        """Insert a row like another."""
        with self.engine.begin() as db:
            row = db.execute(select(TABLES[table]).where(*self._where(table, which))).first()
            db.execute(insert(TABLES[table]).values(**{**row._mapping, **values}))

    def back(self, table, which):
        """Put a row back as it was earlier, its MAC too."""
        (row,) = [
            row
            for row in self.earlier[table]
            if all(row[name] == value for name, value in which.items())
        ]
        with self.engine.begin() as db:
            where = self._where(table, which)
            there = db.execute(update(TABLES[table]).where(*where).values(**row)).rowcount
            if not there:
                db.execute(insert(TABLES[table]).values(**row))

    def one(self, table, **which):
        """Return the one row that is so."""
        with self.engine.connect() as db:
            rows = db.execute(select(TABLES[table]).where(*self._where(table, which))).all()
        (row,) = rows
        return row

    def latest(self, table, **which):
        """Return the newest row that is so."""
        with self.engine.connect() as db:
            query = select(TABLES[table]).where(*self._where(table, which))
            return max(db.execute(query).all(), key=lambda row: row[0].bytes)


def forged(purpose):
    """Return a token of the attacker's choice with the digest that anybody can compute."""
    token = opaque.new_token("l_")
    return token, opaque.digest(token, purpose)


def build(service) -> World:
    """Make one of everything; the first half is what is rolled back to."""
    world = World(service)
    container, names = service.container, world.names
    names["shop"] = UUID(service.client_id)
    plain = service.new_client(name="plain", scopes=("introspect",), first_party=False)
    gone = service.new_client(name="gone")
    names["plain"], names["gone"] = UUID(plain[0]), UUID(gone[0])
    names["plain_secret"], names["gone_secret"] = plain, gone
    people = {
        name: service.register(name, consents=[CONSENT | {"purpose": "face"}])
        for name in ("alice", "mallory", "ada", "bob", "dora")
    }
    names |= {name: UUID(person.id) for name, person in people.items()}
    names["people"] = people
    _first(world, people)
    _recovery(world)
    world.earlier = world.rows()
    _second(world, people, gone)
    with container.store.transaction() as tx:
        container.audit.sequence(tx, 5000)
    world.today = world.rows()
    return world


def _first(world, people):
    service, container, names = world.service, world.service.container, world.names
    done = service.login(people["ada"])
    container.clock.advance(seconds=31)
    tokens = service.exchange(done["completion_code"]).json
    names["refresh"] = tokens["refresh_token"]
    names["session"] = world.latest("session", subject_id=names["ada"]).id
    names["refresh_row"] = world.latest("refresh_token", session_id=names["session"]).id
    done = service.login(people["alice"])
    names["device_token"] = done["device_token"]
    names["device"] = world.one("known_device", subject_id=names["alice"]).id
    names["code"] = done["completion_code"]
    names["code_row"] = world.latest("session", subject_id=names["alice"]).id
    names["flow"] = service.begin("mallory").json
    service.act(names["flow"], "password", {"password": "not the right one"})
    names["bucket"] = next(row["id"] for row in world.rows()["throttle"] if row["total"])
    with container.store.transaction() as tx:
        subject, client = names["alice"], names["shop"]
        session = names["code_row"]
        names["grant"] = container.authenticators.grants.issue(
            tx, subject, client=client, act="enroll:totp", session=session
        )
        for name in ("ada", "dora"):
            container.operators.roles.grant(tx, names[name], Role.SECURITY_OFFICER, "test")
        container.suspensions.suspend(
            tx, names["bob"], capability="login", reason="fraud", actor="test"
        )
        container.shredding.hold(
            tx,
            names["bob"],
            until=container.clock.now() + timedelta(days=400),
            reason="law",
            actor="test",
        )
    with container.store.transaction() as tx:
        officer = _officer(container, names["ada"])
        asked = container.operators.request(
            tx,
            officer,
            act="clients.scopes",
            target=str(names["plain"]),
            params={"scopes": "introspect"},
            reason="planned",
        )
        names["approval"] = UUID(asked["id"])
    guess(world)
    names["limit"] = world.one("limit_count")._mapping["id"]
    names["grant_row"] = world.one("grant", subject_id=names["alice"]).id
    names["consent"] = world.one("consent", subject_id=names["alice"]).id


def _recovery(world):
    """Have a code sent to alice, whose sign-in later stops the recovery."""
    container, names = world.service.container, world.names
    both = [actor_of(names[name]) for name in ("ada", "dora")]
    with container.store.transaction() as tx:
        names["recovery"], names["desk_code"] = sent(container, tx, names["alice"], both)


def guess(world):
    """Count a guess of a code that was sent to alice."""
    container = world.service.container
    with container.store.transaction() as tx:
        Limits(container.key_store.purpose_key, container.clock).take(tx, GUESSES, "alice")


def _officer(container, subject):
    from service.domain.caller import Caller
    from service.operators.model import ADMIN_SCOPES

    return Caller(client=UUID(int=9), scopes=frozenset(ADMIN_SCOPES), operator=subject)


def _second(world, people, gone):
    service, container, names = world.service, world.service.container, world.names
    container.clock.advance(seconds=31)
    service.exchange(names["code"])
    guess(world)
    service.act(names["flow"], "password", {"password": "not the right one"})
    with container.store.transaction() as tx:
        container.clients.revoke(tx, names["gone"])
        names["new_secret"] = container.clients.rotate_secret(tx, names["plain"])
        container.sessions.end(tx, names["session"], "test")
        account = container.accounts.get(tx, names["alice"])
        caller = _of(names["shop"])
        container.authenticators.grants.authorize(
            tx, caller, account, act="enroll:totp", grant=names["grant"]
        )
        container.accounts.consents.withdraw(tx, names["alice"], "face")
        container.operators.decide(
            tx, _officer(container, names["dora"]), names["approval"], approve=False
        )
    flow = service.begin("mallory").json
    service.act(flow, "password", {"password": PASSWORD})
    service.act(flow, "recovery_code", {"code": people["mallory"].codes[0]})
    names["used_code"] = next(
        row["id"]
        for row in world.rows()["recovery_code"]
        if row["subject_id"] == names["mallory"] and row["used_at"]
    )
    container.clock.advance(seconds=31)
    flow = service.begin("alice", context={"device_token": names["device_token"]}).json
    service.act(flow, "password", {"password": PASSWORD})
    service.act(flow, "totp", {"code": service.code(people["alice"])})
    flow = service.begin("mallory").json
    service.act(flow, "password", {"password": "not the right one"})
    service.oauth("revoke", token=service.access())
    with container.store.transaction() as tx:
        held = {"llr": -9.0, "reasons": []}
        policy.hold_risk(
            tx,
            number=new_id(container.clock.now()),
            subject=names["mallory"],
            content=held,
            now=container.clock.now(),
        )


def _of(client):
    from service.domain.caller import Caller

    return Caller(client=client, scopes=frozenset())
