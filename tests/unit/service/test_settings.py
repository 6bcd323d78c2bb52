"""Settings: each name known, each value checked, one clear line when one is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from crypto.keyring import KEY_CLASSES
from service import settings
from service.domain.errors import SetupError

ROOT = Path(__file__).parents[3]
SAFE = {"LAMINA_ISSUER": "https://id.example.com"}
DEVELOPMENT = {"LAMINA_MODE": "development"}


@pytest.fixture
def read(tmp_path):
    """Read settings from an environment, with no file unless one is given."""
    return lambda environ, file=None: settings.load(environ, file or tmp_path / "absent")


def refusal(read, environ):
    """Return the one line that refuses an environment."""
    with pytest.raises(SetupError) as refused:
        read(environ)
    assert len(refused.value.detail.splitlines()) == 1
    return refused.value


def test_development_runs_on_defaults(read):
    """With the mode alone everything else has a value that works on one machine."""
    found = read(DEVELOPMENT)
    assert found.sqlite
    assert (found.issuer, found.bind) == ("http://localhost:8000", "127.0.0.1:8000")
    assert (found.workers, found.trusted_proxies, found.log_level) == (1, 0, "info")
    assert found.key_classes == KEY_CLASSES


def test_production_is_what_nothing_said_means(read):
    """Without a mode the rules of production hold, so that forgetting it is safe."""
    assert refusal(read, {}).code == "bad_setting"
    assert read(SAFE).mode == "production"


def test_production_refuses_what_is_unsafe(read):
    """An issuer without TLS and several workers without Redis are refused, each by name."""
    plain = {"LAMINA_ISSUER": "http://id.example.com"}
    assert (
        "LAMINA_ISSUER: must be https in production (or set LAMINA_MODE=development)"
        in refusal(read, plain).detail
    )
    several = SAFE | {"LAMINA_WORKERS": "2"}
    assert "LAMINA_REDIS_URL: several workers need one" in refusal(read, several).detail
    assert read(several | {"LAMINA_REDIS_URL": "redis://localhost"}).workers == 2
    assert read(SAFE | {"LAMINA_WORKERS": "1"}).workers == 1
    assert read(plain | DEVELOPMENT | {"LAMINA_WORKERS": "2"}).workers == 2


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MODE", "prod", "'production' or 'development'"),
        ("DATABASE_URL", "mysql://user:canary@host/db", "must start with sqlite:///"),
        ("DATABASE_URL", "postgresql://user:canary@host/db", "postgresql+psycopg://"),
        ("DATABASE_URL", "", "must start with"),
        ("DATABASE_URL", "postgresql+psycopg://u:canary@h:x/db", "USER:PASSWORD@HOST:PORT/NAME"),
        ("DATABASE_URL", "postgresql+psycopg://u:canary@h:65536/db", "HOST:PORT/NAME"),
        ("DATABASE_URL", "postgresql+psycopg://u:canary@h:/db", "HOST:PORT/NAME"),
        ("DATABASE_URL", "postgresql+psycopg://u:canary@[::1/db", "HOST:PORT/NAME"),
        ("DATABASE_URL", "postgresql+psycopg://u:canary\u2100@h/db", "in a password as %XX"),
        ("REDIS_URL", "nonsense", "must start with redis://, rediss:// or unix://"),
        ("REDIS_URL", "http://user:canary@host", "must start with redis://"),
        ("REDIS_URL", "redis://", "must start with redis://"),
        ("REDIS_URL", "redis://user:pass/canary@host", "has a port that is none"),
        ("REDIS_URL", "redis://user:canary@host:66000", "has a port that is none"),
        ("KEY_CLASSES", "contact canary", "unknown key class canary"),
        ("KEY_CLASSES", "", "unknown key class (none)"),
        ("KEY_CLASSES", " , ", "unknown key class (none)"),
        ("ISSUER", "ftp://id.example.com", "http or https URL without a query"),
        ("ISSUER", "https://", "http or https URL without a query"),
        ("ISSUER", "https://id.example.com?tenant=1", "without a query"),
        ("ISSUER", "id.example.com", "http or https URL"),
        ("ISSUER", "https://[::1", "http or https URL"),
        ("ISSUER", "https://u:canary@id.example.com", "neither user nor password"),
        ("ISSUER", "https://u:canary\u2100@id.example.com", "http or https URL"),
        ("BIND", "8000", "must be HOST:PORT"),
        ("BIND", ":8000", "must be HOST:PORT"),
        ("BIND", "localhost:", "must be HOST:PORT"),
        ("BIND", "localhost:65536", "must be HOST:PORT"),
        ("BIND", "localhost:-1", "must be HOST:PORT"),
        ("BIND", f"localhost:{'9' * 5000}", "must be HOST:PORT"),
        ("BIND", "localhost:\u0663", "must be HOST:PORT"),
        ("BIND", "localhost:\u00b2", "must be HOST:PORT"),
        ("BIND", "[::1:8000", "must be HOST:PORT"),
        ("BIND", "::1]:8000", "must be HOST:PORT"),
        ("METRICS_BIND", "9464", "must be HOST:PORT"),
        ("METRICS_BIND", "127.0.0.1:0", "must name its port"),
        ("FACE_ENGINE", "magic", "'dlib-int8' or 'off'"),
        ("TRUSTED_PROXIES", "9", "less than or equal to 8"),
        ("TRUSTED_PROXIES", "-1", "greater than or equal to 0"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("WORKERS", "0", "greater than or equal to 1"),
        ("WORKERS", "257", "less than or equal to 256"),
        ("WORKERS", "two", "valid integer"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(read, name, value, says):
    """The line names the setting and what it must be; a password in it is not repeated."""
    refused = refusal(read, SAFE | {f"LAMINA_{name}": value})
    assert refused.code == "bad_setting"
    assert refused.detail.startswith(f"LAMINA_{name}: ")
    assert says in refused.detail
    assert "Value error" not in refused.detail
    if "URL" in name or name == "ISSUER":
        assert "canary" not in refused.detail


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://lamina@db/lamina",
        "postgresql+psycopg:///lamina?host=/run/pg",
        "postgresql+psycopg://u:a:b/c@[::1]:5432/l",
        "postgresql+psycopg://h1,h2/l?sslmode=require",
        "postgresql+psycopg://u:@h/l",
        "sqlite:////var/lib/lamina: all/l.db",
    ],
)
def test_every_form_of_a_database_url_is_taken(read, url):
    """Sockets, several hosts, IPv6 and signs in a password, as SQLAlchemy reads them."""
    assert read(DEVELOPMENT | {"LAMINA_DATABASE_URL": url}).database_url == url
    assert make_url(url).database


@pytest.mark.parametrize("content", [b"LAMINA_ROOT_KEY=\xffcanary", None])
def test_a_file_that_is_no_text_is_refused(read, tmp_path, content):
    """The line names the file and repeats nothing of it."""
    file = tmp_path / ".env"
    file.write_bytes(content or b"LAMINA_ROOT_KEY=canary")
    if content is None:
        if os.getuid() == 0:
            pytest.skip("root may read every file")
        file.chmod(0)
    with pytest.raises(SetupError) as refused:
        read(DEVELOPMENT, file)
    assert refused.value.detail.startswith(".env: ")
    assert "canary" not in refused.value.detail


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("LAMINA_DATABSE_URL", "no such setting"),
        ("LAMINA_", "no such setting"),
        ("LAMINA_ROOT_KEY_CLASSES", "no such key class"),
        ("LAMINA_ROOT_KEY_CONTACTS", "no such key class"),
        ("LAMINA_ROOT_KEY_", "no such key class"),
    ],
)
def test_an_unknown_name_is_refused(read, name, says):
    """A name that is misspelled stops the start, so that no default takes its place."""
    refused = refusal(read, DEVELOPMENT | {name: "canary"})
    assert (refused.code, refused.detail) == ("unknown_setting", f"{name}: {says}")


def test_names_of_others_and_of_tests_are_let_be(read):
    """Only names with the prefix are read, and those of the test suite are not settings."""
    others = {"PATH": "/bin", "LAMINATE": "x", "LAMINA_TEST_POSTGRES_URL": "postgresql://x"}
    assert read(DEVELOPMENT | others) == read(DEVELOPMENT)


def test_a_class_may_have_a_root_of_its_own(read):
    """A class without one takes the common root."""
    found = read(
        DEVELOPMENT | {"LAMINA_ROOT_KEY": "file:common", "LAMINA_ROOT_KEY_BIOMETRIC": "file:apart"}
    )
    assert found.root_for("biometric") == "file:apart"
    assert found.root_for("contact") == "file:common"
    assert found.root_key_classes == {"biometric": "file:apart"}


@pytest.mark.parametrize("text", ["contact,index", "contact index", " contact ,  index "])
def test_a_process_may_hold_some_classes_alone(read, text):
    """Classes are listed with commas or spaces."""
    assert read(DEVELOPMENT | {"LAMINA_KEY_CLASSES": text}).key_classes == ("contact", "index")


def test_the_issuer_has_no_slash_at_its_end(read):
    """One issuer has one spelling."""
    assert read({"LAMINA_ISSUER": "https://id.example.com/a/"}).issuer == "https://id.example.com/a"


def test_the_database_tells_its_kind(read):
    """SQLite is told from PostgreSQL by the URL."""
    assert read(DEVELOPMENT | {"LAMINA_DATABASE_URL": "sqlite:////var/lamina.db"}).sqlite
    server = {"LAMINA_DATABASE_URL": "postgresql+psycopg://lamina@localhost/lamina"}
    assert not read(DEVELOPMENT | server).sqlite


def test_settings_do_not_change(read):
    """What was checked at the start stays as it was checked."""
    found = read(DEVELOPMENT)
    with pytest.raises(ValueError, match="frozen"):
        found.workers = 2


def test_a_file_is_read_and_the_environment_wins(read, tmp_path):
    """`.env` gives values, comments and quotes allowed; the environment replaces them."""
    file = tmp_path / "settings.env"
    file.write_text(
        "# a comment\nLAMINA_MODE=development\nLAMINA_WORKERS='3'\nLAMINA_BIND=localhost:1\n"
        "OTHER=1\nLAMINA_LOG_LEVEL\n"
    )
    found = read({"LAMINA_WORKERS": "4"}, file)
    assert (found.mode, found.workers, found.bind) == ("development", 4, "localhost:1")
    assert found.log_level == "info"


def test_a_wrong_name_in_the_file_is_refused_too(read, tmp_path):
    """The file is held to the same rules as the environment."""
    file = tmp_path / "settings.env"
    file.write_text("LAMINA_NOTHING=1\n")
    with pytest.raises(SetupError, match="unknown_setting"):
        read(DEVELOPMENT, file)


def test_a_process_reads_its_own_environment_and_directory(tmp_path):
    """Without arguments `.env` of the working directory and the environment are read."""
    (tmp_path / ".env").write_text("LAMINA_MODE=development\nLAMINA_WORKERS=3\n")
    code = "from service.settings import load; s = load(); print(s.mode, s.workers, s.bind)"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAMINA_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        env=kept | {"PYTHONPATH": str(ROOT), "LAMINA_BIND": "localhost:2"},
    )
    assert done.stdout.split() == ["development", "3", "localhost:2"]


def test_files_of_the_login_context_are_paths(read):
    """Databases are separated by commas; nothing said, or an empty value, is none."""
    assert (read(DEVELOPMENT).geoip_db, read(DEVELOPMENT).bad_networks) == ((), None)
    given = {"LAMINA_GEOIP_DB": "/geo/city.mmdb, /geo/asn.mmdb", "LAMINA_BAD_NETWORKS": "bad.txt"}
    found = read(DEVELOPMENT | given)
    assert found.geoip_db == (Path("/geo/city.mmdb"), Path("/geo/asn.mmdb"))
    assert found.bad_networks == Path("bad.txt")
    empty = read(DEVELOPMENT | {"LAMINA_GEOIP_DB": "", "LAMINA_BAD_NETWORKS": ""})
    assert (empty.geoip_db, empty.bad_networks) == ((), None)


def test_a_model_of_behavior_is_a_path_or_unset(read):
    """An empty value is none, and the shipped model serves."""
    assert read(DEVELOPMENT).behavior_model is None
    assert read(DEVELOPMENT | {"LAMINA_BEHAVIOR_MODEL": ""}).behavior_model is None
    given = read(DEVELOPMENT | {"LAMINA_BEHAVIOR_MODEL": "/models/ours.npz"})
    assert given.behavior_model == Path("/models/ours.npz")


FILES = ("GEOIP_DB", "BAD_NETWORKS", "FACE_DETECTOR", "FACE_EMBEDDER", "BEHAVIOR_MODEL", "LEDGER")


@pytest.mark.parametrize("name", FILES)
def test_a_setting_that_names_a_pipe_or_a_directory_stops_the_start(read, tmp_path, name):
    """To read a pipe could keep the start waiting for ever; it is refused in one line."""
    os.mkfifo(tmp_path / "pipe")
    scheme = "file:" if name == "LEDGER" else ""
    for place in ("pipe", "."):
        line = refusal(read, DEVELOPMENT | {f"LAMINA_{name}": f"{scheme}{tmp_path / place}"})
        assert f"LAMINA_{name}" in line.detail
        assert "no regular file" in line.detail


def test_a_pipe_as_the_file_of_settings_is_refused(tmp_path):
    """It is not waited for either."""
    os.mkfifo(tmp_path / ".env")
    with pytest.raises(SetupError, match="bad_setting"):
        settings.load({}, tmp_path / ".env")
