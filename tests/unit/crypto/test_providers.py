"""Every provider of root keys keeps one contract, and says what is wrong with its place."""

import base64
import hashlib
import json
import os
import secrets

import pytest

from crypto.errors import KeyFileError, KeyUnavailable, OpenError
from crypto.keyring import create_kek, open_kek, rewrap_kek, root_version_of
from crypto.providers import handed
from crypto.providers.file import FileRoot
from crypto.providers.opening import open_root
from crypto.providers.records import render
from tests.unit.crypto.key_files import SOFTHSM, private

CLASSES = ("contact", "factor")
PASSPHRASE = b"correct horse battery staple"


def records(*versions):
    """Return root keys of both classes as handed-over text."""
    return b"".join(
        render(name, version, secrets.token_bytes(32)) for name in CLASSES for version in versions
    )


@pytest.fixture(params=["file", "credential", "fd", "passphrase", "vault", "aws-kms", "pkcs11"])
def specification(request, tmp_path):  # noqa: PLR0911 - one return per provider
    """The setting of each provider, ready to open."""
    if request.param == "file":
        FileRoot.init(tmp_path / "keys", CLASSES)
        return f"file:{tmp_path / 'keys'}"
    if request.param == "credential":
        return f"credential:{private(tmp_path / 'root', records(1))}"
    if request.param == "fd":
        return f"fd:{descriptor(records(1))}"
    if request.param == "passphrase":
        handed.create_parameters(tmp_path / "parameters", PASSPHRASE)
        secret = private(tmp_path / "secret", PASSPHRASE + b"\n")
        return f"passphrase:{tmp_path / 'parameters'},secret=file:{secret}"
    if request.param == "vault":
        token = private(tmp_path / "token", b"s.token\n")
        return f"vault:{request.getfixturevalue('vault')},prefix=lamina,token-file={token}"
    if request.param == "aws-kms":
        first, _ = request.getfixturevalue("kms")
        return f"aws-kms:{first},region=eu-central-1"
    return request.getfixturevalue("softhsm")


def descriptor(content):
    """Return an open descriptor from which the content can be read once."""
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return reading


@pytest.fixture(autouse=True)
def _forget_descriptors():
    from crypto.providers import opening as providers

    yield
    providers._handed.clear()


def test_a_kek_opens_where_it_was_wrapped_and_nowhere_else(specification):
    """Class, associated data, version and every byte are held to."""
    root = open_root(specification, CLASSES)
    assert root.key_classes() == set(CLASSES)
    newest = root.version("contact")
    wrapped = root.wrap("contact", b"k" * 32, b"place")
    assert root.unwrap("contact", newest, wrapped, b"place") == b"k" * 32
    for wrong in (wrapped[:-1], wrapped[:-1] + bytes((wrapped[-1] ^ 1,)), b"", b"\xff" * 80):
        with pytest.raises(OpenError):
            root.unwrap("contact", newest, wrong, b"place")
    with pytest.raises(OpenError):
        root.unwrap("contact", newest, wrapped, b"another place")
    with pytest.raises(OpenError):
        root.unwrap("factor", newest, wrapped, b"place")


def test_what_is_not_held_is_unavailable(specification):
    """Another class, and a version that there is not, are named without a secret."""
    root = open_root(specification, CLASSES)
    with pytest.raises(KeyUnavailable):
        root.version("biometric")
    with pytest.raises(KeyUnavailable):
        root.wrap("biometric", b"k" * 32, b"place")
    wrapped = root.wrap("contact", b"k" * 32, b"place")
    with pytest.raises((KeyUnavailable, OpenError)):
        root.unwrap("contact", 9, wrapped, b"place")
    with pytest.raises((KeyUnavailable, KeyFileError)):
        root.destroy("contact", 9)
    shown = repr(root)
    assert "contact" in shown
    assert not {"1234", "s.token", PASSPHRASE.decode()} & set(shown.split("'"))


def test_a_kek_is_the_same_after_the_process_starts_anew(specification, request):
    """What one process wrapped, the next opens."""
    if specification.startswith("fd:"):
        pytest.skip("a descriptor is read once; the process that starts anew is handed another")
    wrapped, _ = create_kek(open_root(specification, CLASSES), "contact", 1)
    assert open_kek(open_root(specification, CLASSES), "contact", 1, wrapped).version == 1


