"""better-auth on node: sign-in with password and TOTP, and what a session cookie leads to."""

from collections.abc import Mapping
from typing import Final

from benchmarks.http.connection import Connection
from benchmarks.http.peers.common import ARGON2, OK, Peer, code, email, expect, version
from benchmarks.http.target import PASSWORD, Operation, Room

_API: Final = "/api/auth"


def _cookie(cookies: Mapping[str, str]) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items() if value)}


def _password(connection: Connection, person: int, _: object = None) -> dict[str, str]:
    """Send address and password; return the header of the cookie that waits for the code."""
    answer = connection.post(
        f"{_API}/sign-in/email", {"email": email(person), "password": PASSWORD}
    )
    holds = answer.status == OK and answer.json().get("twoFactorRedirect") is True
    expect(answer, "password", holds=holds)
    return _cookie(answer.cookies())


def _totp(connection: Connection, person: int, waiting: dict[str, str]) -> dict[str, str]:
    """Send the code; return the header of the session's cookie."""
    answer = connection.post(f"{_API}/two-factor/verify-totp", {"code": code(person)}, waiting)
    told = answer.json() if answer.status == OK else {}
    expect(answer, "totp", holds=told.get("user", {}).get("email") == email(person))
    return _cookie(answer.cookies())


def _login(connection: Connection, person: int, _: object = None) -> dict[str, str]:
    """Sign in with password and code; return the header of the session's cookie."""
    return _totp(connection, person, _password(connection, person))


def _session(connection: Connection, person: int, session: dict[str, str]) -> dict[str, str]:
    """Ask who a session belongs to; return its header."""
    answer = connection.get(f"{_API}/get-session", session)
    told = (answer.json() or {}) if answer.status == OK else {}
    expect(answer, "introspect", holds=told.get("user", {}).get("email") == email(person))
    return session


def _sessions(connection: Connection, _: int, session: dict[str, str]) -> dict[str, str]:
    """List the sessions of whom a session belongs to; return its header."""
    answer = connection.get(f"{_API}/list-sessions", session)
    told = answer.json() if answer.status == OK else None
    expect(answer, "sessions", holds=isinstance(told, list) and len(told) > 0)
    return session


class BetterAuth(Peer):
    """better-auth on node's cluster with two workers."""

    def start(self, room: Room, persons: int) -> None:
        """Make the people and start it; raises Lacking."""
        app = self.node(room)
        self.port = room.port()
        environment = self.environment() | {
            "PEER_DATABASE": room.postgres(self.database or "", self.role)
        }
        people = self.people(room, persons)
        self.run(["node", str(app / "seed.js"), str(people)], environment, app)
        self.serve(room, ["node", str(app / "app.js")], environment)
        room.answers(self.port, f"{_API}/ok")

    def enter(self, connection: Connection) -> None:
        """Name the origin, without which requests with a cookie are refused."""
        connection.headers["Origin"] = f"http://localhost:{self.port}"


def target() -> BetterAuth:
    """Return the target."""
    return BetterAuth(
        name="better-auth",
        about={
            "version": version("better-auth", "better-auth"),
            "server": "node's cluster, 2 workers",
            "hash": f"{ARGON2} by its hooks and @node-rs/argon2; scrypt without them",
            "unlike": "introspect is get-session, which reads its database",
        },
        operations={
            "login": Operation(_login, code=True),
            "password": Operation(_password),
            "totp": Operation(_totp, prepare=_password, code=True),
            "introspect": Operation(_session, prepare=_login, lasting=True, code=True),
            "sessions": Operation(_sessions, prepare=_login, lasting=True, code=True),
        },
    )
