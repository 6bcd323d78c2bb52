"""`lamina policy`, as an operator types it."""

import json
from pathlib import Path

import pytest

from service.cli import main
from tests.functional.test_cli import lamina, ready  # noqa: F401 - fixtures

DOCS = Path(__file__).parents[2] / "docs" / "policies"
RETAIL = str(DOCS / "retail.yaml")


def told(result):
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_file_is_checked_without_keys_or_database(lamina, tmp_path):  # noqa: F811 - the fixture
    """A valid one is told with its version, a wrong one with the pointer of each fault."""
    found = told(lamina("policy", "validate", RETAIL, "--json"))
    assert (len(found["version"]), found["segments"]) == (64, ["default"])
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("format: 1\nname: X\nbands: 3\n", "utf-8")
    refused = lamina("policy", "validate", str(wrong))
    assert refused.exit_code == 2
    for pointer in ("/name: ", "/bands: ", "/segments: "):
        assert pointer in refused.stderr
    few = lamina("policy", "validate", RETAIL, "--factor", "password")
    assert (few.exit_code, "/segments/default/login" in few.stderr) == (2, True)
    assert told(lamina("policy", "schema"))["title"] == "Lamina policy"


def test_a_file_that_lets_unverified_addresses_sign_in_is_warned_of(lamina, tmp_path):  # noqa: F811 - the fixture
    """It is valid, and what it costs is told with its place."""
    text = Path(RETAIL).read_text("utf-8")
    open_to_all = "default:\n    subjects: {unverified_email_sign_in: true}"
    file = tmp_path / "open.yaml"
    file.write_text(text.replace("default:", open_to_all, 1), "utf-8")
    found = lamina("policy", "validate", str(file))
    place = "warning: /segments/default/subjects/unverified_email_sign_in: an address that anybody"
    assert (found.exit_code, place in found.stdout) == (0, True)


def test_a_document_lives_and_is_alarmed(ready):  # noqa: F811 - the fixture
    """Draft, shadow, activate and roll back on the host; every act raises the alarm."""
    version = told(ready("policy", "draft", RETAIL, "--json"))["version"]
    assert told(ready("policy", "shadow", version, "--json"))["status"] == "shadow"
    assert ready("policy", "shadow", version, "--off").exit_code == 0
    assert ready("policy", "activate", version).exit_code == 2
    assert told(ready("policy", "activate", version[:10], "--yes", "--json"))["status"] == "active"
    statuses = {row["name"]: row["status"] for row in told(ready("policy", "list", "--json"))}
    assert statuses == {"retail": "active", "shipped": "retired"}
    assert told(ready("policy", "show", version))["document"]["name"] == "retail"
    back = told(ready("policy", "rollback", version, "--yes", "--json"))
    assert back["name"] == "shipped"
    assert ready("policy", "show", "ffffffffff").exit_code == 2
    kinds = [row["kind"] for row in told(ready("outbox", "--json"))]
    assert kinds.count("alarm.break_glass") == 5


def test_parameters_and_comparisons(ready):  # noqa: F811 - the fixture
    """Looser needs --yes; a backtest and a replay of nothing say so; nothing held is told."""
    assert ready("policy", "tighten", "1.0").exit_code == 0
    loosen = ready("policy", "tighten", "--", "-1.0")
    assert loosen.exit_code == 1
    assert ready("policy", "tighten", "--yes", "--", "-1.0").exit_code == 0
    version = told(ready("policy", "list", "--json"))[0]["version"]
    assert "no decisions" in ready("policy", "backtest", version).stdout
    assert told(ready("policy", "backtest", version, "--json")) == {"segments": [], "unopened": 0}
    assert told(ready("policy", "replay", "--days", "3", "--json"))["reproduced"] == 0
    subject = "0198c0de-0000-7000-8000-000000000000"
    assert ready("policy", "clear-risk", subject).exit_code == 2


@pytest.mark.parametrize("name", sorted(main.commands["policy"].commands))
def test_every_command_has_an_example(lamina, name):  # noqa: F811 - the fixture
    """The help of each shows how it is used."""
    shown = lamina("policy", name, "--help")
    assert (shown.exit_code, "Example: lamina policy" in shown.stdout) == (0, True)
