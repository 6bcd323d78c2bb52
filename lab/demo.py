"""What the demo does over HTTP, each step checked; knows the API and nothing of the service."""

import base64
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import pyotp

from biometrics.behavior.layout import Floats
from biometrics.face.active import Gesture
from lab.behavior import synthetic_typing
from lab.face import synthetic

FLOW_GRANT: Final = "urn:lamina:params:oauth:grant-type:flow"
AAL2: Final = "urn:lamina:acr:aal2"
PASSWORD: Final = "a demo pass phrase"  # noqa: S105 - of a person who lives for twenty seconds
NAME: Final = "Eileen Collins"
_CONSENT: Final = {"version": "1", "text_hash": "sha256:demo", "locale": "en", "channel": "demo"}
_PERIOD: Final = 30
_LEFT: Final = 2
"""Seconds below which a person waits for the next code."""
_MAIL_SECONDS: Final = 20
_CODE: Final = 8
_WRONG: Final = 5
_TOO_MANY: Final = 429
_REFUSED: Final = 422
_AGAIN: Final = 2
_TYPED: Final = 20
"""Samples of typing from elsewhere; a profile speaks from five on, and says more from twenty."""
_LEARNED: Final = 40
"""Repetitions after which a person is used to the text."""


class Unexpected(Exception):
    """A failed step of the demo; the text names the actual result."""


def _expect(answer: httpx.Response, status: int) -> dict[str, Any]:
    if answer.status_code != status:
        raise Unexpected(f"expected {status}, got {answer.status_code}: {answer.text[:300]}")
    value: dict[str, Any] = answer.json() if answer.content else {}
    return value


