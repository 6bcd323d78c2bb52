"""What somebody would write into the database, and where it would be of use."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from service.clients.model import SCOPES
from tests.functional.conftest import PASSWORD
from tests.tamper.world import World, forged, guess


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
        return not world.service.container.operators.scopes(tx, world.names[name])


def consents(world):
    container = world.service.container
    with container.store.transaction(read=True) as tx:
        return not container.accounts.consented(tx, world.names["alice"], "face")


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
                Caller(UUID(int=9), frozenset(), operator=names["ada"]),
                names["approval"],
                "clients.scopes",
                str(names["plain"]),
                {"scopes": "introspect"},
            )
    except LaminaError:
        return True
    return False


def bootstraps(world, token):
    from service.domain.errors import LaminaError

    try:
        with world.service.container.store.transaction() as tx:
            world.service.container.operators.begin(tx, world.names["mallory"], token)
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


EDITS = [
    Edit(
        "edit", "client", "scopes widened", put("client", of("plain"), scopes=sorted(SCOPES)), plain
    ),
    Edit(
        "edit", "client", "a key of its own", put("client", of("plain"), jwks={"keys": []}), plain
    ),
    Edit("edit", "client", "revoked made active", put("client", of("gone"), status="active"), gone),
    Edit("roll back", "client", "revocation undone", back("client", of("gone"))),
    Edit(
        "edit",
        "client",
        "an old secret counts for years",
        put("client", of("plain"), old_secret_until=lambda world: now(world).replace(year=2030)),
        plain,
    ),
    Edit(
        "edit",
        "client",
        "an old key of its own counts",
        put(
            "client",
            of("plain"),
            old_jwks={"keys": []},
            old_jwks_until=lambda world: now(world).replace(year=2030),
        ),
        plain,
    ),
    Edit("edit", "client", "made first-party", put("client", of("plain"), first_party=True), plain),
    Edit(
        "edit",
        "client",
        "may assert context",
        put("client", of("plain"), asserts_context=True),
        plain,
    ),
    Edit(
        "edit",
        "client",
        "serves another segment",
        put("client", of("plain"), segments=["vip"]),
        plain,
    ),
    Edit(
        "insert",
        "client",
        "a client of the attacker's",
        copy("client", of("plain"), id=new, name="evil"),
    ),
    Edit("delete", "client", "its revocation unseen", drop("client", of("gone"))),
    Edit(
        "insert",
        "operator_role",
        "mallory operates",
        copy("operator_role", of("ada", "subject_id"), subject_id=named("mallory")),
        lambda world: operates(world, "mallory"),
    ),
    Edit(
        "move",
        "operator_role",
        "ada's role to mallory",
        put("operator_role", of("ada", "subject_id"), subject_id=named("mallory")),
        lambda world: operates(world, "mallory"),
    ),
    Edit("delete", "operator_role", "no operators", drop("operator_role", of("ada", "subject_id"))),
    Edit(
        "edit",
        "approval",
        "a rejected act approved",
        put("approval", of("approval"), status="approved"),
        approved,
    ),
    Edit(
        "edit",
        "approval",
        "another act than was asked for",
        put("approval", of("approval"), params={"scopes": "subjects:erase"}),
    ),
    Edit("roll back", "approval", "undecided again", back("approval", of("approval"))),
    Edit(
        "edit",
        "subject_recovery",
        "a stopped one is good again",
        put("subject_recovery", of("recovery"), status="sent"),
        recovered,
    ),
    Edit(
        "edit",
        "subject_recovery",
        "for another act",
        put("subject_recovery", of("recovery"), act="enroll:totp"),
    ),
    Edit(
        "move",
        "subject_recovery",
        "from alice to mallory",
        put("subject_recovery", of("recovery"), subject_id=named("mallory")),
    ),
    Edit("roll back", "subject_recovery", "sent again", back("subject_recovery", of("recovery"))),
    Edit("delete", "subject_recovery", "unseen", drop("subject_recovery", of("recovery"))),
    Edit(
        "insert",
        "bootstrap_token",
        "a token of the attacker's choice",
        bootstrap,
        lambda world: bootstraps(world, world.names["lboot"]),
    ),
    Edit("delete", "suspension", "may sign in again", drop("suspension", of("bob", "subject_id"))),
    Edit(
        "edit",
        "suspension",
        "of another capability",
        put("suspension", of("bob", "subject_id"), capability="transfers"),
    ),
    Edit(
        "move",
        "suspension",
        "from bob to alice",
        put("suspension", of("bob", "subject_id"), subject_id=named("alice")),
    ),
    Edit(
        "edit",
        "session",
        "revocation cleared",
        put("session", of("session"), revoked_at=None),
        refreshed,
    ),
    Edit("roll back", "session", "in force again", back("session", of("session"))),
    Edit(
        "edit",
        "session",
        "lasts for years",
        put("session", of("session"), expires_at=lambda world: now(world).replace(year=2030)),
        refreshed,
    ),
    Edit(
        "edit",
        "session",
        "came into force at another time",
        put("session", of("session"), revoked_at=None, taken_up_at=now),
        refreshed,
    ),
    Edit(
        "edit",
        "session",
        "in the place of another",
        put("session", of("session"), replaces=named("code_row")),
    ),
    Edit(
        "move",
        "session",
        "of ada given to mallory",
        put("session", of("session"), subject_id=named("mallory"), revoked_at=None),
        refreshed,
    ),
    Edit("insert", "session", "one more of ada", copy("session", of("session"), id=new)),
    Edit(
        "insert",
        "completion_code",
        "a code of the attacker's choice",
        forging("completion_code", code_row, "completion", "forged"),
        lambda world: exchanged(world, world.names["forged"]),
    ),
    Edit(
        "edit",
        "completion_code",
        "used once more",
        put("completion_code", code_row, used_at=None),
        lambda world: exchanged(world, world.names["code"]),
    ),
    Edit("roll back", "completion_code", "not used yet", back("completion_code", code_row)),
    Edit(
        "insert",
        "grant",
        "a grant of the attacker's choice",
        forging("grant", of("grant_row"), "grant", "forged", id=new),
        lambda world: granted(world, world.names["forged"]),
    ),
    Edit("edit", "grant", "used once more", put("grant", of("grant_row"), used_at=None), granted),
    Edit(
        "move",
        "grant",
        "for another subject",
        put("grant", of("grant_row"), used_at=None, subject_id=named("mallory")),
        lambda world: granted(world, subject="mallory"),
    ),
    Edit("roll back", "grant", "not used yet", back("grant", of("grant_row"))),
    Edit(
        "insert",
        "refresh_token",
        "a token of the attacker's choice",
        forging("refresh_token", of("refresh_row"), "refresh", "forged", id=new),
        lambda world: refreshed(world, world.names["forged"]),
    ),
    Edit(
        "move",
        "refresh_token",
        "of another session",
        put("refresh_token", of("refresh_row"), session_id=named("code_row")),
        refreshed,
    ),
    Edit(
        "move",
        "grant",
        "of another session",
        put("grant", of("grant_row"), used_at=None, session_id=None),
        granted,
    ),
    Edit(
        "move",
        "authenticator",
        "begun by another client",
        put("authenticator", method("bob", "totp"), begun_by=named("plain")),
    ),
    Edit(
        "edit",
        "authenticator",
        "revoked",
        put("authenticator", method("bob", "totp"), status="revoked"),
    ),
    Edit(
        "edit",
        "authenticator",
        "confirmed long ago",
        put(
            "authenticator",
            method("bob", "totp"),
            confirmed_at=lambda world: now(world).replace(year=2020),
        ),
        lambda world: enrolled(world, "totp", "bob"),
    ),
    Edit(
        "move",
        "authenticator",
        "mallory's password for bob",
        instead(
            "authenticator",
            method("bob", "password"),
            method("mallory", "password"),
            subject_id=named("bob"),
        ),
        lambda world: enrolled(world, "password", "mallory"),
    ),
    Edit(
        "edit",
        "recovery_code",
        "used once more",
        put("recovery_code", of("used_code"), used_at=None),
        used_again,
    ),
    Edit("roll back", "recovery_code", "not used yet", back("recovery_code", of("used_code"))),
    Edit(
        "delete",
        "recovery_code",
        "nobody sees that it was used",
        drop("recovery_code", of("used_code")),
    ),
    Edit("delete", "totp_used_step", "a code is good again", drop("totp_used_step", step)),
    Edit(
        "edit",
        "subject",
        "of another segment",
        put("subject", of("alice"), segment="vip"),
        lambda world: signs_in(world, "alice"),
    ),
    Edit(
        "edit",
        "subject",
        "never signed in",
        put("subject", of("alice"), first_login_at=None),
        lambda world: signs_in(world, "alice"),
    ),
    Edit(
        "edit",
        "subject_index",
        "proven at another time",
        put("subject_index", of("alice", "subject_id"), verified_at=now),
        lambda world: signs_in(world, "alice"),
    ),
    Edit(
        "edit",
        "subject_index",
        "of an older form, to be made anew",
        put("subject_index", of("alice", "subject_id"), form=0),
        lambda world: signs_in(world, "alice"),
    ),
    Edit(
        "move",
        "subject_index",
        "alice's name leads to mallory",
        instead(
            "subject_index",
            of("mallory", "subject_id"),
            of("alice", "subject_id"),
            subject_id=named("mallory"),
        ),
        lambda world: signs_in(world, "alice"),
    ),
    Edit(
        "insert",
        "subject_index",
        "one more name of mallory",
        copy(
            "subject_index",
            of("mallory", "subject_id"),
            id=new,
            field="email",
            digest=b"0123456789abcdef",
        ),
    ),
    Edit(
        "delete",
        "subject_index",
        "alice cannot be found",
        drop("subject_index", of("alice", "subject_id")),
        lambda world: signs_in(world, "alice"),
    ),
    Edit(
        "edit",
        "consent",
        "withdrawal undone",
        put("consent", of("consent"), withdrawn_at=None),
        consents,
    ),
    Edit(
        "insert",
        "consent",
        "a consent that nobody gave",
        copy("consent", of("consent"), id=new, withdrawn_at=None),
        consents,
    ),
    Edit("roll back", "consent", "in force again", back("consent", of("consent"))),
    Edit("roll back", "known_device", "an old token counts", back("known_device", of("device"))),
    Edit(
        "move",
        "known_device",
        "alice's device is mallory's",
        put("known_device", of("device"), subject_id=named("mallory")),
    ),
    Edit("delete", "legal_hold", "may be erased", drop("legal_hold", of("bob", "subject_id"))),
    Edit(
        "roll back",
        "flow",
        "a wrong password not counted",
        back("flow", lambda world: {"id": flow_id(world)}),
    ),
    Edit(
        "edit",
        "flow",
        "another's token opens it",
        put("flow", lambda world: {"id": flow_id(world)}, token_digest=b"x" * 32),
    ),
    Edit(
        "edit",
        "throttle",
        "failures forgotten",
        put("throttle", bucket, knowledge=0, total=0, locked_until=None),
    ),
    Edit("delete", "throttle", "never failed", drop("throttle", bucket)),
    Edit("roll back", "throttle", "as before the last failure", back("throttle", bucket)),
    Edit("move", "throttle", "another's failures", put("throttle", bucket, bucket="f" * 64)),
    Edit(
        "edit",
        "limit_count",
        "guesses of a code forgotten",
        put("limit_count", limit, times=0, next_at=now),
    ),
    Edit("edit", "limit_count", "the count ends sooner", put("limit_count", limit, ends_at=now)),
    Edit("delete", "limit_count", "no code guessed", drop("limit_count", limit)),
    Edit("roll back", "limit_count", "as before the last guess", back("limit_count", limit)),
    Edit("move", "limit_count", "another's guesses", put("limit_count", limit, bucket="f" * 64)),
    *(
        Edit(
            "edit",
            "limit_count",
            f"{what}, and another guess after it",
            then(put("limit_count", limit, **values), guess),
        )
        for what, values in (
            ("guesses forgotten", {"times": 0}),
            ("a wait shortened", {"next_at": now}),
            ("an end put off", {"ends_at": later}),
        )
    ),
    *(
        Edit(
            "edit",
            "throttle",
            f"{what}, and another failure after it",
            then(put("throttle", bucket, **values), fail),
        )
        for what, values in (
            ("failures forgotten", {"knowledge": 0, "total": 0}),
            ("total forgotten", {"total": 0}),
            ("faces forgotten", {"face": 3}),
            ("strict", {"strict": True}),
            ("an era before", {"era": 7}),
            ("used at another time", {"updated_at": later}),
            ("a wait that is over", {"locked_until": long_ago}),
        )
    ),
    Edit(
        "delete",
        "revoked_token",
        "a revoked access token is good",
        drop("revoked_token", lambda _world: {}),
    ),
    Edit(
        "delete",
        "subject_risk",
        "nothing is held against mallory",
        drop("subject_risk", of("mallory", "subject_id")),
    ),
    Edit(
        "edit",
        "policy_state",
        "an older policy",
        put("policy_state", lambda _world: {}, revision=99),
    ),
]


def flow_id(world):
    from uuid import UUID

    return UUID(world.names["flow"]["id"])
