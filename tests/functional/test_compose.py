"""compose.yaml, Dockerfile and their files fit each other and the program; no daemon is needed."""

import re
import stat
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from service.cli import main
from service.settings import load

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
ONCE = {"secrets", "keys", "migrate"}
OURS = {name for name, it in SERVICES.items() if it.get("image") == "lamina"}


def filled(text):
    """Return a value with the defaults of its variables, as compose fills them in."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(text))


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_command_is_one_with_options_that_it_takes(name):
    """The words lead to a command of the program."""
    words, command = list(SERVICES[name]["command"]), main
    while words and isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None, SERVICES[name]["command"]
    assert not isinstance(command, click.Group)
    assert set(words) <= {option for it in command.params for option in it.opts}


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_setting_is_one_and_all_of_them_are_taken_in_production(name, tmp_path):
    """They load as they stand, with the defaults of the image, and name places that are mounted."""
    image = dict(re.findall(r"(LAMINA_\w+)=(\S+)", (ROOT / "Dockerfile").read_text("utf-8")))
    given = {key: filled(value) for key, value in SERVICES[name]["environment"].items()}
    found = load(image | given, tmp_path / "none")
    assert (found.mode, found.workers, found.trusted_proxies) == ("production", 2, 1)
    mounted = [it.split(":")[1] for it in SERVICES[name]["volumes"]]
    places = [found.root_key.removeprefix("file:"), str(found.ledger_path), "/run/lamina/pgpass"]
    assert all(any(place.startswith(f"{it}/") for it in mounted) for place in places)
    assert "passfile=/run/lamina/pgpass" in found.database_url


def test_hosts_and_ports_of_settings_are_those_of_services():
    """Database, Redis, probes and the proxy name a service and the port on which it listens."""
    given = SERVICES["lamina"]["environment"]
    assert re.search(r"@(\w+)/", given["LAMINA_DATABASE_URL"])[1] in SERVICES
    assert re.search(r"//(\w+):", given["LAMINA_REDIS_URL"])[1] in SERVICES
    caddy = (ROOT / "deploy" / "Caddyfile").read_text("utf-8")
    port = given["LAMINA_BIND"].rpartition(":")[2]
    assert f"reverse_proxy lamina:{port}" in caddy
    assert f"127.0.0.1:{port}/readyz" in str(SERVICES["lamina"]["healthcheck"])
    after = int(given["LAMINA_METRICS_BIND"].rpartition(":")[2]) + int(given["LAMINA_WORKERS"])
    assert f"127.0.0.1:{after}/metrics" in str(SERVICES["worker"]["healthcheck"])


def test_what_runs_is_checked_and_restarted_and_what_makes_things_ends():
    """Services wait for those that make what they need; every name that is waited for is there."""
    for name, it in SERVICES.items():
        assert it["restart"] == ("no" if name in ONCE else "unless-stopped"), name
        for other, how in it.get("depends_on", {}).items():
            ends = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert how == {"condition": ends}, (name, other)
            assert other in SERVICES
        if name not in ONCE:
            assert it["healthcheck"]["test"], name
    for name in ("lamina", "worker"):
        assert {"keys", "migrate"} <= set(SERVICES[name]["depends_on"])
    used = {it.split(":")[0] for one in SERVICES.values() for it in one.get("volumes", ())}
    assert {it for it in used if not it.startswith(".")} == set(COMPOSE["volumes"])
    assert all((ROOT / it).exists() for it in used if it.startswith("."))
    networks = {it for one in SERVICES.values() for it in one.get("networks", ())}
    assert networks == set(COMPOSE["networks"])
    published = {name for name, one in SERVICES.items() if "ports" in one}
    assert published == {"front"}


def test_no_secret_stands_in_the_file_and_one_is_made_once(tmp_path):
    """The script makes a password that only its reader can read, and keeps it the next time."""
    text = (ROOT / "compose.yaml").read_text("utf-8")
    assert not re.search(r"POSTGRES_PASSWORD\b|change-me|://[^@\s]*:[^@\s]*@", text)
    (script,) = SERVICES["secrets"]["command"]
    # As compose passes it on; only root may give a file away.
    script = script.replace("$$", "$").replace("/run/lamina", str(tmp_path))
    script = script.replace("chown 10001", "test -f")
    made = []
    for _ in range(2):
        subprocess.run([*SERVICES["secrets"]["entrypoint"], script], check=True)
        made.append(((tmp_path / "password").read_text(), (tmp_path / "pgpass").read_text()))
    assert made[0] == made[1]
    assert re.fullmatch("[0-9a-f]{64}", made[0][0])
    assert made[0][1] == f"postgres:5432:lamina:lamina:{made[0][0]}\n"
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("password", "pgpass")}
    assert modes == {0o600}


def test_the_image_is_made_of_what_the_builder_is_given():
    """Each file that is copied exists and is not held back; nothing else of the place is sent."""
    told = (ROOT / "Dockerfile").read_text("utf-8")
    copied = re.findall(r"^COPY (?!--from)(\S+) ", told, re.MULTILINE)
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    given = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    assert set(copied) == given
    assert all((ROOT / name).exists() for name in copied)


def test_the_license_is_the_one_that_is_told():
    """The project names it, and its text is there."""
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text("utf-8")
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text("utf-8")
