"""A builder of requests for each operation that changes something of a subject."""

from uuid import UUID

from service.tokens.model import FLOW_GRANT
from tests.functional.conftest import CONSENT
from tests.races import acts_of_flows  # noqa: F401 - registers its acts
from tests.races.acts import ACTS, act, simple
from tests.races.people import OTHER_PASSWORD, named
from tests.races.processes import Request

MUTATING = frozenset({"POST", "PATCH", "DELETE", "PUT"})
_ONE = "/v1/subjects/{subject}"
_AUTHENTICATOR = f"{_ONE}/authenticators/{{authenticator}}"
NOT_OF_A_SUBJECT = {
    "/v1/keys/": "keys are the service's, and operators' acts are one at a time",
    "/v1/policies": "a policy is the service's",
    "/v1/risk-parameters": "a parameter is the service's",
    "/v1/approvals": "an approval is of operators; tests/races/test_once.py races it",
    "/v1/clients": "a client is of operators, and two of them agree on each act",
    "/v1/webhooks": "a webhook is of operators; test_webhook_routes.py races the bound",
    "/v1/operators": "roles are of operators; tests of operators race them",
}
"""Beginnings of paths that concern no subject, and why."""


def _other(person):
    return f"{person.name}-other"


# ------------------------------------------------------------------ accounts
simple(
    "POST",
    "/v1/subjects",
    "identifiers",
    "register",
    lambda p: p.world.request("POST", "/v1/subjects", {"identifiers": {"username": _other(p)}}),
    most=1,
)
simple(
    "POST",
    "/v1/subjects/lookup",
    "identifiers",
    "lookup",
    lambda p: p.world.request("POST", "/v1/subjects/lookup", {"identifier": _other(p)}),
)
simple(
    "PATCH",
    _ONE,
    "identifiers",
    "rename",
    lambda p: p.request("PATCH", "", {"identifiers": {"username": _other(p)}}),
)
simple(
    "PATCH",
    _ONE,
    "identifiers",
    "rename back",
    lambda p: p.request("PATCH", "", {"identifiers": {"username": p.name}}),
)
simple(
    "PATCH",
    _ONE,
    "identifiers",
    "another address",
    lambda p: p.request("PATCH", "", {"identifiers": {"email": f"{p.name}@example.org"}}),
)
simple(
    "PATCH",
    _ONE,
    "identifiers",
    "profile",
    lambda p: p.request("PATCH", "", {"profile": {"name": "Alice"}}),
)
_VERIFICATION = f"{_ONE}/identifiers/{{name}}/verification"
simple(
    "POST",
    _VERIFICATION,
    "verification",
    "send code",
    lambda p: p.request("POST", "/identifiers/email/verification", {}),
)


@act("POST", _VERIFICATION, "verification", "right code", most=1)
def _right_code(person):
    code = person.sent
    return lambda: person.request("POST", "/identifiers/email/verification", {"code": code})


@act("POST", _VERIFICATION, "verification", "wrong code", guesses="verification")
def _wrong_code(person):
    code = person.sent
    other = f"{(int(code) + 1) % 10**8:08d}"
    return lambda: person.request("POST", "/identifiers/email/verification", {"code": other})


@act("PATCH", _ONE, "grants", "rename by a grant", most=1)
def _granted_change(person):
    grant = person.world.grant(person.id, "change:identifier")
    body = {"identifiers": {"username": _other(person)}}
    return lambda: person.request("PATCH", "", body, Grant=grant)


# ------------------------------------------------------------------ consents, suspensions
for _purpose in ("face", "behavior"):
    simple(
        "POST",
        f"{_ONE}/consents",
        "consents",
        f"consent to {_purpose}",
        lambda p, purpose=_purpose: p.request("POST", "/consents", CONSENT | {"purpose": purpose}),
    )
    simple(
        "DELETE",
        f"{_ONE}/consents/{{purpose}}",
        "consents",
        f"withdraw {_purpose}",
        lambda p, purpose=_purpose: p.request("DELETE", f"/consents/{purpose}"),
    )
simple(
    "POST",
    f"{_ONE}/suspensions",
    "suspensions",
    "suspend",
    lambda p: p.request("POST", "/suspensions", {"capability": "login", "reason": "fraud"}),
)
simple(
    "DELETE",
    f"{_ONE}/suspensions/{{capability}}",
    "suspensions",
    "lift",
    lambda p: p.request("DELETE", "/suspensions/login"),
)


@act("DELETE", f"{_ONE}/risk", "suspensions", "clear risk", most=1)
def _clear_risk(person):
    assert person.risk
    return lambda: person.request("DELETE", "/risk")


# ------------------------------------------------------------------ authenticators
for _kind, _body in {
    "password": {"type": "password", "password": OTHER_PASSWORD},
    "totp": {"type": "totp"},
    "recovery_codes": {"type": "recovery_codes"},
    "face": {"type": "face"},
}.items():
    simple(
        "POST",
        f"{_ONE}/authenticators",
        "authenticators",
        f"enroll {_kind}",
        lambda p, body=_body: p.request("POST", "/authenticators", body),
    )


