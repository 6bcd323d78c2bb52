"""fastapi-users on uvicorn: password login to an opaque token, and the check of that token."""

from benchmarks.http.connection import Connection
from benchmarks.http.peers.common import ARGON2, OK, WORKERS, Peer, email, expect, version
from benchmarks.http.target import PASSWORD, Operation, Room

_PATIENT = "3600"


def _password(connection: Connection, person: int, _: object = None) -> str:
    """Sign in with the password; return the token."""
    fields = {"username": email(person), "password": PASSWORD}
    answer = connection.form("/auth/login", fields)
    token = answer.json().get("access_token") if answer.status == OK else None
    expect(answer, "password", holds=isinstance(token, str))
    return str(token)


def _me(connection: Connection, person: int, token: str) -> str:
    """Ask who a token stands for; return the token."""
    answer = connection.get("/users/me", {"Authorization": f"Bearer {token}"})
    holds = answer.status == OK and answer.json().get("email") == email(person)
    expect(answer, "introspect", holds=holds)
    return token


class FastApiUsers(Peer):
    """fastapi-users, started by uvicorn with two workers."""

    def start(self, room: Room, persons: int) -> None:
        """Make the people and start it; raises Lacking."""
        python = str(self.home / "bin" / "python")
        self.port = room.port()
        url = room.postgres(self.database or "", self.role)
        environment = self.environment() | {
            "PEER_DATABASE": url.replace("postgresql://", "postgresql+asyncpg://")
        }
        people = self.people(room, persons)
        self.run([python, "seed.py", str(people)], environment, self.app)
        command = [python, "-m", "uvicorn", "app:app", "--port", str(self.port)]
        command += ["--workers", WORKERS, "--no-access-log", "--log-level", "warning"]
        # Paused between its turns, it neither ends its workers nor closes connections.
        command += ["--timeout-worker-healthcheck", _PATIENT, "--timeout-keep-alive", _PATIENT]
        self.serve(room, command, environment)
        room.answers(self.port, "/openapi.json")


def target() -> FastApiUsers:
    """Return the target."""
    return FastApiUsers(
        name="fastapi-users",
        about={
            "version": version("fastapi-users", "fastapi-users"),
            "server": "uvicorn, 2 workers, uvloop and httptools",
            "hash": f"{ARGON2} (pwdlib), in the event loop",
            "unlike": "no TOTP; introspect is /users/me by an opaque token of its database",
        },
        operations={
            "password": Operation(_password),
            "introspect": Operation(_me, prepare=_password, lasting=True),
        },
    )
