"""The whole service over HTTP, in process: SQLite always, PostgreSQL where there is one."""

import base64
import functools
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyotp
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from prometheus_client import generate_latest

from biometrics.face import FaceEngine
from crypto.hashing import PasswordHasher
from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.app import Container, create_app, open_container
from service.clients.model import SCOPES, NewClient
from service.domain.clock import FrozenClock
from service.policy.actions.evaluation import Policies
from service.policy.model.document import Document
from service.settings import Settings
from service.tokens.model import FLOW_GRANT
from service.web.queues import Effort
from tests.contract import Contract
from tests.depth import drawn, everyday
from tests.functional.efforts import watch_efforts
from tests.functional.happenings import appointed, both, nothing, registered

START = datetime(2026, 11, 24, 12, 0, 5, tzinfo=UTC)
PASSWORD = "a long enough pass phrase"
SHIPPED_BUDGET = Document.model_fields["signal_budget_ms"].default
PATIENCE = 60_000.0
CONSENT = {"version": "1", "text_hash": "sha256:00", "locale": "en", "channel": "web"}


@dataclass
class Person:
    """Somebody who was registered, with what they hold."""

    id: str
    name: str
    secret: str = ""
    codes: list[str] = field(default_factory=list)


class Service:
    """A client service that calls the API."""

    def __init__(
        self, container: Container, clock: FrozenClock, past: "Past | None" = None
    ) -> None:
        self.container = container
        self.clock = clock
        self.app = create_app(container)
        self.http: FlaskClient = self.app.test_client()
        self.left: dict[str, Any] = {}
        if past:
            (self.client_id, self.secret), self.bearer = past.client, past.bearer
        else:
            self.client_id, self.secret = self.new_client()
            self.bearer = self.access()

    def new_client(self, **flags):
        """Register a client that holds every scope, unless told otherwise."""
        new = NewClient(**{"name": "shop", "scopes": tuple(SCOPES), "first_party": True} | flags)
        with self.container.store.transaction() as tx:
            client, secret = self.container.clients.create(tx, new)
        return str(client.id), secret

    def oauth(self, path, client=None, **form):
        """Post a form as a client."""
        user, secret = client or (self.client_id, self.secret)
        basic = base64.b64encode(f"{user}:{secret}".encode()).decode()
        return self.http.post(
            f"/oauth2/{path}", data=form, headers={"Authorization": f"Basic {basic}"}
        )

    def access(self, client=None):
        """Return a fresh access token."""
        answer = self.oauth("token", client, grant_type="client_credentials")
        assert answer.status_code == 200, answer.json
        return answer.json["access_token"]

    def call(self, method, path, body=None, bearer=None, **headers):
        """Call the API; header names are given with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["Authorization"] = f"Bearer {bearer or self.bearer}"
        return self.http.open(path, method=method, json=body, headers=named)

    def register(self, name="alice", **more):
        """Register a person with a password, TOTP and recovery codes."""
        body = {"identifiers": {"username": name}, "password": PASSWORD} | more
        answer = self.call("POST", "/v1/subjects", body)
        assert answer.status_code == 201, answer.json
        person = Person(answer.json["id"], name)
        self.enroll_totp(person)
        person.codes = self.enroll(person, "recovery_codes").json["codes"]
        return person

    def enroll(self, person, kind, **more):
        """Enroll an authenticator."""
        path = f"/v1/subjects/{person.id}/authenticators"
        headers = {"Grant": more.pop("grant")} if "grant" in more else {}
        return self.call("POST", path, {"type": kind} | more, **headers)

    def enroll_totp(self, person, **more):
        """Enroll TOTP and confirm it with the previous step's code."""
        added = self.enroll(person, "totp", **more)
        assert added.status_code == 201, added.json
        person.secret = added.json["secret"]
        path = f"/v1/subjects/{person.id}/authenticators/{added.json['id']}/confirm"
        confirmed = self.call("POST", path, {"code": self.code(person, -1)})
        assert confirmed.status_code == 200, confirmed.json

    def code(self, person, step=0):
        """Return the code of a step around now."""
        return pyotp.TOTP(person.secret).at(int(self.clock.now().timestamp()) + 30 * step)

    def begin(self, identifier="alice", kind="login", **more):
        """Begin a flow."""
        body = {"kind": kind} | ({"identifier": identifier} if identifier else {}) | more
        return self.call("POST", "/v1/flows", body)

    def act(self, flow, name, body, **headers):
        """Act in a flow that was begun."""
        path = f"/v1/flows/{flow['id']}/actions/{name}"
        return self.call("POST", path, body, Flow_Token=flow["flow_token"], **headers)

    def login(self, person):
        """Sign in with password and TOTP; return the completed flow."""
        flow = self.begin(person.name).json
        first = self.act(flow, "password", {"password": PASSWORD})
        assert first.status_code == 200, first.json
        done = self.act(flow, "totp", {"code": self.code(person)})
        assert done.status_code == 200, done.json
        return done.json

    def measured(self):
        """Return every metric, as the private address shows them."""
        return generate_latest(self.container.metrics.private).decode()

    def exchange(self, completion_code, client=None):
        """Exchange a completion code for tokens."""
        return self.oauth("token", client, grant_type=FLOW_GRANT, code=completion_code)

    def sign_up(self, name):
        """Register and sign in; return the person and the tokens of an ordinary session."""
        person = self.register(name)
        return person, self.exchange(self.login(person)["completion_code"]).json

    def operator_token(self, tokens):
        """Refresh for the API itself."""
        answer = self.oauth(
            "token",
            grant_type="refresh_token",
            refresh_token=tokens["refresh_token"],
            resource=self.container.settings.issuer,
        )
        assert answer.status_code == 200, answer.json
        tokens["refresh_token"] = answer.json["refresh_token"]
        return answer.json["access_token"]


