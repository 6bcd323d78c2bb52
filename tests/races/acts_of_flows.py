"""Acts that begin, advance and end flows."""

from tests.functional.conftest import PASSWORD
from tests.races.acts import act, simple

_ACTION = "/v1/flows/{flow}/actions/{name}"


def _begin(person, kind="login"):
    body = {"kind": kind, "identifier": person.name}
    return person.world.request("POST", "/v1/flows", body)


simple("POST", "/v1/flows", "flows", "begin a login", _begin)
simple("POST", "/v1/flows", "flows", "begin a recovery", lambda p: _begin(p, "recovery"))


@act("DELETE", "/v1/flows/{flow}", "flows", "cancel a flow")
def _cancel(person):
    flow = _shared(person)
    path = f"/v1/flows/{flow['id']}"
    return lambda: person.world.request("DELETE", path, Flow_Token=flow["flow_token"])


def _shared(person):
    """Return the flow that several acts of a person meet in."""
    if "shared" not in vars(person):
        person.shared = person.proven()
    return person.shared


def _each(person, begin, name, body):
    """Return a builder of requests, each in a flow of its own."""
    flows = iter([begin() for _ in range(person.count)])
    return lambda: person.acting(next(flows), name, body())


@act("POST", _ACTION, "factors", "right password")
def _password(person):
    return _each(person, person.begin, "password", lambda: {"password": PASSWORD})


@act("POST", _ACTION, "factors", "wrong password", guesses="attempts")
def _wrong_password(person):
    return _each(person, person.begin, "password", lambda: {"password": "not the right one"})


@act("POST", _ACTION, "factors", "same totp", most=1)
def _totp(person):
    body = {"code": person.code(person.totp)}
    return _each(person, person.proven, "totp", lambda: body)


@act("POST", _ACTION, "factors", "wrong totp", guesses="attempts")
def _wrong_totp(person):
    body = {"code": person.wrong(person.totp)}
    return _each(person, person.proven, "totp", lambda: body)


@act("POST", _ACTION, "factors", "same recovery code", most=1)
def _recovery_code(person):
    body = {"code": person.codes.pop()}
    return _each(person, person.proven, "recovery_code", lambda: body)


@act("POST", _ACTION, "help desk", "same help desk code", most=1)
def _help_desk(person):
    body = {"code": person.desk_code}
    return _each(person, person.recovering, "help_desk", lambda: body)


@act("POST", _ACTION, "help desk", "wrong help desk code", guesses="attempts")
def _wrong_help_desk(person):
    assert person.desk_code
    body = {"code": "0000-0000-0000-0000"}
    return _each(person, person.recovering, "help_desk", lambda: body)


@act("POST", _ACTION, "flows", "complete one flow", most=1)
def _complete(person):
    flow, body = _shared(person), {"code": person.codes.pop()}
    return lambda: person.acting(flow, "recovery_code", body)


@act("POST", _ACTION, "flows", "go back in one flow")
def _back(person):
    flow = _shared(person)
    return lambda: person.acting(flow, "back", {})
