"""Rules of roles: the scopes of each role, and the acts that need two operators. Pure."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from service.domain import figures, scopes
from service.domain.assurance import Acr
from service.domain.errors import BadInput, Fault
from service.domain.ids import parse_id


class Role(StrEnum):
    """A role of an operator; each grants a fixed set of scopes."""

    OPERATOR = "operator"
    SECURITY_OFFICER = "security_officer"
    AUDITOR = "auditor"


_RUN: Final = frozenset(
    {"keys:admin", "clients:admin", "policy:write", "policy:read", "subjects:list"}
)
_DESK: Final = frozenset({"subjects:recover"})
_SCOPES: Final = {
    Role.OPERATOR: _RUN | _DESK,
    Role.SECURITY_OFFICER: _RUN
    | _DESK
    | {"operators:admin", "subjects:erase", "subjects:export", "audit:read"},
    Role.AUDITOR: frozenset({"audit:read", "policy:read"}),
}
ADMIN_SCOPES: Final = frozenset(scopes.OPERATOR)
"""Scopes that only operators hold; no client is ever registered with one."""
RECOVER: Final = "subject.recover"
ACTS: Final = {
    "keys.destroy": "keys:admin",
    "keys.export": "keys:admin",
    "operators.grant": "operators:admin",
    "operators.revoke": "operators:admin",
    "clients.scopes": "clients:admin",
    "clients.jwks": "clients:admin",
    "clients.secret": "clients:admin",
    "webhooks.add": "clients:admin",
    "webhooks.secret": "clients:admin",
    "policy.activate": "policy:write",
    "subjects.export": "subjects:export",
    RECOVER: "subjects:recover",
}
"""The acts that need two operators, with the scope that each of the two must hold."""
_OF_AN_ID: Final = frozenset(
    {act for act in ACTS if act.startswith(("operators.", "clients."))}
    | {"webhooks.secret", "subjects.export", RECOVER}
)
"""The acts whose target is an id."""
_WORDS: Final = {
    "operators.grant": ("role",),
    "operators.revoke": ("role",),
    "clients.scopes": ("scopes",),
    "webhooks.add": ("host", "kinds", "client"),
    RECOVER: ("act",),
}
_FIGURES: Final = {
    "keys.destroy": {"grace_days": figures.GRACE_DAYS},
    "keys.export": {"days": figures.EXPORT_DAYS},
    "clients.jwks": {"overlap": figures.OVERLAP},
    "clients.secret": {"overlap": figures.OVERLAP},
    "webhooks.secret": {"overlap": figures.WEBHOOK_OVERLAP},
    "policy.activate": {"ramp": figures.RAMP, "expires_in": figures.TIGHTEN_LIFE},
}
"""The integer parameters of each act, with their defaults."""
BREAK_GLASS: Final = "break_glass"
"""The actor of acts from the host, without a second operator."""
_DIGITS: Final = 10
APPROVAL_LIFE: Final = timedelta(hours=24)
BOOTSTRAP_LIFE: Final = timedelta(hours=24)
QUORUM: Final = 2
"""How many operators must agree on an act; fewer first operators could do nothing."""
MOST_FIRST: Final = 3
_ACTOR: Final = "operator:"


def operator_named(actor: str) -> UUID | None:
    """Return the id of the operator that an actor name refers to; None for other actors."""
    return UUID(actor.removeprefix(_ACTOR)) if actor.startswith(_ACTOR) else None


def actor_of(subject: UUID) -> str:
    """Return the actor name of a subject who acts as an operator."""
    return f"{_ACTOR}{subject}"


def acts_within(scopes: Iterable[str]) -> list[str]:
    """Return the two-person acts that need one of some scopes."""
    wanted = frozenset(scopes)
    return [act for act, scope in ACTS.items() if scope in wanted]


def canonical(act: str, target: str) -> str:
    """Return a target as the service writes it: an id has several spellings (RFC 9562).

    Whoever looks up the acts on a subject, such as its export, finds it under one of them only.
    """
    number = parse_id(target) if act in _OF_AN_ID else None
    return str(number) if number else target


def agreed(act: str, target: str, given: Mapping[str, object]) -> dict[str, str]:
    """Return the parameters that an approval covers, with defaults filled in.

    Raises:
        BadInput: A parameter is unknown to this act, or not a whole number where one is needed.
    """
    usual = _FIGURES.get(act, {})
    if act == "policy.activate" and not target.startswith(figures.LOOSENING):
        usual = {}
    known = {*usual, *_WORDS.get(act, ())}
    if set(given) - known:
        detail = f"has an unknown member; known: {' '.join(sorted(known)) or 'none'}"
        raise BadInput(Fault("/params", "unknown_param", detail))
    found = {name: str(number) for name, number in usual.items()}
    for name, value in given.items():
        text = str(value)
        if name not in usual:
            found[name] = text
        elif text.isascii() and text.isdecimal() and len(text) <= _DIGITS:
            found[name] = str(int(text))
        else:
            raise BadInput(Fault(f"/params/{name}", "bad_number", "must be a whole number"))
    return found


def scopes_of(roles: Iterable[str]) -> frozenset[str]:
    """Return all scopes that roles grant."""
    return frozenset[str]().union(*(_SCOPES[Role(role)] for role in roles))


def required(*, development: bool) -> Acr:
    """Return the level an operator must be signed in at: phishing-resistant outside development."""
    return Acr.AAL2 if development else Acr.AAL2_PHR
