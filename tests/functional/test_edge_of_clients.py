"""OAuth endpoints: a client that authenticates is counted by itself, everybody else by address."""

import asyncio
import base64

import pytest
from limits import RateLimitItemPerMinute
from sqlalchemy import event

from service.domain.errors import Unavailable
from service.web.front import Front
from tests.functional.test_front import QUICK, Sender, length

FORM = (b"content-type", b"application/x-www-form-urlencoded")
GRANT = {"grant_type": "client_credentials"}
LATER = "temporarily_unavailable"
MOST = 6


@pytest.fixture
def few(monkeypatch):
    """An address may fail to authenticate six times."""
    monkeypatch.setattr("service.web.limits._UNAUTHENTICATED", RateLimitItemPerMinute(MOST))


@pytest.fixture
def settings(settings):
    """A client may call eight times; the first call is the fixture's own."""
    return settings.model_copy(update={"max_token_calls_per_minute": 8})


def guess(service, path="token", address="192.0.2.1", user=None, **form):
    """Send a wrong secret from an address."""
    basic = base64.b64encode(f"{user or service.client_id}:wrong".encode()).decode()
    return service.http.post(
        f"/oauth2/{path}",
        data=form or GRANT,
        headers={"Authorization": f"Basic {basic}"},
        environ_base={"REMOTE_ADDR": address},
    )


def refused(answer):
    """Hold that an answer is a refusal in the form of OAuth, with the time to wait."""
    assert answer.status_code == 429
    assert answer.content_type == "application/json"
    assert set(answer.json) == {"error", "error_description"}
    assert answer.json["error"] == LATER
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["RateLimit-Remaining"] == "0"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.usefixtures("few")
def test_guesses_of_an_address_are_bounded_over_all_paths_and_spellings(service):
    """Six in all, whatever the endpoint, the client and the way that the address is written."""
    paths = ("token", "introspect", "revoke")
    spelled = ("192.0.2.1", "::ffff:192.0.2.1")
    users = (None, "nobody", service.client_id.upper())
    answers = [
        guess(service, paths[n % 3], spelled[n % 2], users[n % 3], token="x", **GRANT)
        for n in range(MOST)
    ]
    assert [answer.status_code for answer in answers] == [401] * MOST
    refused(guess(service))
    refused(guess(service, "revoke", "::ffff:192.0.2.1", "nobody"))
    assert guess(service, address="192.0.2.2").status_code == 401


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"data": GRANT}, 401),
        ({"data": "x" * 70_000, "content_type": "application/x-www-form-urlencoded"}, 413),
        ({"data": "{}", "content_type": "application/json"}, 400),
        ({"data": GRANT, "headers": {"Authorization": ""}}, 401),
    ],
)
def test_a_request_that_names_no_client_counts_too(service, sent, status):
    """Without credentials, too large, or in another form: each counts for its address."""
    answers = [service.http.post("/oauth2/token", **sent) for _ in range(MOST + 1)]
    assert [answer.status_code for answer in answers[:MOST]] == [status] * MOST
    refused(answers[-1])


@pytest.mark.usefixtures("few")
def test_a_refused_address_costs_no_statement(service):
    """Nothing is read of the client whom it names, and the bound does not move."""
    for _ in range(MOST):
        guess(service)
    seen = []
    event.listen(
        service.container.store.engine, "before_cursor_execute", lambda *more: seen.append(more[2])
    )
    for _ in range(3):
        refused(guess(service))
    assert seen == []


def test_an_address_that_authenticates_is_not_counted(service, monkeypatch):
    """A backend calls as often as its clients may, though it is one address."""
    monkeypatch.setattr("service.web.limits._UNAUTHENTICATED", RateLimitItemPerMinute(1))
    clients = [service.new_client(name=f"shop {n}") for n in range(3)]
    answers = [service.oauth("token", clients[n % 3], **GRANT) for n in range(24)]
    assert {answer.status_code for answer in answers} == {200}


def test_a_client_is_bounded_and_no_other_with_it(service):
    """Eight calls over all endpoints; the ninth is refused, that of another client is not."""
    client, other = service.new_client(name="busy"), service.new_client(name="calm")
    answers = [service.oauth("introspect", client, token="x") for _ in range(4)]
    answers += [service.oauth("revoke", client, token="x") for _ in range(3)]
    # What it asks for wrongly counts as well: it has authenticated.
    answers.append(service.oauth("token", client, grant_type="unknown"))
    assert [answer.status_code for answer in answers] == [200] * 7 + [400]
    for _ in range(3):
        refused(service.oauth("token", client, **GRANT))
    assert service.oauth("token", other, **GRANT).status_code == 200


def test_a_stranger_does_not_use_up_what_a_client_may(service):
    """Wrong secrets in its name count for their address alone."""
    client = service.new_client(name="victim")
    for _ in range(20):
        assert guess(service, user=client[0]).status_code == 401
    answers = [service.oauth("token", client, **GRANT).status_code for _ in range(9)]
    assert answers == [200] * 8 + [429]
    # Whoever only names a client that has used up its calls learns nothing of that.
    assert guess(service, user=client[0]).status_code == 401


def test_a_call_that_is_refused_uses_up_nothing(service, monkeypatch):
    """The completion code of a refused exchange is still good."""
    person = service.register()
    code = service.login(person)["completion_code"]
    for _ in range(8):
        service.oauth("introspect", token="x")
    refused(service.exchange(code))
    monkeypatch.setattr("service.web.limits.time.monotonic", lambda: 1e12)
    assert service.exchange(code).status_code == 200


@pytest.mark.usefixtures("few")
def test_an_outage_counts_for_nobody(service, monkeypatch):
    """Where the database is away, a client that calls again and again is not shut out after it."""

    def away(*_more):
        raise Unavailable("database_away", "Away.")

    with monkeypatch.context() as patch:
        patch.setattr(type(service.container.clients), "authenticate_secret", away)
        patch.setattr(type(service.container.clients), "recognized", lambda *_of: None)
        for _ in range(MOST + 2):
            assert service.oauth("token", **GRANT).status_code == 503
    assert service.oauth("token", **GRANT).status_code == 200


@pytest.mark.usefixtures("few")
def test_a_slow_body_counts_before_it_is_read(service):
    """Six of an address are waited for, and the next is refused before its body came."""
    front = Front(service.app, deadlines=QUICK)
    try:
        slow = [
            asyncio.run(Sender(front, "/oauth2/token", [b"g", None], [FORM, length(900)]).run())
            for _ in range(MOST + 1)
        ]
    finally:
        front.close()
    assert [sender.status for sender in slow] == [408] * MOST + [429]
    assert slow[-1].json["error"] == LATER


def test_refusals_of_both_kinds_are_told_apart_in_the_log_alone(service, few):
    """The metric has the reason; the caller hears the same of both."""
    client = service.new_client(name="busy")
    answers = [service.oauth("token", client, **GRANT) for _ in range(9)]
    guesses = [guess(service) for _ in range(MOST + 2)]
    refused(answers[-1])
    refused(guesses[-1])
    shown = service.measured()
    assert 'lamina_throttled_total{reason="too_many_token_calls"} 1.0' in shown
    assert 'lamina_throttled_total{reason="too_many_unauthenticated"} 2.0' in shown
