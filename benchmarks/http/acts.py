"""The operations of Lamina as its clients do them, each answer held to what proves it."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyotp

from benchmarks.http.connection import Answer, Connection
from benchmarks.http.target import PASSWORD, Operation, Wrong

SCOPES: Final = (
    "authenticators:write",
    "flows:write",
    "introspect",
    "subjects:read",
    "subjects:write",
)
"""The scopes of the client."""
_AAL2: Final = "urn:lamina:acr:aal2"
_FLOW_GRANT: Final = "urn:lamina:params:oauth:grant-type:flow"
_OK: Final = 200
_CREATED: Final = 201


def _held(answer: Answer, what: str, code: int = _OK, /, **proof: object) -> dict[str, Any]:
    """Return the content of an answer with a status and members; raises Wrong."""
    if answer.status != code:
        told = ""
        if answer.header("Content-Type").endswith("json"):
            found = answer.json()
            told = f" {found.get('code') or found.get('error')}: {found.get('detail')}"
        raise Wrong(f"{what}: {answer.status}{told}, not {code}")
    content: dict[str, Any] = answer.json()
    for name, value in proof.items():
        if content.get(name) != value:
            raise Wrong(f"{what}: {name} is not {value!r}")
    return content


def _claims(token: str) -> dict[str, Any]:
    """Return what a JWT says, its signature not verified."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims and signature
        raise Wrong("the access token is no JWT")
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    return claims


@dataclass(frozen=True)
class Person:
    """A person: how they sign in."""

    name: str
    subject: str
    secret: str


@dataclass
class Acts:
    """What a first-party client does.

    Args:
        client: Its identifier.
        secret: Its secret.
        now: The time of TOTP codes, in Unix seconds.
    """

    client: str
    secret: str = field(repr=False)
    now: Callable[[], float] = time.time
    persons: list[Person] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        pair = f"{self.client}:{self.secret}".encode()
        self._basic = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    @property
    def operations(self) -> Mapping[str, Operation]:
        """The operations, by name."""
        signed = self.sign_in
        return {
            "login": Operation(lambda at, who, _: self._run(at, who), code=True),
            "password": Operation(lambda at, who, _: self._begin(at, who)),
            "totp": Operation(self._totp, self._begin, code=True),
            "introspect": Operation(self._introspect, signed, lasting=True, code=True),
            "client_credentials": Operation(self._credentials, lasting=True),
            "refresh": Operation(self._refresh, signed, lasting=True, code=True),
            "sessions": Operation(self._sessions, signed, lasting=True, code=True),
            "healthz": Operation(self._healthz, lasting=True),
        }

    def enter(self, at: Connection) -> None:
        """Let later requests of a connection carry an access token of the client."""
        at.headers.pop("Authorization", None)
        token = self._credentials(at, 0, None)
        at.headers["Authorization"] = f"Bearer {token}"

    def make(self, at: Connection, number: int) -> Person:
        """Register a person with a password and a confirmed TOTP."""
        name = f"person{number}"
        body = {"identifiers": {"username": name}, "password": PASSWORD}
        made = _held(at.post("/v1/subjects", body), "subjects", _CREATED, status="active")
        place = f"/v1/subjects/{made['id']}/authenticators"
        added = _held(at.post(place, {"type": "totp"}), "enroll", _CREATED, status="pending")
        code = {"code": self._code(added["secret"])}
        confirm = at.post(f"{place}/{added['id']}/confirm", code)
        _held(confirm, "confirm", status="active")
        return Person(name, made["id"], added["secret"])

    def sign_in(self, at: Connection, who: int) -> dict[str, Any]:
        """Sign a person in; return the tokens."""
        flow = self._begin(at, who)
        done = self._totp(at, who, flow)
        form = {"grant_type": _FLOW_GRANT, "code": done["completion_code"]}
        tokens = _held(at.form("/oauth2/token", form, self._basic), "token", token_type="Bearer")
        claims = _claims(tokens["access_token"])
        if claims["sub"] != self.persons[who].subject or claims.get("acr") != _AAL2:
            raise Wrong("token: it is not of this person at AAL2")
        return {
            "access": tokens["access_token"],
            "refresh": tokens["refresh_token"],
            "session": claims["sid"],
        }

    def _run(self, at: Connection, who: int) -> None:
        self.sign_in(at, who)

    def _begin(self, at: Connection, who: int) -> dict[str, Any]:
        """Begin a flow by its first action, the password, as the API guide does."""
        act = {"name": "password", "input": {"password": PASSWORD}}
        body = {"kind": "login", "identifier": self.persons[who].name, "action": act}
        flow = _held(at.post("/v1/flows", body), "password", _CREATED, status="pending")
        if "totp" not in flow["actions"] or flow["assurance"]["achieved"]["amr"] != ["pwd"]:
            raise Wrong("password: it did not lead to the second layer")
        return {"id": flow["id"], "token": flow["flow_token"]}

    def _totp(self, at: Connection, who: int, flow: Mapping[str, str]) -> dict[str, Any]:
        code = {"code": self._code(self.persons[who].secret)}
        place = f"/v1/flows/{flow['id']}/actions/totp"
        answer = at.post(place, code, {"Flow-Token": flow["token"]})
        done = _held(answer, "totp", status="completed")
        if done["assurance"]["achieved"]["acr"] != _AAL2:
            raise Wrong("totp: it did not reach AAL2")
        return {"completion_code": done["completion_code"]}

    def _introspect(self, at: Connection, who: int, kept: Mapping[str, str]) -> Mapping[str, str]:
        answer = at.form("/oauth2/introspect", {"token": kept["access"]}, self._basic)
        found = _held(answer, "introspect", active=True, sid=kept["session"], acr=_AAL2)
        if found["sub"] != self.persons[who].subject:
            raise Wrong("introspect: it is not of this person")
        return kept

    def _credentials(self, at: Connection, _who: int, _kept: object) -> str:
        answer = at.form("/oauth2/token", {"grant_type": "client_credentials"}, self._basic)
        token = str(_held(answer, "client_credentials", token_type="Bearer")["access_token"])
        if _claims(token)["client_id"] != self.client:
            raise Wrong("client_credentials: the token is not of this client")
        return token

    def _refresh(self, at: Connection, who: int, kept: Mapping[str, str]) -> Mapping[str, str]:
        form = {"grant_type": "refresh_token", "refresh_token": kept["refresh"]}
        tokens = _held(at.form("/oauth2/token", form, self._basic), "refresh")
        claims = _claims(tokens["access_token"])
        same = (claims["sid"], claims["sub"]) == (kept["session"], self.persons[who].subject)
        if not same or tokens["refresh_token"] == kept["refresh"]:
            raise Wrong("refresh: it is not the next token of the session")
        return {**kept, "refresh": tokens["refresh_token"]}

    def _sessions(self, at: Connection, who: int, kept: Mapping[str, str]) -> Mapping[str, str]:
        answer = at.get(f"/v1/subjects/{self.persons[who].subject}/sessions")
        items = _held(answer, "sessions")["items"]
        if kept["session"] not in {item["id"] for item in items}:
            raise Wrong("sessions: the session in force is not listed")
        return kept

    @staticmethod
    def _healthz(at: Connection, _who: int, _kept: object) -> None:
        _held(at.get("/healthz"), "healthz", status="alive")

    def _code(self, secret: str) -> str:
        return pyotp.TOTP(secret).at(int(self.now()))
