"""What may have happened before a test: each returns what it left, by the name of a fixture."""

from typing import Any


def nothing(_service) -> dict[str, Any]:
    """Leave it at the first client."""
    return {}


def registered(service) -> dict[str, Any]:
    """Register somebody with a password, TOTP and recovery codes."""
    return {"person": service.register()}


def appointed(service) -> dict[str, Any]:
    """Make two people security officers; what is left is their tokens for the API."""
    first, tokens = service.sign_up("ada")
    with service.container.store.transaction() as tx:
        links = service.container.operators.break_glass.bootstrap(tx)
    second, others = service.sign_up("grace")
    for person, theirs, token in ((first, tokens, links[0]), (second, others, links[1])):
        body = {"token": token, "access_token": theirs["access_token"]}
        made = service.call("POST", "/v1/operators/bootstrap", body)
        assert made.json == {"subject": person.id, "roles": ["security_officer"]}
    return {"officers": (service.operator_token(tokens), service.operator_token(others))}


def both(service) -> dict[str, Any]:
    """Register somebody, and make two others officers."""
    return registered(service) | appointed(service)
