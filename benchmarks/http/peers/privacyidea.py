"""privacyIDEA on gunicorn: a PIN and a TOTP code in one request, or one after the other."""

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.http.connection import Answer, Connection
from benchmarks.http.peers.common import ARGON2, OK, WORKERS, Peer, code, expect, name, version
from benchmarks.http.target import PASSWORD, Operation, Room

_CHECK: Final = "/validate/check"
_PATIENT: Final = "3600"


def _told(answer: Answer) -> Mapping[str, Any]:
    """Return what an answer says, with its result taken apart; empty if it failed."""
    told = answer.json() if answer.status == OK else {}
    return told if told.get("result", {}).get("status") is True else {}


def _accepted(answer: Answer) -> bool:
    result = _told(answer).get("result", {})
    return result.get("value") is True and result.get("authentication") == "ACCEPT"


def _login(connection: Connection, person: int, _: object = None) -> None:
    """Send the PIN and the code at once."""
    fields = {"user": name(person), "pass": PASSWORD + code(person)}
    answer = connection.form(_CHECK, fields)
    expect(answer, "login", holds=_accepted(answer))


def _password(connection: Connection, person: int, _: object = None) -> str:
    """Send the PIN alone; return the transaction that waits for the code."""
    answer = connection.form(_CHECK, {"user": name(person), "pass": PASSWORD})
    told = _told(answer)
    waits = told.get("result", {}).get("authentication") == "CHALLENGE"
    expect(answer, "password", holds=waits)
    return str(told["detail"]["transaction_id"])


def _totp(connection: Connection, person: int, transaction: str) -> None:
    """Send the code of a transaction."""
    fields = {"user": name(person), "pass": code(person), "transaction_id": transaction}
    answer = connection.form(_CHECK, fields)
    expect(answer, "totp", holds=_accepted(answer))


class PrivacyIdea(Peer):
    """privacyIDEA on gunicorn with two workers of four threads."""

    def start(self, room: Room, persons: int) -> None:
        """Make keys, tables and people by its own commands and start it; raises Lacking."""
        binaries = self.home / "bin"
        python = str(binaries / "python")
        self.port = room.port()
        url = room.postgres(self.database or "", self.role)
        environment = self.environment() | {
            "PRIVACYIDEA_CONFIGFILE": str(self.app / "pi.cfg"),
            "PEER_DATABASE": url.replace("postgresql://", "postgresql+psycopg2://"),
            "PEER_FOLDER": str(room.folder),
        }
        for words in (
            ("setup", "create_enckey"),
            ("setup", "create_audit_keys"),
            ("setup", "create_tables"),
            ("config", "resolver", "create_internal", "people"),
        ):
            self.run([python, str(binaries / "pi-manage"), *words], environment, room.folder)
        people = self.people(room, persons)
        self.run([python, str(self.app / "seed.py"), str(people)], environment, room.folder)
        command = [python, "-m", "gunicorn", "wsgi:application"]
        command += ["--bind", f"127.0.0.1:{self.port}", "--workers", WORKERS, "--threads", "4"]
        # Paused between its turns, it neither ends its workers nor closes connections.
        command += ["--timeout", _PATIENT, "--keep-alive", _PATIENT, "--no-control-socket"]
        self.serve(room, command, environment)
        room.answers(self.port, "/healthz/startupz", 120)


def target() -> PrivacyIdea:
    """Return the target."""
    return PrivacyIdea(
        name="privacyidea",
        about={
            "version": version("privacyidea", "privacyIDEA"),
            "server": "gunicorn, 2 workers of 4 threads",
            "hash": f"{ARGON2} of the token's PIN (PI_HASH_ALGO_PARAMS)",
            "unlike": "every answer is signed (RSA); no session and no token for the person",
        },
        operations={
            "login": Operation(_login, code=True),
            "password": Operation(_password),
            "totp": Operation(_totp, prepare=_password, code=True),
        },
    )
