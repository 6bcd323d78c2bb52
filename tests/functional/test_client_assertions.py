"""`private_key_jwt` at the token endpoint: what libraries send, and whatever else may come."""

import base64
import itertools
import json
import uuid

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto.signing import SigningKey, sign_jwt
from service.clients.model import NewClient
from service.domain.clock import unix
from service.tokens.model import ASSERTION_TYPE
from tests.depth import depth

KEY = SigningKey.generate()
REFUSED = "The client does not authenticate."


@pytest.fixture
def client(service):
    """A client with a key of its own."""
    new = NewClient(name="signer", scopes=("flows:write",), jwks={"keys": [KEY.public_jwk()]})
    with service.container.store.transaction() as tx:
        made, _ = service.container.clients.create(tx, new)
    return str(made.id)


def claims(service, client, **changes):
    now, issuer = unix(service.clock.now()), service.container.settings.issuer
    return {
        "iss": client,
        "sub": client,
        "aud": issuer,
        "jti": uuid.uuid4().hex,
        "iat": now,
        "exp": now + 60,
    } | changes


def ask(service, assertion, path="token", **form):
    """Send an assertion, and no other credentials."""
    whole = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    } | form
    return service.http.post(f"/oauth2/{path}", data=whole)


def unsigned(header, body):
    """Return a token of any JSON, lone surrogates too."""
    parts = [json.dumps(part).encode() for part in (header, body)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, b"s"))


def test_what_libraries_send_is_taken(service, client):
    """An hour of life, a slash behind the audience, the endpoint as audience, a list."""
    now, issuer = unix(service.clock.now()), service.container.settings.issuer
    for change in (
        {},
        {"exp": now + 600},
        {"exp": now + 3603, "iat": now + 3},
        {"aud": f"{issuer}/"},
        {"aud": f"{issuer}/oauth2/token"},
        {"aud": f"{issuer}/oauth2/token/"},
        {"aud": ["https://elsewhere.example", f"{issuer}/"]},
        {"exp": now + 59.9, "iat": now + 0.1},
    ):
        answer = ask(service, sign_jwt(KEY, claims(service, client, **change), "JWT"))
        assert answer.status_code == 200, (change, answer.json)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"exp": 2**40}, "exp must be a time, now to 3600 seconds ahead"),
        ({"aud": [{}]}, "aud must"),
        ({"jti": "\ud800"}, "jti must"),
        ({"aud": {}}, "aud must"),
        ({"jti": [1]}, "jti must"),
        ({"exp": "soon"}, "exp must"),
        ({"iat": {}}, "iat must"),
        ({"iss": [1]}, "iss and sub must"),
    ],
)
def test_the_reason_is_told_alike_for_known_and_unknown_clients(service, client, change, told):
    """401 `invalid_client` whose description names the claim, whoever the client may be."""
    answers = []
    for who in (client, str(uuid.UUID(int=404)), "nobody"):
        token = unsigned({"alg": "ES256", "kid": KEY.kid}, claims(service, who, **change))
        answer = ask(service, token)
        answers.append((answer.status_code, answer.json, answer.headers["WWW-Authenticate"]))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 401
    assert answers[0][1]["error_description"].startswith(f"client_assertion: {told}")


def test_a_wrong_signature_is_told_like_an_unknown_client(service, client):
    """Another key, another name of a key, no such client, a revoked one: one answer."""
    revoked, bare = service.new_client()[0], service.new_client()[0]
    with service.container.store.transaction() as tx:
        service.container.clients.revoke(tx, uuid.UUID(revoked))
    other = SigningKey.generate()
    for who, key in ((client, other), (str(uuid.UUID(int=404)), KEY), (revoked, KEY), (bare, KEY)):
        answer = ask(service, sign_jwt(key, claims(service, who), "JWT"))
        assert (answer.status_code, answer.json["error_description"]) == (401, REFUSED)


def test_an_assertion_counts_once_at_every_endpoint(service, client):
    """What was shown to one endpoint is used up for the others."""
    token = sign_jwt(KEY, claims(service, client), "JWT")
    assert ask(service, token).status_code == 200
    for path in ("token", "introspect", "revoke"):
        answer = ask(service, token, path, token="x")
        assert answer.json["error_description"] == "client_assertion: jti was used before."


def test_an_assertion_counts_once_as_long_as_it_may_last(service, client):
    """Just before its end, after every round of maintenance, it is remembered; then it is over."""
    now = unix(service.clock.now())
    token = sign_jwt(KEY, claims(service, client, exp=now + 3600.5), "JWT")
    assert ask(service, token).status_code == 200
    service.clock.advance(seconds=3599)
    service.container.jobs.run_due()
    assert ask(service, token).json["error_description"].endswith("jti was used before.")
    service.clock.advance(seconds=2)
    service.container.jobs.run_due()
    assert "exp must" in ask(service, token).json["error_description"]


def test_an_ed25519_key_goes_by_both_names(service, client):
    """A library that knows `EdDSA` only, or `Ed25519`, with keys that are registered as either."""
    key, now = Ed25519PrivateKey.generate(), unix(service.clock.now())
    public = base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": public}
    for registered, named in itertools.product((None, "EdDSA", "Ed25519"), ("EdDSA", "Ed25519")):
        with service.container.store.transaction() as tx:
            keys = {"keys": [jwk | ({"alg": registered} if registered else {})]}
            service.container.clients.replace_jwks(tx, client=uuid.UUID(client), jwks=keys)
        said = claims(service, client, exp=now + 3599.25)
        text = unsigned({"alg": named, "x5t#S256": "AA"}, said).rpartition(".")[0]
        signature = base64.urlsafe_b64encode(key.sign(text.encode())).rstrip(b"=").decode()
        assert ask(service, f"{text}.{signature}").status_code == 200, (registered, named)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab\ud800\0\xe9"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=3), inner),
    max_leaves=4,
)
NAMES = st.sampled_from(["iss", "sub", "aud", "jti", "exp", "iat", "nbf"])
HEADERS = st.sampled_from(["alg", "kid", "typ", "x5t", "jwk", "crit"])


@given(
    body=st.dictionaries(NAMES, JSON, max_size=3), header=st.dictionaries(HEADERS, JSON, max_size=2)
)
@settings(max_examples=depth(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_assertion_is_a_server_error(service, client, body, header):
    """Whatever JSON header and claims hold, the answer is 401 with a reason."""
    whole = claims(service, client) | body
    answer = ask(service, unsigned({"alg": "ES256"} | header, whole))
    assert answer.status_code == 401, (whole, header)
    assert answer.json["error"] == "invalid_client"
