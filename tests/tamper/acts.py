"""Edits of rows by SQL alone, and what would be won by them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from tests.functional.conftest import PASSWORD
from tests.tamper.world import World, forged


@dataclass(frozen=True)
class Edit:
    """One edit.

    Args:
        kind: insert, edit, move, delete or roll back.
        table: Where.
        what: What it is to bring about.
        do: Does it by SQL alone.
        use: Tries to make use of it; True where the service refuses. None where only the log tells.
    """

    kind: str
    table: str
    what: str
    do: Callable[[World], object]
    use: Callable[[World], bool] | None = None


def client(world, credentials, secret=None):
    user, known = credentials
    answer = world.service.oauth("token", (user, secret or known), grant_type="client_credentials")
    return answer.status_code != 200


def plain(world):
    return client(world, world.names["plain_secret"], world.names["new_secret"])


def gone(world):
    return client(world, world.names["gone_secret"])


def refreshed(world, token=None):
    token = token or world.names["refresh"]
    answer = world.service.oauth("token", grant_type="refresh_token", refresh_token=token)
    return answer.status_code != 200


def exchanged(world, code):
    return world.service.exchange(code).status_code != 200


def granted(world, grant=None, subject="alice"):
    person = world.names["people"][subject]
    answer = world.service.enroll(person, "totp", grant=grant or world.names["grant"])
    return answer.status_code != 201


def signs_in(world, name):
    """Tell whether a password flow of somebody is refused at its first factor."""
    flow = world.service.begin(name)
    if flow.status_code != 201:
        return True
    answer = world.service.act(flow.json, "password", {"password": PASSWORD})
    return answer.status_code != 200


def recovered(world):
    """Tell whether the code of a recovery that was stopped is refused."""
    flow = world.service.begin("alice", "recovery").json
    body = {"code": world.names["desk_code"]}
    return world.service.act(flow, "help_desk", body).status_code != 200


def operates(world, name):
    with world.service.container.store.transaction(read=True) as tx:
        return not world.service.container.operators.roles.scopes(tx, world.names[name])


def consents(world):
    container = world.service.container
    with container.store.transaction(read=True) as tx:
        return not container.accounts.consents.active(tx, world.names["alice"], "face")


def enrolled(world, kind, subject):
    container = world.service.container
    with container.store.transaction(read=True) as tx:
        return kind not in container.authenticators.enrolled(tx, world.names[subject])


def used_again(world):
    container = world.service.container
    from service.domain.errors import RowRefused

    try:
        with container.store.transaction() as tx:
            return not container.authenticators.use_code(tx, world.names["used_code"])
    except RowRefused:
        return True


def approved(world):
    from service.domain.caller import Caller
    from service.domain.errors import LaminaError

    container, names = world.service.container, world.names
    try:
        with container.store.transaction() as tx:
            container.operators.consume(
                tx,
                Caller(client=UUID(int=9), scopes=frozenset(), operator=names["ada"]),
                number=names["approval"],
                act="clients.scopes",
                target=str(names["plain"]),
                params={"scopes": "introspect"},
            )
    except LaminaError:
        return True
    return False


def bootstraps(world, token):
    from service.domain.errors import LaminaError

    try:
        with world.service.container.store.transaction() as tx:
            world.service.container.operators.break_glass.begin(tx, world.names["mallory"], token)
    except LaminaError:
        return True
    return False


def of(name, key="id"):
    """Return the condition that finds a row of the world."""
    return lambda world: {key: world.names[name]}


def put(table, which, **values):
    def do(world):
        known = {name: value(world) if callable(value) else value for name, value in values.items()}
        world.put(table, which(world), **known)

    return do


def instead(table, gone, which, **values):
    """Put a row in the place of another, which a unique index would not let stand beside it."""

    def do(world):
        world.drop(table, gone(world))
        put(table, which, **values)(world)

    return do


def drop(table, which):
    return lambda world: world.drop(table, which(world))


def back(table, which):
    return lambda world: world.back(table, which(world))


def copy(table, which, **values):
    def do(world):
        known = {name: value(world) if callable(value) else value for name, value in values.items()}
        world.copy(table, which(world), **known)

    return do


def now(world):
    return world.service.clock.now()


def named(name):
    return lambda world: world.names[name]


def new(_world):
    return uuid4()


def code_row(world):
    return {"session_id": world.names["code_row"]}


def method(subject, kind):
    return lambda world: {"subject_id": world.names[subject], "type": kind}


def step(world):
    found = world.latest("authenticator", subject_id=world.names["alice"], type="totp")
    return {"authenticator_id": found.id}


def forging(table, which, purpose, name, **more):
    """Insert a row whose digest is that of a token the attacker chose."""

    def do(world):
        world.names[name], digest = forged(purpose)
        later = {"expires_at": now(world).replace(year=2030), "used_at": None}
        known = {key: value(world) for key, value in more.items()}
        world.copy(table, which(world), **{"digest": digest, **later, **known})

    return do


def bootstrap(world):
    """Insert a bootstrap token whose token the attacker chose, and take away the operators."""
    from sqlalchemy import insert

    from tests.tamper.world import TABLES

    world.names["lboot"], digest = forged("bootstrap")
    with world.engine.begin() as db:
        later = now(world).replace(year=2030)
        values = {"digest": digest, "round": 1, "seat": 1, "expires_at": later}
        db.execute(insert(TABLES["bootstrap_token"]).values(**values))
    world.drop("operator_role", {"role": "security_officer"})


def bucket(world):
    return {"id": world.names["bucket"]}


def later(world):
    return now(world) + timedelta(minutes=30)


def long_ago(world):
    return now(world) - timedelta(days=1)


def then(edit, act):
    """Edit, and let the service change the same row afterwards: what it finds is told too."""

    def do(world):
        edit(world)
        act(world)

    return do


def fail(world):
    """Show a wrong password once more."""
    flow = world.service.begin("mallory").json
    wrong = world.service.act(flow, "password", {"password": "not the right one"})
    assert wrong.status_code == 422, wrong.json


def limit(world):
    return {"id": world.names["limit"]}


def flow_id(world):
    from uuid import UUID

    return UUID(world.names["flow"]["id"])
