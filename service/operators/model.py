"""Which role may do what, and which acts take two people. Pure."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from service.domain import figures
from service.domain.assurance import Acr
from service.domain.errors import BadInput, Fault


class Role(StrEnum):
    """What an operator is trusted with."""

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
ADMIN_SCOPES: Final = frozenset(
    {
        "audit:read",
        "keys:admin",
        "clients:admin",
        "policy:write",
        "operators:admin",
        "subjects:list",
        "subjects:recover",
    }
)
"""What only operators hold; no client is ever registered with one."""
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
"""The acts that take two people, and the scope that either of them needs."""
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
"""What is a whole number in the parameters of an act, and what it is where it is not said."""
_DIGITS: Final = 10
APPROVAL_LIFE: Final = timedelta(hours=24)
BOOTSTRAP_LIFE: Final = timedelta(hours=24)
QUORUM: Final = 2
"""How many it takes to agree on anything, so that fewer are no beginning."""
MOST_FIRST: Final = 3
_ACTOR: Final = "operator:"


def operator_named(actor: str) -> UUID | None:
    """Return the operator that a stored request names, None where it names nobody of them."""
    return UUID(actor.removeprefix(_ACTOR)) if actor.startswith(_ACTOR) else None


def actor_of(subject: UUID) -> str:
    """Return the name under which a subject acts as an operator."""
    return f"{_ACTOR}{subject}"


def acts_within(scopes: Iterable[str]) -> list[str]:
    """Return the acts of two people that need one of some scopes."""
    wanted = frozenset(scopes)
    return [act for act, scope in ACTS.items() if scope in wanted]


def agreed(act: str, target: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Return all that an approval covers beside its target: what is not said is as usual.

    Raises:
        BadInput: A parameter is none of this act, or no whole number where it must be one.
    """
    usual = _FIGURES.get(act, {})
    if act == "policy.activate" and not target.startswith(figures.LOOSENING):
        usual = {}
    known = {*usual, *_WORDS.get(act, ())}
    if set(given) - known:
        detail = f"has a member that is not known; known: {' '.join(sorted(known)) or 'none'}"
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
    """Return everything that roles allow."""
    return frozenset[str]().union(*(_SCOPES[Role(role)] for role in roles))


def required(*, development: bool) -> Acr:
    """Return the level an operator must be signed in at: phishing-resistant outside development."""
    return Acr.AAL2 if development else Acr.AAL2_PHR
