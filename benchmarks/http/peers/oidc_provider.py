"""oidc-provider in memory: client credentials to JWTs, and introspection of opaque tokens."""

import base64
import json
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.http.connection import Connection
from benchmarks.http.peers.common import OK, Peer, basic, expect, version
from benchmarks.http.target import Operation, Room

_CLIENT: Final = "peer"
_API: Final = "urn:example:api"
_GRANT: Final = {"grant_type": "client_credentials"}
_PARTS: Final = 3


def _opaque(connection: Connection, _: int) -> str:
    """Return an opaque token, of the worker that this connection ended up at."""
    answer = connection.form("/token", _GRANT)
    token = answer.json().get("access_token") if answer.status == OK else None
    expect(answer, "token", holds=isinstance(token, str) and token.count(".") == 0)
    return str(token)


def _introspect(connection: Connection, _: int, token: str) -> str:
    """Introspect an opaque token; return it."""
    answer = connection.form("/token/introspection", {"token": token})
    told = answer.json() if answer.status == OK else {}
    expect(answer, "introspect", holds=told.get("active") is True and told["client_id"] == _CLIENT)
    return token


def _client_credentials(connection: Connection, _: int, __: object = None) -> None:
    """Get a JWT that is signed with ES256."""
    answer = connection.form("/token", {**_GRANT, "resource": _API, "scope": "api:read"})
    token = str(answer.json().get("access_token")) if answer.status == OK else ""
    parts = token.split(".")
    holds = len(parts) == _PARTS and _part(parts[0]).get("alg") == "ES256"
    expect(answer, "client_credentials", holds=holds and _part(parts[1]).get("aud") == _API)


def _part(text: str) -> dict[str, object]:
    part: dict[str, object] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return part


def _key() -> str:
    """Return a set of one new private key for ES256, as JSON."""
    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    public = numbers.public_numbers

    def encoded(number: int) -> str:
        return base64.urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")

    key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "peer"}
    key |= {"x": encoded(public.x), "y": encoded(public.y), "d": encoded(numbers.private_value)}
    return json.dumps({"keys": [key]})


class OidcProvider(Peer):
    """oidc-provider on node's cluster with two workers."""

    def start(self, room: Room, persons: int) -> None:  # noqa: ARG002 - it has clients, no people
        """Start it; raises Lacking."""
        app = self.node(room)
        self.port = room.port()
        self.serve(
            room,
            ["node", str(app / "app.js")],
            self.environment() | {"PEER_JWKS": _key(), "PEER_API": _API, "PEER_COOKIES": self.key},
        )
        room.answers(self.port, "/.well-known/openid-configuration")

    def enter(self, connection: Connection) -> None:
        """Give a connection the credentials of the client."""
        connection.headers |= basic(_CLIENT, self.key)


def target() -> OidcProvider:
    """Return the target."""
    return OidcProvider(
        name="oidc-provider",
        database=None,
        about={
            "version": version("oidc-provider", "oidc-provider"),
            "server": "node's cluster, 2 workers",
            "hash": "none",
            "unlike": "adapter in memory, a store for each worker: no database, nothing is kept",
        },
        operations={
            "introspect": Operation(_introspect, prepare=_opaque, lasting=True),
            "client_credentials": Operation(_client_credentials),
        },
    )
