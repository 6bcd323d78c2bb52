"""Errors as HTTP: RFC 9457 everywhere, RFC 6749 where OAuth wants it."""

import pytest
import structlog
from flask import Flask, abort, g
from werkzeug.exceptions import TooManyRequests

from crypto.errors import KeyUnavailable, OpenError
from service.domain import errors
from service.domain.errors import Fault
from service.telemetry import logs
from service.web import problems

SECRET = "canary"


@pytest.fixture
def answer():
    """Return the answer of an app whose only route raises a given error."""
    app = Flask("fake")
    problems.install(app)
    raised = []

    @app.before_request
    def trace():
        g.trace_id = "trace-1"

    @app.get("/failing")
    def failing():
        raise raised[0]

    @app.get("/directory/")
    def directory():
        return abort(418)

    def ask(error=None, method="GET", path="/failing"):
        raised[:] = [error]
        return app.test_client().open(path, method=method)

    return ask


@pytest.fixture
def lines(capsys):
    """Return a function that gives what was logged."""
    before = structlog.get_config()
    yield lambda: capsys.readouterr().err
    structlog.configure(**before)


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (errors.BadInput(Fault("/a", "c", "d")), 422, "Unprocessable Entity"),
        (errors.Malformed("a_code", "A sentence."), 400, "Bad Request"),
        (errors.TooLarge("a_code", "A sentence."), 413, "Request Entity Too Large"),
        (errors.TooSlow("a_code", "A sentence."), 408, "Request Timeout"),
        (errors.Unauthorized("a_code", "A sentence."), 401, "Unauthorized"),
        (errors.Forbidden("a_code", "A sentence."), 403, "Forbidden"),
        (errors.Denied("a_code", "A sentence."), 403, "Forbidden"),
        (errors.NotFound("a_code", "A sentence."), 404, "Not Found"),
        (errors.Conflict("a_code", "A sentence."), 409, "Conflict"),
        (errors.Expired("a_code", "A sentence."), 410, "Gone"),
        (errors.VerificationFailed("reason"), 422, "Unprocessable Entity"),
        (errors.Throttled(30), 429, "Too Many Requests"),
        (errors.Unavailable("a_code", "A sentence."), 503, "Service Unavailable"),
    ],
)
def test_each_refusal_has_its_status_and_document(answer, error, status, title):
    """The problem document names the type, the place and the trace, and nothing by accident."""
    found = answer(error)
    assert (found.status_code, found.content_type) == (status, "application/problem+json")
    assert {name: found.json[name] for name in ("type", "title", "status", "instance")} == {
        "type": f"urn:lamina:problem:{error.code}",
        "title": title,
        "status": status,
        "instance": "urn:lamina:trace:trace-1",
    }
    assert (found.json["code"], found.json["detail"]) == (error.code, error.detail)
    assert found.json["trace_id"] == "trace-1"
    allowed = {"type", "title", "status", "detail", "instance", "code", "trace_id", "errors"}
    assert set(found.json) <= allowed


def test_every_expected_refusal_has_a_status():
    """No error of the domain but those of OAuth and of the start is left without one."""
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.LaminaError)
    }
    assert kinds - set(problems._STATUS) == {
        errors.LaminaError,
        errors.OAuthError,
        errors.SetupError,
    }


def test_faults_are_listed_with_their_pointers(answer):
    """Each thing to mend comes with its place, its code and a sentence."""
    faults = [Fault("/a/0", "one", "first"), Fault("/b", "two", "second")]
    found = answer(errors.BadInput(*faults)).json
    assert found["detail"] == "/a/0 first"
    assert found["errors"] == [
        {"pointer": "/a/0", "code": "one", "detail": "first"},
        {"pointer": "/b", "code": "two", "detail": "second"},
    ]


def test_further_members_are_shown(answer):
    """A refusal may tell which act needs a grant."""
    refused = errors.Forbidden("grant_required", "A grant.", act="enroll:totp")
    assert answer(refused).json["act"] == "enroll:totp"


