"""A person with evidence of several ages, and what services ask about it."""

from uuid import UUID

NEW = "a wholly new pass phrase"


def signed_in(service, person):
    """Return the tokens of a fresh session, and leave its code's step behind."""
    tokens = service.exchange(service.login(person)["completion_code"]).json
    later(service, seconds=31)
    return tokens


def later(service, **amount):
    """Let time pass; the client's own token is renewed."""
    service.clock.advance(**amount)
    service.bearer = service.access()


def refresh(service, tokens):
    """Renew tokens."""
    return service.oauth("token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])


def active(service, tokens):
    """Tell whether an access token and a refresh token are in force."""
    return tuple(
        service.oauth("introspect", token=tokens[name]).json["active"]
        for name in ("access_token", "refresh_token")
    )


def acr(service, tokens):
    """Return the level that introspection tells."""
    return service.oauth("introspect", token=tokens["refresh_token"]).json.get("acr")


def step_up(service, tokens, **more):
    """Begin a step-up."""
    return service.begin(None, "step_up", access_token=tokens["access_token"], **more)


def enrollment(service, tokens, act):
    """Begin an enrollment."""
    return service.begin(None, "enrollment", access_token=tokens["access_token"], act=act)


def recognized(service, person, token):
    """Tell whether a device token is still good for its subject."""
    with service.container.store.transaction(read=True) as tx:
        return service.container.devices.recognize(tx, token, UUID(person.id)) is not None