@act("POST", f"{_ONE}/authenticators", "grants", "enroll by a grant", most=1)
def _granted_enrollment(person):
    grant = person.world.grant(person.id, "enroll:totp")
    return lambda: person.request("POST", "/authenticators", {"type": "totp"}, Grant=grant)


@act("POST", f"{_AUTHENTICATOR}/confirm", "authenticators", "confirm totp", most=2)
def _confirm(person):
    made = person.pendings
    turns = iter(range(10**6))
    codes = [person.code(one) for one in made]

    def build():
        number = next(turns) % 2
        return person.confirming(made[number], codes[number])

    return build


@act(
    "POST",
    f"{_AUTHENTICATOR}/confirm",
    "authenticators",
    "confirm totp wrongly",
    guesses="attempts",
)
def _confirm_wrongly(person):
    made = person.pendings[0]
    code = person.wrong(made)
    return lambda: person.confirming(made, code)


@act("POST", f"{_AUTHENTICATOR}/confirm", "consents", "confirm face", most=1)
def _confirm_face(person):
    assert person.pending_face
    return person.confirming_face


@act("DELETE", _AUTHENTICATOR, "authenticators", "revoke totp", most=1)
def _revoke(person):
    made = person.totp
    return lambda: person.request("DELETE", f"/authenticators/{made['id']}")


@act("DELETE", _AUTHENTICATOR, "authenticators", "revoke codes", most=1)
def _revoke_codes(person):
    assert person.codes
    return lambda: person.request("DELETE", f"/authenticators/{person.codes_id}")


@act("POST", f"{_ONE}/face/score", "consents", "score a face")
def _score_face(person):
    assert person.face
    return lambda: person.request("POST", "/face/score", {"frames": person.frames(1)})


# ------------------------------------------------------------------ behavior
simple(
    "POST",
    f"{_ONE}/behavior/score",
    "behavior",
    "score typing",
    lambda p: p.request("POST", "/behavior/score", {"behavior": p.sample()}),
)
simple(
    "POST",
    f"{_ONE}/behavior/samples",
    "behavior",
    "import typing",
    lambda p: p.request("POST", "/behavior/samples", {"samples": [p.sample()]}),
)
simple(
    "DELETE",
    f"{_ONE}/behavior",
    "behavior",
    "forget typing",
    lambda p: p.request("DELETE", "/behavior"),
)


@act("POST", f"{_ONE}/behavior/samples", "behavior", "import typing by a grant", most=1)
def _granted_import(person):
    grant = person.world.grant(person.id, "change:behavior")
    assert person.totp
    assert person.profile
    return lambda: person.request(
        "POST", "/behavior/samples", {"samples": [person.sample()]}, Grant=grant
    )


# ------------------------------------------------------------------ sessions and tokens
@act("DELETE", f"{_ONE}/sessions", "sessions", "end sessions")
def _end_sessions(person):
    assert person.session
    return lambda: person.request("DELETE", "/sessions")


@act("DELETE", f"{_ONE}/sessions/{{session}}", "sessions", "end one session", most=1)
def _end_session(person):
    assert person.session
    return lambda: person.request("DELETE", f"/sessions/{person.number}")


@act("POST", "/oauth2/token", "sessions", "exchange a code", most=1)
def _exchange(person):
    form = {"grant_type": FLOW_GRANT, "code": person.completed()["completion_code"]}
    return lambda: person.world.form("token", **form)


@act("POST", "/oauth2/token", "sessions", "refresh")
def _refresh(person):
    form = {"grant_type": "refresh_token", "refresh_token": person.session["refresh_token"]}
    return lambda: person.world.form("token", **form)


@act("POST", "/oauth2/introspect", "sessions", "introspect")
def _introspect(person):
    token = person.session["access_token"]
    return lambda: person.world.form("introspect", token=token)


@act("POST", "/oauth2/revoke", "sessions", "revoke a token")
def _revoke_token(person):
    token = person.session["refresh_token"]
    return lambda: person.world.form("revoke", token=token)


@act("POST", "/v1/flows", "sessions", "step up")
def _step_up(person):
    body = {"kind": "step_up", "access_token": person.session["access_token"]}
    return lambda: person.world.request("POST", "/v1/flows", body)


@act("POST", "/v1/flows", "sessions", "begin an enrollment")
def _begin_enrollment(person):
    body = {
        "kind": "enrollment",
        "access_token": person.session["access_token"],
        "act": "enroll:totp",
    }
    return lambda: person.world.request("POST", "/v1/flows", body)


# ------------------------------------------------------------------ privacy
simple("DELETE", _ONE, "privacy", "erase", lambda p: p.request("DELETE"), most=1)
simple(
    "HOST",
    "subjects hold",
    "privacy",
    "legal hold",
    lambda p: Request("HOST", "subjects hold", UUID(p.id)),
)


@act("POST", f"{_ONE}/export", "privacy", "export", most=1)
def _export(person):
    grant = person.world.grant(person.id, "export:data")
    return lambda: person.request("POST", "/export", Grant=grant)


def requests(person, *names):
    """Return the requests of each act, in turn; all that they need is made first."""
    builds = {name: ACTS[name].build(person) for name in names}
    return [named(builds[name](), name) for _ in range(person.count) for name in names]
