"""What lies in deploy/ names only what there is: metrics, labels, commands and settings."""

import json
import re
from pathlib import Path

import httpx
import pytest
import yaml

from tests.functional.test_metrics import LABELS
from tests.functional.test_serving import reserved

ROOT = Path(__file__).parents[2]
# What Prometheus adds to every series of a target.
OF_TARGETS = {"instance", "job"}
ADDED = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}


def alerts():
    """Return every alert rule."""
    groups = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels():
    """Return every panel of the dashboard that asks for something."""
    board = json.loads((ROOT / "deploy" / "grafana.json").read_text("utf-8"))
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions():
    """Return every expression of alerts and dashboard."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [rule["expr"] for rule in alerts()] + asked


@pytest.fixture
def served(service):
    """Every name of a sample that the private address serves, after a login."""
    service.login(service.register())
    service.container.jobs.run_due()
    with reserved(0) as free:
        port = free.getsockname()[1]
        service.container.metrics.expose(f"127.0.0.1:{port}", 1)
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=120).text
    names = set()
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            names |= {f"{name}{end}" for end in ADDED.get(kind, ("",))}
    return names, text


def test_alerts_and_dashboard_use_metrics_that_are_served(served):
    """Each name of an expression is one of a sample, and each label one that it has."""
    names, _ = served
    used = set()
    for expression in expressions():
        found = set(re.findall(r"\blamina_\w+", expression))
        assert found, expression
        assert found <= names, (expression, found - names)
        used |= found
        groups = re.findall(r"(?:by|ignoring|on) \(([\w, ]+)\)", expression)
        matched = re.findall(r"[{,]\s*(\w+)\s*[=!]", expression)
        labels = {label.strip() for group in groups for label in group.split(",")} | set(matched)
        assert labels <= LABELS | OF_TARGETS, expression
        assert _balanced(expression), expression
    # Every family is looked at by somebody.
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in names}
    shown = {re.sub("_(bucket|count|sum)$", "", name) for name in used}
    ours = {
        name for name in families if name.startswith("lamina_") and not name.endswith("_created")
    }
    assert ours - shown == set()


def _balanced(expression):
    bare = re.sub(r'"[^"]*"', "", expression)
    return all(bare.count(a) == bare.count(b) for a, b in ("()", "[]", "{}"))


def test_labels_of_expressions_have_values_that_there_are(served):
    """An alert that waits for a value which nothing has would never be raised."""
    _, text = served
    for expression in expressions():
        for name, label, value in re.findall(r'(lamina_\w+)\{(\w+)="(\w+)"\}', expression):
            if (name, value) == ("lamina_factor_attempts_total", "failed"):
                # Nobody has failed here yet; the program counts it by this word.
                assert '"failed"' in (ROOT / "service/login/actions/attempts.py").read_text("utf-8")
                continue
            assert re.search(rf'^{name}\{{[^}}]*{label}="{value}"', text, re.MULTILINE), expression


def test_every_alert_says_what_it_is_and_what_mends_it():
    """A name of its own, how bad it is, a sentence, and a command or a place to look."""
    rules = alerts()
    assert len({rule["alert"] for rule in rules}) == len(rules) > 15
    for rule in rules:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "mend"}
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}


def test_every_panel_has_a_title_a_place_and_a_question():
    """No two lie upon each other, and the source of data is chosen where it is imported."""
    taken = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert cells & taken == set(), panel["title"]
        taken |= cells
        assert max(x for x, _ in cells) < 24
        assert panel["datasource"]["uid"] == "${source}"
        assert panel["title"]
        assert all(target["expr"] for target in panel["targets"])
