"""Lists over HTTP are given in pages."""

from service.policy.model import parser
from tests.functional.policing import act, changed


def test_policies_are_listed_by_pages(service):
    """Newest first, each once, also when one is added between two pages."""
    for number in range(4):
        service.clock.advance(seconds=1)
        act(service, "draft", parser.read(changed() | {"name": f"draft-{number}"}), "test")
    whole = service.call("GET", "/v1/policies").json
    assert whole["next_cursor"] is None
    names = [item["name"] for item in whole["items"]]
    assert names == ["draft-3", "draft-2", "draft-1", "draft-0", "shipped"]
    first = service.call("GET", "/v1/policies?limit=2").json
    act(service, "draft", parser.read(changed() | {"name": "late"}), "test")
    second = service.call("GET", f"/v1/policies?limit=2&cursor={first['next_cursor']}").json
    third = service.call("GET", f"/v1/policies?limit=2&cursor={second['next_cursor']}").json
    pages = (first, second, third)
    assert [[item["name"] for item in page["items"]] for page in pages] == [
        names[:2],
        names[2:4],
        names[4:],
    ]
    assert third["next_cursor"] is None
    for query, code in (("limit=0", "bad_limit"), ("cursor=x", "bad_cursor")):
        refused = service.call("GET", f"/v1/policies?{query}")
        assert (refused.status_code, refused.json["errors"][0]["code"]) == (422, code)
    told = service.http.get("/openapi.json").json["paths"]["/v1/policies"]["get"]["parameters"]
    assert [(item["name"], item["in"]) for item in told] == [
        ("limit", "query"),
        ("cursor", "query"),
    ]
