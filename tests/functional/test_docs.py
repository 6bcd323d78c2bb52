"""What the documents say is what is served."""

import re
from collections import Counter
from pathlib import Path

from service.cli import main
from service.settings import Settings

ROOT = Path(__file__).parents[2]


def test_the_table_of_routes_is_what_is_served(service):
    """docs/api.md names every route with its scope, and no other."""
    rows = re.findall(
        r"^\| (GET|POST|PATCH|DELETE) \| (\S+) \| ([^|]+) \|",
        (ROOT / "docs" / "api.md").read_text("utf-8"),
        re.MULTILINE,
    )
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


def test_every_command_stands_in_the_documents():
    """README or docs name each under its full name, as it is typed."""

    def walk(command, path):
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                yield from walk(child, f"{path} {name}")
        else:
            yield path

    files = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = " ".join(" ".join(file.read_text("utf-8").split()) for file in files)
    commands = list(walk(main, "lamina"))
    assert len(commands) > 40
    assert [it for it in commands if not re.search(rf"{it}(?![\w-])", text)] == []


def test_every_setting_stands_in_the_table_of_the_readme():
    """Each has a row, those of the bounds one together."""
    text = (ROOT / "README.md").read_text("utf-8")
    told = set(re.findall(r"`LAMINA_([A-Z_]+)", text))
    names = {name.upper() for name in Settings.model_fields} - {"ROOT_KEY_CLASSES"}
    assert {name for name in names if not name.startswith("MAX_")} - told == set()
    bounds = (ROOT / "docs" / "retention.md").read_text("utf-8")
    missing = [name for name in names if name.startswith("MAX_") and name not in bounds]
    assert (missing, "`LAMINA_MAX_…`" in text) == ([], True)


def test_no_document_says_a_thing_twice():
    """Merging leaves paragraphs, bullets and headings twice; none stands so."""
    files = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    twice = []
    for file in files:
        parts = re.split(r"\n\s*\n|\n(?=- )", file.read_text("utf-8"))
        long = Counter(part.strip() for part in parts if len(part.strip()) > 60)
        names = Counter(it for part in parts for it in re.findall(r"\A- \*\*[^*]+\*\*", part))
        twice += [(file.name, it[:60]) for it, count in (long + names).items() if count > 1]
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8").split("\n## ")[1]
    heads = Counter(re.findall(r"^### .*$", changes, re.MULTILINE))
    assert (twice, [head for head, count in heads.items() if count > 1]) == ([], [])
