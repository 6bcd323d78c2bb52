"""What the documents say is what is served."""

import re
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy import text as sql

from service.cli import main
from service.settings import Settings
from tests.functional.conftest import PASSWORD

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(it for it in ROOT.glob("*.md") if it.name != "CHANGELOG.md"),
    *(ROOT / "docs").rglob("*.md"),
]
"""All but the changelog, which names what was there at its time."""


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
            scopes = [scope for entry in operation["security"] for scope in entry.get("client", ())]
            served[method.upper(), path] = scopes[0] if scopes else "public"
    assert told == served


def test_every_path_and_link_of_the_documents_leads_somewhere():
    """Paths of this repository in backticks, file names of Python, links and their headings."""
    roots = "benchmarks|biometrics|crypto|deploy|docs|findings|lab|migrations|service|tests"
    known = {it.name for root in roots.split("|") for it in (ROOT / root).rglob("*.py")}
    lost, found = [], 0
    for file in DOCUMENTS:
        text = re.sub(r"^```.*?^```", "", file.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        paths = re.findall(rf"`((?:{roots})/[^`\s<>…]*)`", text)
        lost += [(file.name, it) for it in paths if not any(ROOT.glob(it.rstrip("/")))]
        lost += [(file.name, it) for it in re.findall(r"`(\w+\.py)`", text) if it not in known]
        links = re.findall(r"\]\(([^()\s#]*)(?:#([^()\s]*))?\)", text)
        for link, heading in links:
            target = file.parent / link if link else file
            if "://" not in link and not (target.exists() and heading in {"", *_headings(target)}):
                lost.append((file.name, f"{link}#{heading}"))
        found += len(paths) + len(links)
    assert found > 250
    assert lost == []


def _headings(file):
    """Return the anchors of a document's headings, as GitHub makes them."""
    if file.suffix != ".md":
        return set()
    heads = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_term_of_the_glossary_is_in_the_code_that_it_names():
    """Each has one row; each name stands in the file before it."""
    text = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    terms = {row[0].removeprefix("| "): row[2] for row in rows if "`" in row[-1]}
    assert len(terms) > 40
    assert len(terms) == len([row for row in rows if "`" in row[-1]])
    for term, code in terms.items():
        named = re.findall(r"`([\w/]+\.py)` `(\w+)`", code)
        assert named, term
        for path, name in named:
            assert re.search(rf"\b{name}\b", (ROOT / path).read_text("utf-8")), (term, path, name)


def test_every_name_that_is_given_with_a_file_is_in_it():
    """Whoever adds a factor or a log field finds each name where the page says it is."""
    files = (ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md")
    text = " ".join(" ".join(file.read_text("utf-8") for file in files).split())
    listed = r"((?:`\w+`(?:, | and | or )?)+) (?:in|of) `([\w/]+\.py)`"
    found = [
        (name, path)
        for names, path in re.findall(listed, text)
        for name in re.findall(r"`(\w+)`", names)
    ] + [(name, path) for path, name in re.findall(r"`([\w/]+\.py)` `(\w+)`", text)]
    assert len(found) > 15
    for name, path in found:
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text("utf-8")), (name, path)


def test_the_login_of_the_architecture_leaves_the_rows_that_it_lists(service):
    """Step by step: tables that gain a row, the revision of the flow, entries of the log."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    steps = re.findall(
        r"^\| (begin|password|totp|token) \| (.*) \| (\d) \| (.*) \|$", text, re.MULTILINE
    )
    listed = [
        (step, re.findall(r"\w+", rows), int(revision), re.findall(r"[\w.]+", leaves))
        for step, rows, revision, leaves in steps
    ]
    person = service.register()
    service.clock.advance(minutes=1)
    flow = {}

    def begin():
        flow.update(service.begin(person.name).json)

    def complete():
        flow.update(service.act(flow, "totp", {"code": service.code(person)}).json)

    acts = {
        "begin": begin,
        "password": lambda: service.act(flow, "password", {"password": PASSWORD}),
        "totp": complete,
        "token": lambda: service.exchange(flow["completion_code"]),
    }
    seen, before = [], _rows(service)
    for step, act in acts.items():
        act()
        after = _rows(service)
        added = {name: count for name, count in (after - before).items() if count}
        leaves = [name.removeprefix("leaf ") for name in added if name.startswith("leaf ")]
        tables = [name for name in added if not name.startswith("leaf ")]
        assert set(added.values()) <= {1}, added
        seen.append((step, sorted(tables), _revision(service), sorted(leaves)))
        before = after
    assert [(step, sorted(rows), at, sorted(leaves)) for step, rows, at, leaves in listed] == seen


def _rows(service):
    """Return how many rows each table has, but for data keys, and entries of each kind the log."""
    engine = service.container.store.engine
    names = set(inspect(engine).get_table_names()) - {"dek", "audit_leaf"}
    with engine.connect() as connection:
        rows = {
            name: connection.execute(sql(f'SELECT count(*) FROM "{name}"')).scalar()  # noqa: S608 - names of the schema
            for name in names
        }
        kinds = connection.execute(sql("SELECT kind FROM audit_leaf")).scalars()
        return Counter(rows) + Counter(f"leaf {kind}" for kind in kinds)


def _revision(service):
    with service.container.store.engine.connect() as connection:
        return connection.execute(sql("SELECT revision FROM flow")).scalar()


@pytest.mark.parametrize("name", ["threat-model", "keys"])
def test_every_test_that_holds_an_attack_exists(name):
    """Each attack has one, and one named with its file is in that file."""
    known = {"": set()}
    for file in (ROOT / "tests").rglob("test_*.py"):
        functions = re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
        known.setdefault(file.name, set()).update(functions)
        known[""].update(functions)
    rows = re.findall(r"^\| .*$", (ROOT / "docs" / f"{name}.md").read_text("utf-8"), re.MULTILINE)
    attacks = {row: re.findall(r"`(test_[^`]+)`", row.split(" | ")[-1]) for row in rows}
    assert sum(map(bool, attacks.values())) > 10
    for test in (test for tests in attacks.values() for test in tests):
        file, _, function = test.rpartition("::")
        assert test in known or function in known.get(file, ()), test
    if name == "threat-model":
        # Every row is an attack there, but the heads of the tables.
        held = [row for row, tests in attacks.items() if tests or row.startswith("| attack")]
        assert [row for row in attacks if row not in held] == []


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


def test_every_setting_stands_in_the_page_of_settings():
    """Each has a row, and the bounds another that says what is beyond."""
    told = set(re.findall(r"`LAMINA_([A-Z_]+)", (ROOT / "docs" / "settings.md").read_text("utf-8")))
    names = {name.upper() for name in Settings.model_fields} - {"ROOT_KEY_CLASSES"}
    bounds = (ROOT / "docs" / "retention.md").read_text("utf-8")
    missing = [name for name in names if name.startswith("MAX_") and name not in bounds]
    assert (names - told, missing) == (set(), [])
    assert {name for name in told - names if not name.startswith("ROOT_KEY_")} <= {"MAX_"}


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