def _true(condition: bool, detail: str) -> None:  # noqa: FBT001 - what was seen
    if not condition:
        raise Unexpected(detail)


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return {name: _shape(member) for name, member in value.items()}
    return [_shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def _sample(row: Floats) -> dict[str, Any]:
    """Return a typed sample: when each key went down and up, in ms, never which key."""
    keys = len(PASSWORD)
    down = 1000 * np.concatenate([[0.0], np.cumsum(row[keys:])])
    up = down + 1000 * row[:keys]
    pressed = [
        [round(at, 2), round(end, 2), "char"]
        for at, end in zip(down.tolist(), up.tolist(), strict=True)
    ]
    return {"v": 1, "keystroke": {"field": "password", "keys": pressed}}


class Scenario:
    """One person, from registration to everything that is refused."""

    def __init__(
        self,
        *,
        http: httpx.Client,
        client_id: str,
        secret: str,
        database: Path,
        letters: Sequence[str],
    ) -> None:
        self._http = http
        self._letters = letters
        self._client = (client_id, secret)
        self._database = database
        self._bearer = ""
        self._subject = ""
        self._app = pyotp.TOTP(pyotp.random_base32())
        self._used_code = ""
        self._granted: dict[str, Any] = {}
        self._completion = ""
        self._flow: dict[str, Any] = {}
        self._me = synthetic.collins()
        self._other = synthetic.hopper()
        self._rng = np.random.default_rng()
        rows = synthetic_typing.people(2, len(PASSWORD), samples=_LEARNED + _TYPED + 1, seed=5)
        self._typist, self._stranger = (part[_LEARNED:] for part in rows)

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """Return the steps in order; each returns what was seen, or raises Unexpected."""
        return [
            ("Client credentials", self._client_credentials),
            ("Register with consents", self._register),
            ("A code by mail", self._verify_email),
            ("Enroll TOTP", self._enroll_totp),
            ("Enroll recovery codes", self._enroll_codes),
            ("Enroll face", self._enroll_face),
            ("Import typed samples", self._import_samples),
            ("Sign in: password + timings", self._password),
            ("Sign in: TOTP", self._totp),
            ("Sign in: another's face", self._wrong_face),
            ("Sign in: face", self._face),
            ("Tokens", self._tokens),
            ("Introspection", self._introspection),
            ("Another's typing", self._another_typist),
            ("Typing again", self._typing_again),
            ("Refresh", self._refresh),
            ("Completion code again", self._code_again),
            ("TOTP code again", self._totp_again),
            ("Unknown person", self._unknown),
            ("Wrong password, five times", self._wrong_password),
            ("What the database holds", self._stored),
        ]

    def _client_credentials(self) -> str:
        answer = self._oauth("token", grant_type="client_credentials")
        self._bearer = answer["access_token"]
        return f"at+jwt for {answer['expires_in']} s"

    def _register(self) -> str:
        consents = [{"purpose": name, **_CONSENT} for name in ("face", "behavior")]
        body = {
            "identifiers": {"username": "eileen", "email": "eileen@example.com"},
            "password": PASSWORD,
            "profile": {"name": NAME},
            "consents": consents,
        }
        self._subject = _expect(self._post("/v1/subjects", body), 201)["id"]
        return f"subject {self._subject[:8]}…"

    def _verify_email(self) -> str:
        path = f"/v1/subjects/{self._subject}/identifiers/email/verification"
        _expect(self._post(path, {}), 200)
        deadline = time.monotonic() + _MAIL_SECONDS
        while not self._letters and time.monotonic() < deadline:
            time.sleep(0.1)
        _true(bool(self._letters), f"no mail within {_MAIL_SECONDS} s")
        letter = self._letters[-1]
        code = next(word for word in letter.split() if len(word) == _CODE and word.isdigit())
        _expect(self._post(path, {"code": code}), 200)
        return "\n".join(line for line in letter.splitlines() if line) + "\n(verified with it)"

    def _enroll_totp(self) -> str:
        added = self._enroll("totp")
        self._app = pyotp.TOTP(added["secret"])
        # The previous step's code confirms, so that a fresh one is left for the login.
        code = self._app.at(int(time.time()) - _PERIOD)  # noqa: TID251 - a person's clock, not the service's
        _expect(self._post(self._authenticator(added["id"]), {"code": code}), 200)
        return f"confirmed; QR picture of {len(added['qr_svg'])} bytes"

    def _enroll_codes(self) -> str:
        return f"{len(self._enroll('recovery_codes')['codes'])} codes, shown once"

    def _enroll_face(self) -> str:
        added = self._enroll("face")
        path = self._authenticator(added["id"])
        challenge = added["challenge"]
        answer = self._post(path, self._capture(self._me, challenge))
        for _ in range(_AGAIN):
            if answer.status_code != _REFUSED:
                break
            # A gesture that was not seen is made again, as a person would.
            challenge = answer.json()["challenge"]
            answer = self._post(path, self._capture(self._me, challenge))
        _expect(answer, 200)
        return f"did {', '.join(challenge['gestures'])}; kept as a sealed template"

    def _import_samples(self) -> str:
        body = {"samples": [_sample(row) for row in self._typist[:-1]]}
        found = _expect(self._post(f"/v1/subjects/{self._subject}/behavior/samples", body), 200)
        _true(found["accepted"] == _TYPED, f"accepted {found['accepted']} of {_TYPED}")
        return f"{found['total']} into an empty profile; from now on AAL2 teaches it"

    def _password(self) -> str:
        flow = self._begin("eileen")
        self._flow = flow
        capture = flow["actions"]["password"]["options"]["capture_id"]
        sample = _sample(self._typist[-1]) | {"capture_id": capture}
        self._flow |= self._ok("password", {"password": PASSWORD, "behavior": sample})
        said = [
            item["contribution"]
            for item in self._flow["risk"]["reasons"]
            if item["signal"] == "behavior"
        ]
        _true(sum(said) > 0, f"the typing was not known again: {said}")
        following = " or ".join(name for name in self._flow["actions"] if name != "back")
        return f"typing +{sum(said):.1f} nats; next: {following}"

    def _another_typist(self) -> str:
        found = self._score(self._stranger[-1])
        _true(found["llr"] < 0, f"another's typing scored {found['llr']}")
        reasons = found["signals"]["keystroke"]["reasons"]
        plain = next(item["detail"] for item in reasons if "usual" in item["detail"])
        return f"{found['llr']:.1f} nats: {plain}"

    def _typing_again(self) -> str:
        found = self._score(self._typist[-1])
        _true(found["replayed"], "a sample that came before was not known again")
        return f"the sample of the login is a replay: {found['llr']:.1f} nats, band {found['band']}"

    def _totp(self) -> str:
        self._used_code = self._code()
        self._flow |= self._ok("totp", {"code": self._used_code})
        level = self._flow["assurance"]["achieved"]["acr"]
        _true("face" in self._flow["actions"], "the face was not asked for")
        return f"{level.rsplit(':', 1)[-1]}; policy asks for one layer more"

    def _wrong_face(self) -> str:
        answer = self._act("face", self._capture(self._other, self._face_options()))
        problem = _expect(answer, _REFUSED)
        self._flow |= problem["flow"]
        return f"refused: {problem['code']}, {problem['flow']['attempts_left']} attempts left"

    def _face(self) -> str:
        options = self._face_options()
        answer = self._act("face", self._capture(self._me, options))
        for _ in range(_AGAIN):
            if answer.status_code != _REFUSED:
                break
            self._flow |= answer.json()["flow"]
            options = self._face_options()
            answer = self._act("face", self._capture(self._me, options))
        self._flow |= _expect(answer, 200)
        _true(self._flow["status"] == "completed", "the flow did not complete")
        self._completion = self._flow["completion_code"]
        return f"did {', '.join(options['gestures'])}; a code for one minute, once"

    def _tokens(self) -> str:
        self._granted = self._oauth("token", grant_type=FLOW_GRANT, code=self._completion)
        return "access token and refresh token"

    def _introspection(self) -> str:
        seen = self._oauth("introspect", token=self._granted["access_token"])
        _true(seen.get("active") is True and seen.get("acr") == AAL2, f"not active at AAL2: {seen}")
        return f"{seen['acr']} amr={'+'.join(seen['amr'])}"

    def _refresh(self) -> str:
        token = self._granted["refresh_token"]
        self._granted = self._oauth("token", grant_type="refresh_token", refresh_token=token)
        _true(self._granted["refresh_token"] != token, "the refresh token was not rotated")
        return "rotated"

    def _code_again(self) -> str:
        body = {"grant_type": FLOW_GRANT, "code": self._completion}
        answer = self._http.post("/oauth2/token", data=body, auth=self._client)
        return f"refused: {_expect(answer, 400)['error']}"

    def _totp_again(self) -> str:
        self._flow = self._begin("eileen")
        self._flow |= self._ok("password", {"password": PASSWORD})
        problem = _expect(self._act("totp", {"code": self._used_code}), _REFUSED)
        return f"refused: {problem['code']}"

    def _unknown(self) -> str:
        answers = []
        for name in ("eileen", "nobody"):
            self._flow = self._begin(name)
            answers.append(_expect(self._act("password", {"password": "wrong"}), _REFUSED))
        _true(_shape(answers[0]) == _shape(answers[1]), "the answers differ")
        _true(answers[0]["code"] == answers[1]["code"], "the codes differ")
        return "answered as a known one is"

    def _wrong_password(self) -> str:
        for _ in range(_WRONG):
            self._flow = self._begin("eileen")
            answer = self._act("password", {"password": "wrong"})
            if answer.status_code == _TOO_MANY:
                break
        self._flow = self._begin("eileen")
        answer = self._act("password", {"password": PASSWORD})
        _expect(answer, _TOO_MANY)
        return f"the right one must wait too: 429, Retry-After {answer.headers['Retry-After']} s"

    def _stored(self) -> str:
        with sqlite3.connect(self._database) as connection:
            rows = connection.execute("SELECT email, profile FROM subject").fetchall()
        cells = [cell for row in rows for cell in row if cell]
        _true(bool(cells) and all(cell[0] == 0xF9 for cell in cells), "a cell is not sealed")  # noqa: PLR2004 - the mark of a sealed field
        files = list(self._database.parent.glob("lamina.db*"))
        content = b"".join(file.read_bytes() for file in files).lower()
        secrets = (NAME, "eileen@example.com", PASSWORD, self._app.secret)
        _true(not any(text.lower().encode() in content for text in secrets), "plaintext found")
        return f"email = {cells[0][:10].hex()}… ; no plaintext in {len(content) // 1024} KiB"

    def _score(self, row: Floats) -> dict[str, Any]:
        path = f"/v1/subjects/{self._subject}/behavior/score"
        return _expect(self._post(path, {"behavior": _sample(row)}), 200)

    def _oauth(self, endpoint: str, **form: str) -> dict[str, Any]:
        answer = self._http.post(f"/oauth2/{endpoint}", data=form, auth=self._client)
        return _expect(answer, 200)

    def _post(self, path: str, body: object, **headers: str) -> httpx.Response:
        named = {"Authorization": f"Bearer {self._bearer}"} | headers
        return self._http.post(path, json=body, headers=named)

    def _authenticator(self, authenticator: str) -> str:
        return f"/v1/subjects/{self._subject}/authenticators/{authenticator}/confirm"

    def _enroll(self, kind: str) -> dict[str, Any]:
        path = f"/v1/subjects/{self._subject}/authenticators"
        return _expect(self._post(path, {"type": kind}), 201)

    def _begin(self, identifier: str) -> dict[str, Any]:
        return _expect(self._post("/v1/flows", {"kind": "login", "identifier": identifier}), 201)

    def _act(self, name: str, body: object) -> httpx.Response:
        path = f"/v1/flows/{self._flow['id']}/actions/{name}"
        return self._post(path, body, **{"Flow-Token": self._flow["flow_token"]})

    def _ok(self, name: str, body: object) -> dict[str, Any]:
        return _expect(self._act(name, body), 200)

    def _face_options(self) -> dict[str, Any]:
        options: dict[str, Any] = self._flow["actions"]["face"]["options"]
        return options

    def _capture(self, head: synthetic.SyntheticHead, challenge: dict[str, Any]) -> dict[str, Any]:
        """Follow the challenge before a camera, which takes as long as it takes."""
        began = time.monotonic()
        gestures = [Gesture(name) for name in challenge["gestures"]]
        path = synthetic.honest(gestures, self._rng, swing=0.01)
        frames = synthetic.record(head, path, self._rng)
        time.sleep(max(0.0, frames[-1].t / 1000 - (time.monotonic() - began)))
        return {
            "challenge_id": challenge["challenge_id"],
            "frames": [
                {"t": item.t, "image": base64.b64encode(item.image).decode()} for item in frames
            ],
        }

    def _code(self) -> str:
        now = time.time()  # noqa: TID251 - a person's clock, not the service's
        left = _PERIOD - now % _PERIOD
        if left < _LEFT:
            # Like a person who waits for the next code rather than race the clock.
            time.sleep(left + 0.1)
        return self._app.now()
