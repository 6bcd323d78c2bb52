"""Webhooks over HTTP: two operators agree on each address and each secret, one removes."""

import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from uuid import UUID

import pytest

from service.audit.model import Wanted
from service.domain.errors import Conflict
from service.web.paging import PageRequest
from tests.functional.test_operators import approved
from tests.functional.test_quorum import who

HOOKS = "/v1/webhooks"
URL = "https://shop.example/lamina/8f14e45f"
AT_ONCE = 20


@pytest.fixture
def settings(settings):
    """A bound that a test can reach."""
    return settings.model_copy(update={"max_webhooks": 3})


@pytest.fixture
def agreed(service, officers):
    """Ask, let the other approve what the refusal names, and ask again."""
    ada, grace = officers

    def ask(path, body=None, **headers):
        needed = service.call("POST", path, body or {}, bearer=ada)
        assert (needed.status_code, needed.json["code"]) == (403, "approval_required"), needed.json
        told = needed.json
        number = approved(service, officers, told["act"], told["target"], **told["params"]).json[
            "id"
        ]
        full = (body or {}) | {"approval": number}
        return service.call("POST", path, full, bearer=grace, **headers)

    return ask


def listed(service, officers):
    return service.call("GET", HOOKS, bearer=officers[0]).json["items"]


def test_a_webhook_is_added_by_two_and_its_secret_shown_once(service, officers, agreed):
    """The answer alone has the secret; both who agreed stand in the log."""
    answer = agreed(HOOKS, {"url": f" {URL} ", "kinds": "authenticator.*,subject.suspended"})
    assert answer.status_code == 201, answer.json
    made = answer.json
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made["kinds"] == "authenticator.* subject.suspended"
    assert (made["url"], made["client"]) == (URL, None)
    assert listed(service, officers) == [made]
    with service.container.store.transaction(read=True) as tx:
        assert service.container.delivery.webhooks.listed(tx) == [made]
        entries = service.container.audit.page(tx, PageRequest(), Wanted(name="webhook.added"))[
            "items"
        ]
    assert [item["actor"] for item in entries] == [
        "+".join(f"operator:{who(service, bearer)}" for bearer in officers)
    ]
    assert secret not in str(entries)
    assert "8f14e45f" not in str(entries)


def test_an_approval_is_for_one_address_and_no_other(service, officers):
    """Neither another path, nor other kinds, nor other people than those of one client."""
    client = service.client_id
    body = {"url": URL, "kinds": "session.*", "client": client}
    told = service.call("POST", HOOKS, body, bearer=officers[0]).json
    assert told["target"] == sha256(URL.encode()).hexdigest()
    assert told["params"] == {"host": "shop.example", "kinds": "session.*", "client": client}
    number = approved(service, officers, told["act"], told["target"], **told["params"]).json["id"]
    for other in ({"url": URL + "0"}, {"kinds": "*"}, {"client": None}):
        answer = service.call(
            "POST", HOOKS, body | {"approval": number} | other, bearer=officers[0]
        )
        assert (answer.status_code, answer.json["code"]) == (403, "approval_mismatch"), other
    full = body | {"approval": number}
    made = service.call("POST", HOOKS, full, bearer=officers[0], Idempotency_Key="k")
    assert (made.status_code, made.json["client"]) == (201, client)
    again = service.call("POST", HOOKS, full, bearer=officers[0], Idempotency_Key="k")
    assert again.json == made.json
    used = service.call("POST", HOOKS, full, bearer=officers[0])
    assert used.json["code"] == "approval_decided"
    assert len(listed(service, officers)) == 1


def test_a_secret_is_replaced_by_two_and_the_old_one_signs_on(service, officers, agreed):
    """For a day where nothing is said, as on the host; never for longer than was approved."""
    made = agreed(HOOKS, {"url": URL}).json
    path = f"{HOOKS}/{made['id']}/secret"
    turned = agreed(path)
    assert turned.status_code == 200, turned.json
    assert turned.json["secret"] != made["secret"]
    assert turned.json["old_secret_until"] == "2026-11-25T12:00:05Z"

    def signing():
        with service.container.store.transaction(read=True) as tx:
            return len(service.container.delivery.webhooks.endpoint(tx, UUID(made["id"])).secrets)

    assert signing() == 2
    assert agreed(path, {"overlap": 0}).json["old_secret_until"] is None
    assert signing() == 1
    told = service.call("POST", path, {"overlap": 60}, bearer=officers[0]).json
    number = approved(service, officers, told["act"], told["target"], **told["params"]).json["id"]
    longer = {"overlap": 86_400, "approval": number}
    answer = service.call("POST", path, longer, bearer=officers[0])
    assert answer.json["code"] == "approval_mismatch"
    nowhere = agreed(f"{HOOKS}/{UUID(int=7)}/secret")
    assert (nowhere.status_code, nowhere.json["code"]) == (404, "webhook_not_found")