def test_roots_that_can_grow_do_and_the_others_say_where(specification):
    """A new version wraps, the old one still opens until it is destroyed, the newest stays."""
    root = open_root(specification, CLASSES)
    wrapped, _ = create_kek(root, "contact", 1)
    if specification.partition(":")[0] not in {"file", "vault", "pkcs11"}:
        with pytest.raises(KeyFileError, match="new root of contact"):
            root.grow("contact")
        with pytest.raises(KeyFileError):
            root.destroy("contact", 1)
        return
    assert root.grow("contact") == 2
    again = open_root(specification, CLASSES)
    moved = rewrap_kek(again, "contact", 1, wrapped)
    assert (root_version_of(wrapped), root_version_of(moved)) == (1, 2)
    with pytest.raises(KeyFileError, match="newest"):
        again.destroy("contact", 2)
    again.destroy("contact", 1)
    assert open_kek(again, "contact", 1, moved).version == 1
    with pytest.raises((KeyUnavailable, OpenError)):
        open_kek(open_root(specification, CLASSES), "contact", 1, wrapped)


def test_a_descriptor_serves_every_class_though_it_is_read_once():
    """Each class opens its root by itself, from what was read the first time."""
    place = f"fd:{descriptor(records(1))}"
    assert [open_root(place, [name]).version(name) for name in CLASSES] == [1, 1]


def test_a_new_root_in_kms_is_a_new_key(kms):
    """The position of the ARN is the version; an old key is scheduled for deletion."""
    first, second = kms
    old = open_root(f"aws-kms:{first},region=eu-central-1", CLASSES)
    wrapped, _ = create_kek(old, "contact", 1)
    both = open_root(f"aws-kms:{first};{second},region=eu-central-1", CLASSES)
    assert both.version("contact") == 2
    moved = rewrap_kek(both, "contact", 1, wrapped)
    both.destroy("contact", 1)
    assert open_kek(both, "contact", 1, moved).version == 1
    import boto3

    state = boto3.client("kms", region_name="eu-central-1").describe_key(KeyId=first)
    assert state["KeyMetadata"]["KeyState"] == "PendingDeletion"
    with pytest.raises(KeyFileError, match="newest"):
        both.destroy("contact", 2)
    gone = open_root("aws-kms:arn:aws:kms:eu-central-1:1:key/none,region=eu-central-1", CLASSES)
    with pytest.raises(KeyUnavailable):
        gone.wrap("contact", b"k" * 32, b"")


