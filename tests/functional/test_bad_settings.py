"""Every bad value of a setting ends a command with the name of the setting, and what to mend."""

import os
import re

import pytest

from service.settings import Settings
from tests.functional.test_cli import lamina, ready  # noqa: F401 - fixtures

BAD = {
    "mode": "canary",
    "database_url": "postgresql+psycopg://canary:canary@h:x/d",
    "redis_url": "redis://canary:canary@h:x",
    "root_key": "canary",
    "root_key_classes": "canary",
    "key_classes": "",
    "issuer": "ftp://canary:canary@h",
    "bind": "8000",
    "metrics_bind": "9464",
    "face_engine": "canary",
    "face_liveness": "canary",
    "face_models": os.devnull,
    "face_detector": os.devnull,
    "face_embedder": os.devnull,
    "behavior_model": os.devnull,
    "geoip_db": os.devnull,
    "bad_networks": os.devnull,
    "trusted_proxies": "canary",
    "log_level": "canary",
    "ledger": "canary",
    "backup_days": "canary",
    "workers": "canary",
    "caller_seconds": "canary",
    "hash_slots": "canary",
    "database_connections": "canary",
    "refresh_grace": "canary",
    "service_name": "=?canary",
    "flow_lifetime": "901",
    "flow_idle": "59",
    "free_attempts": "6",
    "totp_issuer": "canary:canary",
    "totp_digits": "canary",
    "totp_period": "canary",
    "recovery_codes": "canary",
    "sms_secret": "canary",
    "smtp_url": "smtps:canary",
    "smtp_from": "canary",
    "sms_url": "ftp://canary:canary@h",
    "alarm_email": "canary",
    "language": "canary-",
    "texts": os.devnull,
}
"""One for each; of a bound, none is fewer than there may be."""
LATER = {
    "LAMINA_GEOIP_DB": "absent.mmdb",
    "LAMINA_BAD_NETWORKS": "absent.txt",
    "LAMINA_BEHAVIOR_MODEL": "absent.npz",
    "LAMINA_ROOT_KEY": "vault:canary",
    "LAMINA_ROOT_KEY_FACTOR": "passphrase:canary",
}
"""What only whoever opens it finds out."""


def told(answer, name):
    """Hold that a command ended with one line that names a setting; `doctor` goes on."""
    if answer.stdout:
        lines = [line for line in answer.stdout.splitlines() if f" {name}: " in line]
        assert (answer.exit_code, [line.split()[0] for line in lines]) == (1, ["finding"])
        assert "canary" not in answer.output
        return
    assert answer.exit_code == 2, answer
    assert (answer.stdout, answer.stderr.count("\n")) == ("", 1)
    assert re.match(rf"lamina: {name}: \S.*[a-z]", answer.stderr), answer.stderr
    assert "canary" not in answer.stderr


@pytest.mark.parametrize("command", [("clients", "list"), ("doctor",), ("db", "current")])
@pytest.mark.parametrize("field", list(Settings.model_fields))
def test_every_bad_setting_is_named(lamina, field, command):  # noqa: F811 - a fixture
    """Whatever the command, without a traceback and without the value."""
    name = f"LAMINA_{field.upper()}"
    lamina("keys", "init")
    bad = BAD.get(field, "0")
    if field == "root_key" and command[0] == "db":
        assert lamina("keys", "init", **{name: bad}).stderr.startswith(f"lamina: {name}: must be ")
        return
    told(lamina(*command, **{name: bad}), name)


@pytest.mark.parametrize("name", list(LATER))
def test_a_file_or_place_that_cannot_be_used_is_named(ready, name):  # noqa: F811 - a fixture
    """With the setting that leads there, before anything is opened."""
    told(ready("doctor", **{name: LATER[name]}), name)
