"""django-allauth, headless: sign-in with password and TOTP, and the list of sessions."""

from typing import Final
from urllib.parse import urlsplit

from benchmarks.http.connection import Connection
from benchmarks.http.peers.common import (
    ARGON2,
    OK,
    UNAUTHORIZED,
    WORKERS,
    Peer,
    code,
    email,
    expect,
    version,
)
from benchmarks.http.target import PASSWORD, Operation, Room

_API: Final = "/_allauth/app/v1"
_TOKEN: Final = "X-Session-Token"
_PATIENT: Final = "3600"


def _password(connection: Connection, person: int, _: object = None) -> dict[str, str]:
    """Send address and password; return the header of the session that waits for the code."""
    answer = connection.post(f"{_API}/auth/login", {"email": email(person), "password": PASSWORD})
    told = answer.json() if answer.status == UNAUTHORIZED else {}
    flows = told.get("data", {}).get("flows", ())
    waits = any(flow["id"] == "mfa_authenticate" and flow.get("is_pending") for flow in flows)
    expect(answer, "password", holds=waits)
    return {_TOKEN: told["meta"]["session_token"]}


def _totp(connection: Connection, person: int, waiting: dict[str, str]) -> dict[str, str]:
    """Send the code; return the header of the session that it opened."""
    answer = connection.post(f"{_API}/auth/2fa/authenticate", {"code": code(person)}, waiting)
    told = answer.json() if answer.status == OK else {}
    signed_in = told.get("meta", {}).get("is_authenticated") is True
    expect(answer, "totp", holds=signed_in and told["data"]["user"]["email"] == email(person))
    return {_TOKEN: told["meta"].get("session_token", waiting[_TOKEN])}


def _login(connection: Connection, person: int, _: object = None) -> dict[str, str]:
    """Sign in with password and code; return the header of the session."""
    return _totp(connection, person, _password(connection, person))


def _session(connection: Connection, person: int, session: dict[str, str]) -> dict[str, str]:
    """Ask who a session belongs to; return its header."""
    answer = connection.get(f"{_API}/auth/session", session)
    told = answer.json() if answer.status == OK else {}
    person_told = told.get("data", {}).get("user", {}).get("email")
    expect(answer, "introspect", holds=person_told == email(person))
    return session


def _sessions(connection: Connection, _: int, session: dict[str, str]) -> dict[str, str]:
    """List the sessions of whom a session belongs to; return its header."""
    answer = connection.get(f"{_API}/auth/sessions", session)
    told = answer.json()["data"] if answer.status == OK else []
    expect(answer, "sessions", holds=any(one["is_current"] for one in told))
    return session


class DjangoAllauth(Peer):
    """django-allauth on gunicorn with two workers of four threads."""

    def start(self, room: Room, persons: int) -> None:
        """Make the people and start it; raises Lacking."""
        python = str(self.home / "bin" / "python")
        self.port = room.port()
        url = urlsplit(room.postgres(self.database or "", self.role))
        environment = self.environment() | {
            "DJANGO_SETTINGS_MODULE": "settings",
            "PEER_DATABASE_PORT": str(url.port),
            "PEER_DATABASE_NAME": url.path[1:],
            "PEER_DATABASE_ROLE": str(url.username),
            "PEER_REDIS": room.redis(),
        }
        people = self.people(room, persons)
        self.run([python, "seed.py", str(people)], environment, self.app)
        command = [python, "-m", "gunicorn", "wsgi:application"]
        command += ["--bind", f"127.0.0.1:{self.port}", "--workers", WORKERS, "--threads", "4"]
        # Paused between its turns, it neither ends its workers nor closes connections.
        command += ["--timeout", _PATIENT, "--keep-alive", _PATIENT, "--no-control-socket"]
        self.serve(room, command, environment)
        room.answers(self.port, f"{_API}/config")


def target() -> DjangoAllauth:
    """Return the target."""
    return DjangoAllauth(
        name="django-allauth",
        about={
            "version": version("django-allauth", "django-allauth"),
            "server": "gunicorn, 2 workers of 4 threads; Redis as cache",
            "hash": f"{ARGON2} by a subclass of Django's hasher",
            "unlike": "TOTP secrets are stored as they are; introspect is auth/session",
        },
        operations={
            "login": Operation(_login, code=True),
            "password": Operation(_password),
            "totp": Operation(_totp, prepare=_password, code=True),
            "introspect": Operation(_session, prepare=_login, lasting=True, code=True),
            "sessions": Operation(_sessions, prepare=_login, lasting=True, code=True),
        },
    )