def test_a_server_that_is_away_or_refuses_is_unavailable(vault, tmp_path, monkeypatch):
    """A wrong token and a closed port raise the same, without the token."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    token = private(tmp_path / "token", b"s.wrong")
    root = open_root(f"vault:{vault},token-file={token}", CLASSES)
    with pytest.raises(KeyUnavailable) as refused:
        root.wrap("contact", b"k" * 32, b"")
    assert "s.wrong" not in str(refused.value)
    away = open_root(f"vault:http://127.0.0.1:9,token-file={token}", CLASSES)
    with pytest.raises(KeyUnavailable):
        away.version("contact")
    kms = open_root("aws-kms:arn:x,region=x,endpoint=http://127.0.0.1:9", CLASSES)
    with pytest.raises(KeyUnavailable):
        kms.wrap("contact", b"k" * 32, b"")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("", "file:…"),
        ("nothing:x", "aws-kms:…"),
        ("fd:x", "number of an open"),
        ("vault:http://x", "token-file=PATH"),
        ("vault:http://x,colour=red", "unknown option"),
        ("passphrase:p", "secret=file:PATH"),
        ("passphrase:p,secret=env:X", "secret=fd:NUMBER"),
        ("credential:/nowhere", "cannot be read"),
        ("fd:999", "file descriptor 999"),
        ("pkcs11:/nowhere.so,token=t", "pin=file:PATH"),
    ],
)
def test_a_wrong_setting_is_answered_with_the_right_form(wrong, said):
    """The one line names what to write."""
    with pytest.raises(KeyFileError) as refused:
        open_root(wrong, CLASSES)
    assert said in str(refused.value)


def test_what_is_handed_over_must_be_whole(tmp_path):
    """A changed, missing or foreign record is refused, and so is a file that others can read."""
    content = records(1, 2)
    for wrong in (
        b"",
        content[1:],
        content + b"x",
        content.replace(b"class factor", b"class fact"),
    ):
        with pytest.raises(KeyFileError, match="damaged"):
            open_root(f"credential:{private(tmp_path / 'root', wrong)}", CLASSES)
    path = private(tmp_path / "root", content)
    assert open_root(f"credential:{path}", CLASSES).version("factor") == 2
    with pytest.raises(KeyFileError, match="biometric"):
        open_root(f"credential:{path}", ["biometric"])
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod"):
        open_root(f"credential:{path}", CLASSES)


def test_a_passphrase_is_checked_before_it_is_used(tmp_path):
    """Another passphrase, a short one and damaged parameters are refused."""
    path = tmp_path / "parameters"
    with pytest.raises(KeyFileError, match="12 characters"):
        handed.create_parameters(path, b"short")
    handed.create_parameters(path, PASSPHRASE)
    with pytest.raises(KeyFileError, match="cannot be made"):
        handed.create_parameters(path, PASSPHRASE)
    with pytest.raises(KeyFileError, match="not the one"):
        handed.open_passphrase(path, b"another one altogether", CLASSES)
    secret = descriptor(PASSPHRASE)
    assert open_root(f"passphrase:{path},secret=fd:{secret}", CLASSES).version("factor") == 1
    for wrong in (b"{}", b"no json", b'{"version":1,"check":"zz"}'):
        with pytest.raises(KeyFileError, match="damaged"):
            handed.open_passphrase(private(tmp_path / "broken", wrong), PASSPHRASE, CLASSES)


def test_a_token_that_is_not_there_is_refused(softhsm):
    """A wrong label, PIN or module gives one line that says which three to look at."""
    wrong_label = softhsm.replace("token=lamina", "token=other")
    missing = softhsm.replace(str(SOFTHSM), "/nowhere.so")
    for wrong in (wrong_label, missing):
        with pytest.raises(KeyFileError, match="label or the PIN"):
            open_root(wrong, CLASSES)


def test_a_file_that_cannot_be_written_or_removed_is_named(tmp_path, monkeypatch):
    """A full or read-only place stops a rotation before anything leans on it."""
    root = FileRoot.init(tmp_path / "keys", CLASSES)
    (tmp_path / "keys" / "contact.2.key").mkdir()
    with pytest.raises(KeyFileError, match=r"contact\.2\.key: cannot be made"):
        root.grow("contact")
    (tmp_path / "keys" / "contact.2.key").rmdir()
    assert root.grow("contact") == 2
    (tmp_path / "keys" / "contact.1.key").unlink()
    with pytest.raises(KeyFileError, match=r"contact\.1\.key: cannot be removed"):
        root.destroy("contact", 1)


def test_a_missing_library_is_named_with_its_extra(monkeypatch, tmp_path):
    """Without an extra the line says which to install."""
    import sys

    token = private(tmp_path / "token", b"x")
    for name, specification in (
        ("hvac", f"vault:http://127.0.0.1:9,token-file={token}"),
        ("boto3", "aws-kms:arn:x"),
        ("pkcs11", f"pkcs11:/x.so,token=t,pin=file:{token}"),
    ):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(KeyFileError, match="pip install lamina"):
            open_root(specification, CLASSES)


def test_the_frozen_passphrase_opens_forever(tmp_path):
    """Fixed parameters and a fixed passphrase give the same roots as on the first day."""
    salt = base64.b64encode(bytes(range(16))).decode()
    body = {
        "format": "lamina-passphrase 1",
        "version": 1,
        "salt": salt,
        "memory_kib": 1024,
        "passes": 1,
    }
    master = handed._master(PASSPHRASE, body)
    body["check"] = handed._check(master).hex()
    root = handed.open_passphrase(
        private(tmp_path / "p", json.dumps(body).encode()), PASSPHRASE, CLASSES
    )
    assert root.version("contact") == 1
    digest = hashlib.sha256(handed._expand(master, b"lamina/1/root\x00\x07contact")).hexdigest()
    assert digest == FROZEN


FROZEN = "4e4b1a41316180efbeec87cc2ebddc5da4fc8c5784a3a7ce8dc9c342ec0bd37c"
