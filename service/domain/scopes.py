"""The scopes of access tokens, each described by a sentence for OpenAPI."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

CLIENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "subjects:read": "Read subjects, their consents, suspensions, authenticators and sessions.",
        "subjects:write": "Register subjects, and change identifiers and profiles.",
        "subjects:erase": "Erase subjects.",
        "subjects:export": "Export all personal data of a subject.",
        "authenticators:write": "Enroll, confirm and revoke authenticators.",
        "consents:write": "Record and withdraw consents.",
        "sessions:write": "End sessions.",
        "suspensions:write": "Suspend capabilities of a subject, and lift suspensions.",
        "flows:write": "Begin flows, act in them and cancel them.",
        "risk:read": "See the risk of a flow, and the values behind a behavior score.",
        "face:score": "Compare pictures with the stored face outside a flow.",
        "behavior:read": "Compare a sample with the stored behavior outside a flow.",
        "behavior:write": "Import samples of behavior, and forget the profile.",
        "policy:read": "Read policy documents and the live risk parameters.",
        "introspect": "Introspect tokens that were issued to the client.",
    }
)
"""Scopes that a client can be granted: a route requires each, or returns more because of it."""
OPERATOR: Final[Mapping[str, str]] = MappingProxyType(
    {
        "audit:read": "Read the audit log.",
        "keys:admin": "Manage the keys, and see jobs of others.",
        "clients:admin": "Manage clients and webhooks.",
        "policy:write": "Draft, activate and delete policies, and set the live risk parameters.",
        "operators:admin": "List operators, and agree on their roles.",
        "subjects:list": "List all subjects of the segments that the client serves.",
        "subjects:recover": "Agree on a code for a person who has lost every authenticator.",
    }
)
"""Scopes that only operators hold, by their roles; no client is ever registered with one."""
ALL: Final[Mapping[str, str]] = MappingProxyType({**CLIENT, **OPERATOR})
