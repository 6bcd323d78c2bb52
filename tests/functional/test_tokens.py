"""The token endpoint, introspection and revocation."""

import base64

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from crypto.hashing import PasswordHasher
from service.app import open_container
from service.tokens.model import ASSERTION_TYPE, FLOW_GRANT
from tests.functional.conftest import Service
from tests.functional.policing import changed, in_force


@pytest.fixture
def granted(service):
    """Tokens of a person who signed in."""
    person = service.register()
    return service.exchange(service.login(person)["completion_code"]).json


def refresh(service, token, client=None):
    """Exchange a refresh token."""
    return service.oauth("token", client, grant_type="refresh_token", refresh_token=token)


def test_a_completion_code_counts_once_for_its_client_within_a_minute(service):
    """Used, expired, or presented by another client it is refused alike."""
    person = service.register()
    code = service.login(person)["completion_code"]
    stranger = service.exchange(code, service.new_client())
    assert (stranger.status_code, stranger.json["error"]) == (400, "invalid_grant")
    assert service.exchange(code).status_code == 200
    assert service.exchange(code).json["error"] == "invalid_grant"
    service.clock.advance(seconds=60)
    late = service.login(person)["completion_code"]
    service.clock.advance(seconds=60)
    assert service.exchange(late).json["error"] == "invalid_grant"


def test_a_client_that_is_not_first_party_has_no_flow_grant(service):
    """It gets neither the code nor its exchange."""
    other = service.new_client(first_party=False)
    answer = service.oauth("token", other, grant_type=FLOW_GRANT, code="x")
    assert answer.json["error"] == "unauthorized_client"


def test_refresh_rotates_and_reuse_ends_the_session(service, granted):
    """A used token counts again for a minute only, while its successor is unused."""
    first = granted["refresh_token"]
    second = refresh(service, first).json["refresh_token"]
    assert second != first
    lost = refresh(service, first)
    assert lost.json["refresh_token"] == second
    third = refresh(service, second).json["refresh_token"]
    assert refresh(service, first).json["error"] == "invalid_grant"
    assert refresh(service, third).json["error"] == "invalid_grant"


def test_the_grace_ends_after_a_minute(service, granted):
    """Until then each ask gets the same; later, an unused successor saves no token."""
    second = refresh(service, granted["refresh_token"]).json["refresh_token"]
    for _ in range(4):
        service.clock.advance(seconds=14)
        assert refresh(service, granted["refresh_token"]).json["refresh_token"] == second
    service.clock.advance(seconds=5)
    assert refresh(service, granted["refresh_token"]).status_code == 400
    assert refresh(service, second).status_code == 400


@pytest.mark.parametrize(("grace", "again"), [(0, 400), (300, 200)])
def test_the_grace_is_a_setting(settings, clock, grace, again):
    """None at all where reuse must end the session at once; five minutes at most."""
    container = open_container(
        settings.model_copy(update={"refresh_grace": grace}),
        clock,
        PasswordHasher.unsafe_for_tests(),
    )
    service = Service(container, clock)
    person = service.register()
    tokens = service.exchange(service.login(person)["completion_code"]).json
    assert refresh(service, tokens["refresh_token"]).status_code == 200
    clock.advance(seconds=1)
    assert refresh(service, tokens["refresh_token"]).status_code == again
    container.store.engine.dispose()


def test_another_client_cannot_refresh(service, granted):
    """The token is bound to its client, and the attempt harms nobody."""
    other = service.new_client()
    assert refresh(service, granted["refresh_token"], other).status_code == 400
    assert refresh(service, granted["refresh_token"]).status_code == 200


def test_the_level_decays_with_the_evidence(service, granted):
    """An idle AAL2 session ends after an hour; one in use after a day."""
    token = granted["refresh_token"]
    for _ in range(23):
        service.clock.advance(minutes=59)
        answer = refresh(service, token)
        assert answer.status_code == 200
        token = answer.json["refresh_token"]
    service.clock.advance(minutes=61)
    assert refresh(service, token).status_code == 400


def test_introspection_answers_for_ones_own_audience(service, granted):
    """Another client learns nothing, nor does one without the scope."""
    token = granted["access_token"]
    assert service.oauth("introspect", token=token).json["active"] is True
    other = service.oauth("introspect", service.new_client(), token=token)
    assert other.json == {"active": False}
    without = service.oauth("introspect", service.new_client(scopes=()), token=token)
    assert without.status_code == 403
    assert service.oauth("introspect", token="nonsense").json == {"active": False}
    seen = service.oauth("introspect", token=granted["refresh_token"]).json
    assert seen["active"] is True
    service.clock.advance(minutes=5)
    assert service.oauth("introspect", token=token).json == {"active": False}