def test_one_operator_removes_a_webhook(service, officers, agreed):
    """It is gone from the list, once."""
    path = f"{HOOKS}/{agreed(HOOKS, {'url': URL}).json['id']}"
    assert service.call("DELETE", path, bearer=officers[1]).status_code == 204
    assert listed(service, officers) == []
    assert service.call("DELETE", path, bearer=officers[1]).json["code"] == "webhook_not_found"


def test_webhooks_are_bounded_and_paged(service, officers, agreed):
    """One too many is told after the approval, which is not used up by that."""
    for number in range(3):
        service.clock.advance(seconds=1)
        assert agreed(HOOKS, {"url": f"{URL}/{number}"}).status_code == 201
    body = {"url": f"{URL}/3"}
    told = service.call("POST", HOOKS, body, bearer=officers[0]).json
    body["approval"] = approved(
        service, officers, told["act"], told["target"], **told["params"]
    ).json["id"]
    full = service.call("POST", HOOKS, body, bearer=officers[0])
    assert (full.status_code, full.json["code"]) == (409, "too_many_webhooks")
    first = service.call("GET", f"{HOOKS}?limit=2", bearer=officers[0]).json
    more = f"{HOOKS}?limit=2&cursor={first['next_cursor']}"
    second = service.call("GET", more, bearer=officers[0]).json
    assert [item["url"][-1] for item in first["items"] + second["items"]] == ["0", "1", "2"]
    assert second["next_cursor"] is None
    path = f"{HOOKS}/{second['items'][0]['id']}"
    assert service.call("DELETE", path, bearer=officers[0]).status_code == 204
    assert service.call("POST", HOOKS, body, bearer=officers[0]).status_code == 201


def test_of_twenty_at_once_no_more_than_the_bound_are_added(service):
    """Each counts what the others have added."""
    container, barrier = service.container, threading.Barrier(AT_ONCE)

    def add(number):
        barrier.wait(30)
        try:
            with container.store.transaction() as tx:
                return container.delivery.webhooks.add(
                    tx, url=f"{URL}/{number}", kinds="*", client=None
                )["id"]
        except Conflict as refused:
            return refused.code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(add, range(AT_ONCE)))
    assert found.count("too_many_webhooks") == AT_ONCE - 3


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": "https://user:pass@shop.example/"}, "/url"),
        ({"url": "https://shop.example/#x"}, "/url"),
        ({"url": "file:///etc/passwd"}, "/url"),
        ({"url": "gopher://shop.example/"}, "/url"),
        ({"url": "https://"}, "/url"),
        ({"url": "https://shop.example/" + "x" * 512}, "/url"),
        ({"url": URL, "kinds": "no-such"}, "/kinds"),
        ({"url": URL, "kinds": "A"}, "/kinds"),
        ({"url": URL, "client": str(UUID(int=3))}, "/client"),
    ],
)
def test_what_cannot_be_a_webhook_is_refused_before_anybody_approves(
    service, officers, body, pointer
):
    """By its place, and without the address in the answer."""
    answer = service.call("POST", HOOKS, body, bearer=officers[0])
    assert answer.status_code == 422, answer.json
    assert [fault["pointer"] for fault in answer.json["errors"]] == [pointer]
    assert "pass" not in answer.text.replace("passed", "")


def test_clients_see_and_change_no_webhook(service):
    """Only operators hold the scope."""
    for method, path in (
        ("GET", HOOKS),
        ("POST", HOOKS),
        ("POST", f"{HOOKS}/{UUID(int=1)}/secret"),
        ("DELETE", f"{HOOKS}/{UUID(int=1)}"),
    ):
        answer = service.call(method, path, {"url": URL} if path == HOOKS else None)
        assert (answer.status_code, answer.json["scope"]) == (403, "clients:admin")
