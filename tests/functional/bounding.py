"""Bounds that a test can reach, and the refusals of them."""

SMALL = {
    "max_pending_authenticators": 3,
    "max_sessions": 4,
    "max_devices": 3,
    "max_consents": 5,
    "max_exports": 2,
    "max_approvals": 2,
    "max_jobs": 3,
    "max_drafts": 3,
    "max_idempotency_keys": 6,
    "max_assertions": 4,
    "max_calls_per_minute": 120,
    "max_token_calls_per_minute": 50,
    "max_totps": 2,
    "max_webhooks": 2,
    "max_flows_per_minute": 30,
    "max_flows_per_identifier": 8,
}


def refused(answer, code, status=429):
    """Hold that an answer is the refusal of a bound, which says how long to wait."""
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.json
    if status == 429:
        assert int(answer.headers["Retry-After"]) >= 1


def rows(service, person, part, **query):
    """Return a list of a person, page after page."""
    found, cursor = [], None
    while True:
        query |= {"cursor": cursor} if cursor else {}
        text = "&".join(f"{name}={value}" for name, value in query.items())
        page = service.call("GET", f"/v1/subjects/{person.id}/{part}?{text}").json
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found