def test_revocation_ends_a_token_at_once(service, granted):
    """An access token alone, or with the refresh token the whole session."""
    access, renewal = granted["access_token"], granted["refresh_token"]
    assert service.oauth("revoke", service.new_client(), token=access).status_code == 200
    assert service.oauth("introspect", token=access).json["active"] is True
    assert service.oauth("revoke", token=access).status_code == 200
    assert service.oauth("introspect", token=access).json == {"active": False}
    again = refresh(service, renewal).json
    assert service.oauth("revoke", token=again["refresh_token"]).status_code == 200
    assert service.oauth("introspect", token=again["access_token"]).json == {"active": False}
    assert service.oauth("introspect", token=again["refresh_token"]).json == {"active": False}


def test_a_suspension_ends_sessions_and_stops_logins(service, granted):
    """Refresh and introspection stop at once, and a new login is denied after its factor."""
    found = service.call("POST", "/v1/subjects/lookup", {"identifier": "alice"}).json
    path = f"/v1/subjects/{found['id']}/suspensions"
    made = service.call("POST", path, {"capability": "login", "reason": "stolen_phone"})
    assert made.status_code == 201
    assert service.call("POST", path, {"capability": "login", "reason": "x"}).status_code == 409
    assert service.oauth("introspect", token=granted["access_token"]).json == {"active": False}
    assert refresh(service, granted["refresh_token"]).status_code == 400
    flow = service.begin().json
    denied = service.act(flow, "password", {"password": "a long enough pass phrase"})
    assert (denied.status_code, denied.json["code"]) == (403, "suspended")
    assert service.call("DELETE", f"{path}/login").status_code == 204
    assert service.call("GET", path).json["items"] == []


def test_scopes_are_granted_only_as_held(service):
    """A part can be asked for; more is refused; a missing scope is named."""
    narrow = service.new_client(scopes=("flows:write", "subjects:read"))
    part = service.oauth("token", narrow, grant_type="client_credentials", scope="flows:write")
    assert part.json["scope"] == "flows:write"
    more = service.oauth("token", narrow, grant_type="client_credentials", scope="audit:read")
    assert more.json["error"] == "invalid_scope"
    refused = service.call("POST", "/v1/subjects", {}, bearer=part.json["access_token"])
    assert (refused.status_code, refused.json["scope"]) == (403, "subjects:write")


def test_a_subject_token_does_not_open_the_api(service, granted):
    """Only tokens whose audience is the issuer are taken under /v1."""
    answer = service.call("GET", "/v1/subjects/x", bearer=granted["access_token"])
    assert answer.status_code == 401
    assert "invalid_token" in answer.headers["WWW-Authenticate"]


def test_a_revoked_client_is_out_at_once(service):
    """Its secret and its tokens are refused."""
    client = service.new_client()
    bearer = service.access(client)
    with service.container.store.transaction() as tx:
        service.container.clients.revoke(tx, __import__("uuid").UUID(client[0]))
    assert service.call("GET", "/v1/subjects/x", bearer=bearer).status_code == 401
    assert service.oauth("token", client, grant_type="client_credentials").status_code == 401


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": FLOW_GRANT}, "invalid_grant"),
        ({"grant_type": "refresh_token"}, "invalid_grant"),
        ({"grant_type": "client_credentials", "client_secret": "x"}, "invalid_request"),
    ],
)
def test_requests_that_are_wrong_are_told_why(service, form, error):
    """Each has the code that RFC 6749 gives it."""
    assert service.oauth("token", **form).json["error"] == error


def test_an_unknown_grant_type_is_told_the_known_ones(service):
    """Whoever guessed wrong need not guess again."""
    told = service.oauth("token", grant_type="password").json["error_description"]
    assert FLOW_GRANT in told


def test_clients_authenticate_in_three_ways(service):
    """Basic is form-url-decoded; post and private_key_jwt work; a wrong one is 401 and alike."""
    user, secret = service.new_client()
    odd = base64.b64encode(f"{user.replace('-', '%2D')}:{secret}".encode()).decode()
    basic = service.http.post(
        "/oauth2/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": f"Basic {odd}"},
    )
    post = service.http.post(
        "/oauth2/token",
        data={"grant_type": "client_credentials", "client_id": user, "client_secret": secret},
    )
    assert basic.status_code == post.status_code == 200
    for client in ((user, "wrong"), ("nobody", "wrong"), ("", "")):
        answer = service.oauth("token", client, grant_type="client_credentials")
        assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
        assert "Basic" in answer.headers["WWW-Authenticate"]


