"""Anything at all that is sent gets an answer below 500."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto.hashing import PasswordHasher
from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.app import open_container
from service.domain.clock import FrozenClock
from service.settings import Settings
from service.store import migrate
from service.store.engine import make_engine
from tests.depth import depth
from tests.functional.conftest import PASSWORD, Service

NAMES = st.sampled_from(
    [
        "kind",
        "identifier",
        "identifiers",
        "username",
        "email",
        "phone",
        "password",
        "profile",
        "consents",
        "purpose",
        "type",
        "code",
        "frames",
        "challenge_id",
        "behavior",
        "keystroke",
        "action",
        "name",
        "input",
        "context",
        "session",
        "access_token",
        "act",
        "acr_values",
        "max_age",
        "capability",
        "reason",
        "segment",
        "v",
        "keys",
        "field",
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["login", "step_up", "enrollment", "recovery", "alice", "totp", PASSWORD]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(NAMES | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=12,
)
BODIES = st.one_of(VALUES.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60))
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        name: st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
        for name in ("Idempotency-Key", "Flow-Token", "Grant", "If-Match", "Content-Type")
    },
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """A service with somebody in it."""
    place = tmp_path_factory.mktemp("fuzz")
    FileRoot.init(place / "keys", KEY_CLASSES)
    found = Settings(
        mode="development",
        database_url=f"sqlite:///{place / 'lamina.db'}",
        face_engine="off",
        smtp_url="console:",
        sms_url="console:",
        root_key=f"file:{place / 'keys'}",
        log_level="error",
    )
    engine = make_engine(found.database_url)
    migrate.upgrade(engine)
    engine.dispose()
    clock = FrozenClock(datetime(2026, 11, 24, 12, 0, 5, tzinfo=UTC))
    service = Service(open_container(found, clock, PasswordHasher.unsafe_for_tests()), clock)
    person = service.register()
    flow = service.begin().json
    document = service.http.get("/openapi.json").json
    routes = [
        (method, path.replace("{subject}", person.id).replace("{flow}", flow["id"]))
        for path, item in document["paths"].items()
        for method in item
    ]
    yield service, flow, routes
    service.container.store.engine.dispose()


@settings(
    max_examples=depth(300),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data(), body=BODIES, headers=HEADERS, part=st.text(min_size=1, max_size=12))
def test_nothing_that_is_sent_is_a_500(fuzzed, data, body, headers, part):
    """Every route, any body, any header, any name in the path: an answer below 500."""
    service, flow, routes = fuzzed
    method, path = data.draw(st.sampled_from(routes))
    sent = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {service.bearer}",
        "Flow-Token": flow["flow_token"],
    } | headers
    for name in ("{name}", "{authenticator}", "{purpose}", "{capability}", "{session}"):
        path = path.replace(name, data.draw(st.sampled_from(["password", "totp", "email"])) or part)
    answer = service.http.open(path, method=method.upper(), data=body, headers=sent)
    assert answer.status_code < 500, (method, path, body, headers)
    if answer.status_code >= 400 and not path.startswith("/oauth2"):
        assert answer.content_type == "application/problem+json"
