"""How many files of this project a completed TOTP call enters.

    python -m benchmarks.files_of_a_call [--list] [--json]

Signs one person in twice with password and TOTP on SQLite, and counts by `sys.setprofile` the
files of `service`, `biometrics` and `crypto` that the second TOTP action enters: from the WSGI
application to its answer. The first login imports what is imported on first use.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pyotp
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from crypto.hashing import PasswordHasher
from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.app import create_app, open_container
from service.clients.model import SCOPES, NewClient
from service.domain.clock import FrozenClock
from service.settings import Settings
from service.store import migrate
from service.store.engine import make_engine

PACKAGES: Final = ("service", "biometrics", "crypto")
_ROOT: Final = Path(__file__).parents[1]
_PASSWORD: Final = "a long enough pass phrase"
_PERIOD: Final = 30


class _Login:
    """A person who signs in over WSGI, in process."""

    def __init__(self, place: Path) -> None:
        FileRoot.init(place / "keys", KEY_CLASSES)
        settings = Settings(
            mode="development",
            database_url=f"sqlite:///{place / 'lamina.db'}",
            root_key=f"file:{place / 'keys'}",
            log_level="error",
            face_engine="off",
        )
        migrate.upgrade(make_engine(settings.database_url))
        self._clock = FrozenClock(datetime(2026, 11, 24, tzinfo=UTC))
        self.container = open_container(settings, self._clock, PasswordHasher.unsafe_for_tests())
        self._app = create_app(self.container)
        self._http: FlaskClient = self._app.test_client()
        self._bearer = self._access()
        self._secret = self._register()

    def _access(self) -> str:
        with self.container.store.transaction() as tx:
            new = NewClient(name="counted", scopes=tuple(SCOPES), first_party=True)
            client, secret = self.container.clients.create(tx, new)
        form = {
            "grant_type": "client_credentials",
            "client_id": str(client.id),
            "client_secret": secret,
        }
        return str(_json(self._http.post("/oauth2/token", data=form).text)["access_token"])

    def _post(self, path: str, body: Mapping[str, object], **more: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._bearer}", **more}
        answer = self._http.post(path, json=body, headers=headers)
        if not answer.status.startswith("2"):
            raise SystemExit(f"{path}: {answer.status} {answer.text}")
        return _json(answer.text)

    def _register(self) -> pyotp.TOTP:
        body = {"identifiers": {"username": "counted"}, "password": _PASSWORD}
        path = f"/v1/subjects/{self._post('/v1/subjects', body)['id']}/authenticators"
        added = self._post(path, {"type": "totp"})
        secret = pyotp.TOTP(added["secret"])
        self._post(f"{path}/{added['id']}/confirm", {"code": self._code(secret, -1)})
        return secret

    def _code(self, secret: pyotp.TOTP, step: int = 0) -> str:
        return secret.at(int(self._clock.now().timestamp()) + _PERIOD * step)

    def sign_in(self) -> Counter[str]:
        """Sign in; return how often the TOTP action called a function of each file."""
        self._clock.advance(seconds=2 * _PERIOD)
        flow = self._post("/v1/flows", {"kind": "login", "identifier": "counted"})
        path, proof = f"/v1/flows/{flow['id']}/actions", flow["flow_token"]
        self._post(f"{path}/password", {"password": _PASSWORD}, **{"Flow-Token": proof})
        builder = EnvironBuilder(
            f"{path}/totp",
            method="POST",
            json={"code": self._code(self._secret)},
            headers=Headers({"Authorization": f"Bearer {self._bearer}", "Flow-Token": proof}),
        )
        environ, calls = builder.get_environ(), Counter[str]()

        def count(frame: FrameType, event: str, _argument: object) -> None:
            if event == "call":
                calls[frame.f_code.co_filename] += 1

        sys.setprofile(count)
        try:
            answer, status, _ = run_wsgi_app(self._app, environ)
            content = b"".join(answer).decode()
        finally:
            sys.setprofile(None)
        if not status.startswith("2") or _json(content)["status"] != "completed":
            raise SystemExit(f"the flow was not completed: {status} {content}")
        return calls


def _json(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text)
    return value


def _ours(calls: Counter[str]) -> dict[str, int]:
    """Return the calls of each file of PACKAGES, by its path in the checkout."""
    found = {}
    for name, count in calls.items():
        path = Path(name)
        if path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[0] in PACKAGES:
            found[path.relative_to(_ROOT).as_posix()] = count
    return dict(sorted(found.items()))


def files_of_a_call() -> dict[str, int]:
    """Return the files that a completed TOTP call enters, with the calls in each."""
    with tempfile.TemporaryDirectory() as place:
        login = _Login(Path(place))
        try:
            login.sign_in()
            return _ours(login.sign_in())
        finally:
            login.container.store.engine.dispose()


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--list", action="store_true", help="name each file with its calls")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = files_of_a_call()
    if options.json:
        print(json.dumps({"count": len(found), "files": found}, indent=2))
        return
    if options.list:
        print(*(f"{calls:5} {name}" for name, calls in found.items()), sep="\n")
    print(f"{len(found)} files of {', '.join(PACKAGES)} in a completed TOTP call")


if __name__ == "__main__":
    main()