def test_a_client_assertion_counts_once(service):
    """With or without client_id beside it; the same one again is refused."""
    key = ECKey.generate_key("P-256", private=True)
    public = {name: key.as_dict(private=False)[name] for name in ("kty", "crv", "x", "y")}
    user, _ = service.new_client(jwks={"keys": [public]})
    now = int(service.clock.now().timestamp())
    claims = {
        "iss": user,
        "sub": user,
        "aud": service.container.settings.issuer,
        "exp": now + 60,
        "jti": "one",
    }
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": jwt.encode({"alg": "ES256"}, claims, key),
    }
    assert service.http.post("/oauth2/token", data=form).status_code == 200
    assert service.http.post("/oauth2/token", data=form).status_code == 401
    wrong = form | {"client_assertion_type": "urn:x"}
    assert service.http.post("/oauth2/token", data=wrong).json["error"] == "invalid_request"
    other = form | {"client_assertion": "no.assertion.here"}
    assert service.http.post("/oauth2/token", data=other).status_code == 401


def test_the_form_is_read_strictly(service):
    """A repeated parameter, JSON in its place or a huge body are refused."""
    header = {"Authorization": "Basic eDp5", "Content-Type": "application/x-www-form-urlencoded"}
    twice = service.http.post("/oauth2/token", data="a=1&a=2", headers=header)
    assert twice.json["error"] == "invalid_request"
    assert service.http.post("/oauth2/token", json={}).json["error"] == "invalid_request"
    huge = service.http.post("/oauth2/token", data={"a": "x" * 100_000})
    assert huge.status_code == 413
    assert service.oauth("introspect").json["error"] == "invalid_request"


def test_the_key_set_holds_public_keys_only(service):
    """A token's `kid` is in it, and no private member."""
    keys = service.http.get("/.well-known/jwks.json").json["keys"]
    assert set(keys[0]) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


@pytest.fixture
def under_psd2(service):
    """The service under PSD2, and the tokens of a session."""
    in_force(service, changed(regime="psd2"))
    return service.exchange(service.login(service.register())["completion_code"]).json


def test_a_session_under_psd2_idles_five_minutes(service, under_psd2):
    """Used within five minutes it goes on; unused for longer it is over, wherever one looks."""
    token = under_psd2["refresh_token"]
    for _ in range(3):
        service.clock.advance(minutes=5)
        answer = refresh(service, token)
        assert answer.status_code == 200, answer.json
        token = answer.json["refresh_token"]
    service.clock.advance(minutes=5, seconds=1)
    assert service.oauth("introspect", token=token).json == {"active": False}
    assert refresh(service, token).status_code == 400


def test_the_policy_shortens_sessions_that_run(service, granted):
    """As soon as it is in force, an unused session is over at introspection and at a step-up."""
    in_force(service, changed(session_idle=60))
    body = {"kind": "step_up", "access_token": granted["access_token"]}
    assert service.oauth("introspect", token=granted["access_token"]).json["active"] is True
    assert service.call("POST", "/v1/flows", body).status_code == 201
    service.clock.advance(seconds=61)
    assert service.oauth("introspect", token=granted["access_token"]).json == {"active": False}
    gone = service.call("POST", "/v1/flows", body)
    assert (gone.status_code, gone.json["code"]) == (404, "session_not_found")


def test_no_policy_lengthens_a_session(service):
    """A day of idling in the document leaves an hour at AAL2."""
    in_force(service, changed(session_idle=86_400))
    token = service.exchange(service.login(service.register())["completion_code"]).json
    service.clock.advance(minutes=61)
    assert refresh(service, token["refresh_token"]).status_code == 400


def test_only_the_segment_that_says_so_is_short(service):
    """Another segment of the same policy keeps what its level allows."""
    document = changed(session_idle=60)
    document["segments"]["calm"] = {"extends": "default", "session_idle": 3600}
    in_force(service, document)
    service.client_id, service.secret = service.new_client(segments=("calm",))
    service.bearer = service.access()
    tokens = service.exchange(service.login(service.register("calm"))["completion_code"]).json
    service.clock.advance(minutes=59)
    assert refresh(service, tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize("name", ["client_secret", "client_assertion"])
def test_an_empty_parameter_is_no_second_way_to_authenticate(service, name):
    """As RFC 6749, section 3.2 has it; two that hold something, and none that does, are refused."""
    for path in ("token", "introspect", "revoke"):
        form = {"grant_type": "client_credentials", "token": "x"}
        empty = service.oauth(path, **form, **{name: "", "client_id": service.client_id})
        assert empty.status_code == 200, empty.json
        second = service.oauth(path, **form, **{name: " "})
        assert (second.status_code, second.json["error"]) == (400, "invalid_request")
        none = service.http.post(
            f"/oauth2/{path}", data=form | {name: "", "client_id": service.client_id}
        )
        assert (none.status_code, none.json["error"]) == (401, "invalid_client")