def test_the_reason_of_a_failed_check_is_not_told(answer):
    """Two different reasons give the same answer byte for byte."""
    one = answer(errors.VerificationFailed("password_mismatch"))
    other = answer(errors.VerificationFailed("no_totp"))
    assert one.data == other.data
    assert dict(one.headers) == dict(other.headers)


def test_who_must_wait_is_told_how_long(answer):
    """Too many attempts say so in the standard headers; a missing part says when to come back."""
    found = answer(errors.Throttled(30)).headers
    assert (found["Retry-After"], found["RateLimit-Remaining"]) == ("30", "0")
    assert found["RateLimit-Reset"] == "30"
    away = answer(errors.Unavailable("away", "Away.", 60)).headers
    assert away["Retry-After"] == "60"
    assert "RateLimit-Remaining" not in away


def test_a_missing_token_is_challenged(answer):
    """A refused bearer token is answered as RFC 6750 says, and nothing else is."""
    found = answer(errors.Unauthorized("invalid_token", "No."))
    assert found.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert "WWW-Authenticate" not in answer(errors.Forbidden("x", "y")).headers


@pytest.mark.parametrize(
    ("status", "header"),
    [(400, None), (401, ("WWW-Authenticate", 'Basic realm="lamina"')), (503, ("Retry-After", "5"))],
)
def test_an_oauth_endpoint_has_its_own_form(answer, status, header):
    """The body is `error` and `error_description` alone, never stored (RFC 6749 section 5.2)."""
    found = answer(errors.OAuthError("invalid_client", "No.", status))
    assert (found.status_code, found.content_type) == (status, "application/json")
    assert found.json == {"error": "invalid_client", "error_description": "No."}
    assert found.headers["Cache-Control"] == "no-store"
    special = {"WWW-Authenticate", "Retry-After"} & set(found.headers.keys())
    assert special == ({header[0]} if header else set())
    if header:
        assert found.headers[header[0]] == header[1]


def test_unknown_paths_and_methods_are_problems_too(answer):
    """404 and 405 come as problem documents; 405 names the methods that are allowed."""
    missing = answer(path="/nowhere")
    assert (missing.status_code, missing.json["code"]) == (404, "not_found")
    assert missing.content_type == "application/problem+json"
    wrong = answer(method="POST")
    assert (wrong.status_code, wrong.json["code"]) == (405, "method_not_allowed")
    assert set(wrong.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_a_redirect_stays_a_redirect(answer):
    """What is found elsewhere is named and is no problem."""
    found = answer(path="/directory")
    assert (found.status_code, found.is_json) == (308, False)
    assert found.headers["Location"].endswith("/directory/")


def test_a_description_made_elsewhere_is_not_shown(answer):
    """Only the phrase of the status is told of an error that is not ours."""
    found = answer(TooManyRequests(SECRET, retry_after=7))
    assert (found.status_code, found.json["detail"]) == (429, "Too Many Requests.")
    assert found.headers["Retry-After"] == "7"
    assert SECRET.encode() not in found.data


def test_a_value_that_does_not_open_is_an_alarm_and_not_the_callers_fault(answer, lines):
    """The caller hears 503; the log hears the kind of error and the trace."""
    logs.configure("info")
    found = answer(OpenError())
    assert (found.status_code, found.json["code"]) == (503, "sealed_value_refused")
    assert answer(KeyUnavailable("biometric")).json["code"] == "key_unavailable"
    logged = lines()
    assert '"error":"OpenError"' in logged
    assert '"error":"KeyUnavailable"' in logged
    assert '"trace_id":"trace-1"' in logged


@pytest.mark.parametrize("error", [RuntimeError(SECRET), KeyError(SECRET), AssertionError(SECRET)])
def test_an_unexpected_error_tells_its_type_to_the_log_alone(answer, lines, error):
    """The caller hears 500 and a trace; neither hears what the error said."""
    logs.configure("info")
    found = answer(error)
    assert (found.status_code, found.json["code"]) == (500, "internal_error")
    assert type(error).__name__.encode() not in found.data
    logged = lines()
    assert f'"error":"{type(error).__name__}"' in logged
    assert SECRET not in logged + found.text
