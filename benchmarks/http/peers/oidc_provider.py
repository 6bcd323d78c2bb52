"""oidc-provider in memory: client credentials to JWTs, and introspection of opaque tokens."""

import base64
import json
import secrets
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.http.connection import Connection
from benchmarks.http.peers.common import OK, Peer, basic, expect, version
from benchmarks.http.target import Operation, Room

_CLIENT: Final = "peer"
_API: Final = "urn:example:api"
_GRANT: Final = {
    "grant_type": "client_credentials",
    "scope": "api:read",
    "resource": _API,
}
_TOKEN: Final = "token"
_PARTS: Final = 3


def _introspect(connection: Connection, _: int, __: object = None) -> None:
    """Introspect the opaque token."""
    answer = connection.form("/token/introspection", {"token": connection.state[_TOKEN]})
    told = answer.json() if answer.status == OK else {}
    expect(answer, "introspect", holds=told.get("active") is True and told["client_id"] == _CLIENT)


def _client_credentials(connection: Connection, _: int, __: object = None) -> None:
    """Get a JWT that is signed with ES256."""
    answer = connection.form("/token", _GRANT)
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
    """oidc-provider on node's cluster with two workers.

    Each worker has a store of its own. Both make the opaque token of one identifier when they
    start: a token that was got over HTTP would be known to one of them.
    """

    _opaque: str = ""

    def start(self, room: Room, persons: int) -> None:  # noqa: ARG002 - it has clients, no people
        """Start it; raises Lacking."""
        app = self.node(room)
        self.port = room.port()
        self._opaque = secrets.token_urlsafe(32)
        environment = self.environment() | {
            "PEER_JWKS": _key(),
            "PEER_API": _API,
            "PEER_COOKIES": self.key,
            "PEER_TOKEN": self._opaque,
        }
        self.serve(room, ["node", str(app / "app.js")], environment)
        room.answers(self.port, "/.well-known/openid-configuration")

    def enter(self, connection: Connection) -> None:
        """Give a connection the credentials of the client, and the opaque token."""
        connection.headers |= basic(_CLIENT, self.key)
        connection.state[_TOKEN] = self._opaque


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
            "introspect": Operation(_introspect),
            "client_credentials": Operation(_client_credentials),
        },
    )
