"""What the documents say is what is served."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_of_routes_is_what_is_served(service):
    """docs/api.md names every route with its scope, and no other."""
    rows = re.findall(
        r"^\| (GET|POST|PATCH|DELETE) \| (\S+) \| ([^|]+) \|",
        (ROOT / "docs" / "api.md").read_text("utf-8"), re.MULTILINE,
    )  # fmt: skip
    told = {}
    for method, path, scope in rows:
        named = re.search(r"`([a-z:]+)`", scope)
        guarded = named and "client authentication" not in scope
        told[method, path] = named[1] if guarded else "public"
    document = service.http.get("/openapi.json").json
    served = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            scopes = [scope for entry in operation["security"] for scope in entry["client"]]
            served[method.upper(), path] = scopes[0] if scopes else "public"
    assert told == served


def test_the_map_of_concepts_leads_to_files_that_exist():
    """Every path in docs/architecture.md is there."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    paths = re.findall(r"`([a-z_]+/[a-z_/.0-9]+)`", text)
    assert len(paths) > 30
    assert [path for path in paths if not (ROOT / path).exists()] == []