@pytest.fixture(autouse=True)
def slow_work_is_declared(monkeypatch):
    """A request hashes or infers only where its operation says so: its queue follows from that."""
    efforts = watch_efforts(monkeypatch)
    yield
    assert Effort.QUICK not in efforts


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, migrated, tmp_path) -> Iterator[str]:
    """A database of its own, with today's schema and no row in it."""
    with migrated.url(request.param, tmp_path) as url:
        yield url


def usual(url: str, directory: Path) -> Settings:
    """Return settings of a development setup whose keys are in a directory."""
    return Settings(
        mode="development",
        database_url=url,
        root_key=f"file:{directory / 'keys'}",
        log_level="error",
        face_engine="off",
        smtp_url="console:",
        sms_url="console:",
    )


def unbounded(settings: Settings) -> dict[str, Any]:
    """Return settings but for the bounds on how many there may be of something."""
    return {name: it for name, it in settings if not name.startswith("max_")}


@pytest.fixture
def settings(url, tmp_path) -> Settings:
    """Settings of a development setup with keys of its own."""
    FileRoot.init(tmp_path / "keys", KEY_CLASSES)
    return usual(url, tmp_path)


@dataclass(frozen=True)
class Past:
    """What happened before a test: for each on PostgreSQL, once on a file of SQLite to copy.

    A test gets a file, keys and a container of its own. What is in memory is as after a start.

    Args:
        happened: What is done with a service that was opened on a database without rows.
        directory: Where the file and its keys are afterwards.
        now: What the clock shows afterwards.
        client: The first client, and its secret.
        bearer: Its access token.
        left: What `happened` returned, by the name of the fixture that gives it to a test.
    """

    happened: Callable[[Service], dict[str, Any]]
    directory: Path
    now: datetime
    client: tuple[str, str]
    bearer: str
    left: dict[str, Any]

    @classmethod
    def take(
        cls,
        migrated,
        directory: Path,
        happened: Callable[[Service], dict[str, Any]],
        contract: Contract | None = None,
    ) -> "Past":
        """Let it happen; for fixtures of a session or module, where no test has patched a thing."""
        clock = FrozenClock(START)
        with migrated.url("sqlite", directory) as url, pytest.MonkeyPatch.context() as patch:
            be_patient(patch)
            broken = watched(contract, patch) if contract else []
            FileRoot.init(directory / "keys", KEY_CLASSES)
            plain = usual(url, directory)
            container = open_container(plain, clock, PasswordHasher.unsafe_for_tests())
            service = Service(container, clock)
            left = happened(service)
            container.store.engine.dispose()
            assert sorted(set(broken)) == []
        client = (service.client_id, service.secret)
        return cls(happened, directory, clock.now(), client, service.bearer, left)

    def copied(self, settings: Settings, clock: FrozenClock, migrated, directory: Path) -> bool:
        """Copy it where a service is about to open a new file, but for bounds as usual."""
        file = directory / "lamina.db"
        told, as_usual = unbounded(settings), unbounded(usual(f"sqlite:///{file}", directory))
        plain = told == as_usual and clock.now() == START
        if not (plain and migrated.untouched(file)):
            return False
        shutil.copytree(self.directory, directory, dirs_exist_ok=True)
        clock.advance(seconds=(self.now - START).total_seconds())
        return True


