"""`lamina config` tells each setting, where it comes from and what it is for, and no secret."""

import json
from pathlib import Path

import pytest

from crypto.keyring import KEY_CLASSES
from service.cli.config import masked, meanings, page, written
from service.settings import Settings, load
from tests.functional.test_cli import lamina  # noqa: F401 - a fixture

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
SECRETS = {
    "LAMINA_DATABASE_URL": "postgresql+psycopg://canary:canary/@x@db:5432/lamina?password=canary",
    "LAMINA_REDIS_URL": "rediss://canary:canary@cache:6379/0",
    "LAMINA_SMTP_URL": "smtps://canary:canary@mail:465",
    "LAMINA_SMS_URL": "https://canary:canary@sms.example/hooks/canary?key=canary",
    "LAMINA_SMS_SECRET": "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5",
    "LAMINA_ROOT_KEY": "vault:https://canary:canary@vault:8200,token-file=/run/token",
    "LAMINA_ROOT_KEY_FACTOR": "pkcs11:/lib/p11.so,token=shop,pin=canary",
}


def told(answer):
    """Return the rows of the command by the name of the setting."""
    assert answer.exit_code == 0, answer.output
    return {row["setting"]: row for row in json.loads(answer.stdout)}


def test_every_setting_is_told_with_its_meaning(lamina):  # noqa: F811 - a fixture
    """In JSON and in lines; each name once, each with words of its own."""
    rows = told(lamina("config", "--json"))
    names = {f"LAMINA_{name.upper()}" for name in Settings.model_fields}
    assert set(rows) == names - {"LAMINA_ROOT_KEY_CLASSES"}
    assert all(row["meaning"] and "](" not in row["meaning"] for row in rows.values())
    lines = lamina("config").stdout.splitlines()
    assert len(lines) == 2 * len(rows)
    assert [line.split("=")[0] for line in lines[::2]] == list(rows)


def test_each_setting_has_one_place_in_the_texts():
    """No setting is without words, and no words without a setting."""
    told = [name for part in meanings().values() for name in part]
    assert sorted(told) == sorted(Settings.model_fields)


def test_the_page_of_settings_is_what_the_command_prints(lamina):  # noqa: F811 - a fixture
    """docs/settings.md is made, by `make settings-docs`, whatever is set where it is made."""
    assert PAGE.read_text("utf-8") == page()
    assert lamina("config", "--markdown", LAMINA_MODE="canary").stdout == page()


def test_the_origin_is_told_and_the_environment_wins(lamina, tmp_path, monkeypatch):  # noqa: F811 - a fixture
    """Default, `.env` and environment, also of the root of one class."""
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("LAMINA_WORKERS=2\nLAMINA_BACKUP_DAYS=7\n", "utf-8")
    rows = told(lamina("config", "--json", LAMINA_WORKERS="1", LAMINA_ROOT_KEY_FACTOR="file:f"))
    seen = {name: (row["value"], row["origin"]) for name, row in rows.items()}
    assert seen["LAMINA_WORKERS"] == ("1", "environment")
    assert seen["LAMINA_BACKUP_DAYS"] == ("7", ".env")
    assert seen["LAMINA_REFRESH_GRACE"] == ("60", "default")
    assert seen["LAMINA_ROOT_KEY_FACTOR"] == ("file:f", "environment")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_no_secret_is_told(lamina, form):  # noqa: F811 - a fixture
    """Users, passwords, queries, the path of a gateway and a PIN that stands in the setting."""
    answer = lamina("config", *form, **SECRETS)
    assert answer.exit_code == 0, answer.output
    assert [it for it in ("canary", "Y2Fu") if it in answer.output] == []
    for place in ("db:5432/lamina?***", "cache:6379/0", "mail:465", "token-file=/run/token"):
        assert place in answer.output


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("database_url", "sqlite:///lamina.db", "sqlite:///lamina.db"),
        ("database_url", "postgresql+psycopg://db/lamina", "postgresql+psycopg://db/lamina"),
        ("database_url", "postgresql+psycopg://u@db/l", "postgresql+psycopg://***@db/l"),
        ("redis_url", "", ""),
        ("redis_url", "rediss://cache/0?password=a@b", "rediss://***"),
        ("redis_url", "rediss://u:p?w@cache/0", "rediss://***"),
        (
            "database_url",
            "postgresql+psycopg://db/l?user=u&password=p@s",
            "postgresql+psycopg://***",
        ),
        ("database_url", "sqlite:////home/a@b/l.db", "sqlite:////home/a@b/l.db"),
        ("sms_url", "https://gw/send?key=a@s", "https://***"),
        ("sms_url", "https://gw#s", "https://gw?***"),
        ("root_key", "pkcs11:token=t,PIN=12,34", "pkcs11:token=t,PIN=***"),
        ("root_key", "pkcs11:pin-value=1;2", "pkcs11:pin-value=***"),
        ("redis_url", "unix://u:p@/run/redis?db=1", "unix://***@/run/redis?***"),
        ("sms_url", "https://sms.example", "https://sms.example"),
        ("sms_url", "https://sms.example/a/b", "https://sms.example/***"),
        ("sms_secret", "", ""),
        ("sms_secret", "x", "***"),
        ("root_key", "passphrase:p,secret=file:/s", "passphrase:p,secret=file:/s"),
        ("root_key", "passphrase:p,secret=fd:3", "passphrase:p,secret=fd:3"),
        ("root_key", "passphrase:p,secret=s", "passphrase:p,secret=***"),
    ],
)
def test_what_is_no_secret_stays_readable(name, value, shown):
    """Where a thing is can be seen; what lets in cannot."""
    assert masked(name, value) == shown


def test_a_value_is_told_as_it_can_be_set(tmp_path):
    """What the command prints of a setting is taken back as the same value."""
    made = load(
        {"LAMINA_MODE": "development", "LAMINA_KEY_CLASSES": "service factor"}, tmp_path / "no"
    )
    again = {
        f"LAMINA_{name.upper()}": written(getattr(made, name))
        for name in Settings.model_fields
        if name != "root_key_classes" and getattr(made, name) not in (None, ())
    }
    assert load(again, tmp_path / "no") == made
    assert set(made.key_classes) < set(KEY_CLASSES)


def test_a_bad_setting_is_named_and_nothing_is_printed(lamina):  # noqa: F811 - a fixture
    """As by every other command."""
    answer = lamina("config", LAMINA_WORKERS="canary")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert answer.stderr.startswith("lamina: LAMINA_WORKERS: ")