def watched(contract: Contract, patch: pytest.MonkeyPatch) -> list[str]:
    """Hold answers to the contract from here on; return the list of those that break it."""
    contract.broken.clear()
    contract.watch(patch)
    return contract.broken


@pytest.fixture(scope="session")
def opened_once(migrated, tmp_path_factory) -> Past:
    """A file on which the service was opened, and has its first client."""
    return Past.take(migrated, tmp_path_factory.mktemp("opened"), nothing)


@pytest.fixture(scope="session")
def pasts(migrated, opened_once, contract, tmp_path_factory) -> dict[frozenset[str], Past]:
    """Files that know people besides, by the fixtures that a test asks for."""

    def take(happened):
        return Past.take(migrated, tmp_path_factory.mktemp(happened.__name__), happened, contract)

    every = [opened_once, *(take(happened) for happened in (registered, appointed, both))]
    return {frozenset(past.left): past for past in every}


@pytest.fixture(scope="session")
def contract(opened_once, tmp_path_factory) -> Contract:
    """The contract that the service serves."""
    directory = tmp_path_factory.mktemp("contract")
    shutil.copytree(opened_once.directory, directory, dirs_exist_ok=True)
    plain = usual(f"sqlite:///{directory / 'lamina.db'}", directory)
    container = open_container(plain, FrozenClock(START), PasswordHasher.unsafe_for_tests())
    answer = create_app(container).test_client().get("/openapi.json")
    container.store.engine.dispose()
    return Contract(answer.json)


@pytest.fixture(autouse=True)
def held_to_contract(contract, monkeypatch) -> Iterator[None]:
    """Fail a test in which an operation answered otherwise than the contract says."""
    broken = watched(contract, monkeypatch)
    yield
    assert sorted(set(broken)) == []


@pytest.fixture
def past(request, pasts) -> Past:
    """Whoever asks for a `person` begins with one; a module with a past of its own overrides it."""
    return pasts[frozenset({"person", "officers"} & set(request.fixturenames))]


@pytest.fixture(scope="session")
def set_up(tmp_path_factory) -> Callable[..., Path]:
    """Return a directory of keys and a database that nothing was opened on; made once."""

    @functools.cache
    def made(file: str) -> Path:
        from service.cli import main

        directory = tmp_path_factory.mktemp("set-up")
        environment = {
            "LAMINA_MODE": "development",
            "LAMINA_DATABASE_URL": f"sqlite:///{directory / file}",
            "LAMINA_ROOT_KEY": f"file:{directory / 'keys'}",
            "LAMINA_FACE_ENGINE": "off",
        }
        for command in (("keys", "init"), ("db", "upgrade")):
            answer = CliRunner().invoke(main, command, env=environment)
            assert answer.exit_code == 0, answer.output
        return directory

    return made


@pytest.fixture(scope="session")
def face_engine(face_cache) -> FaceEngine:
    """The engine, opened once."""
    return FaceEngine.open(face_cache)


@pytest.fixture
def clock() -> FrozenClock:
    """A clock that stands until it is moved."""
    return FrozenClock(START)


def be_patient(patch: pytest.MonkeyPatch) -> None:
    """Do not take a machine that stalls for a second for a signal that is too slow.

    What a signal says is tested here; a test of the budget itself sets one of its own.
    """
    told = Policies.signal_budget_ms.fget

    def budget(policies: Policies) -> float:
        asked = told(policies)
        return PATIENCE if asked == SHIPPED_BUDGET else asked

    patch.setattr(Policies, "signal_budget_ms", property(budget))


@pytest.fixture(autouse=True)
def patient(monkeypatch) -> None:
    """Signals may take their time."""
    be_patient(monkeypatch)


@pytest.fixture
def service(settings, clock, past, migrated, tmp_path, request) -> Iterator[Service]:
    """The service with one client, after what is `past`."""
    copied = past.copied(settings, clock, migrated, tmp_path)
    container = open_container(settings, clock, PasswordHasher.unsafe_for_tests())
    opened = Service(container, clock, past if copied else None)
    opened.left = deepcopy(past.left) if copied else past.happened(opened)
    yield opened
    # Whatever a test did, it did it in ways that leave every row as the log tells.
    compared = "edits_rows" not in request.keywords and (
        not everyday(request.config.args) or drawn(request.node.nodeid)
    )
    found = container.comparing.all().found if compared else []
    container.store.engine.dispose()
    assert found == []


@pytest.fixture
def person(service):
    """Somebody with a password, TOTP and recovery codes."""
    return service.left["person"]


@pytest.fixture
def officers(service):
    """Two security officers, by their tokens for the API."""
    return service.left["officers"]
