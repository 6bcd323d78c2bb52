"""The key ring, the file root, blind indexes and opaque values."""

import os
import pickle
import uuid

import pytest

from crypto import opaque
from crypto.aead import XaesGcm
from crypto.blind_index import BlindIndex
from crypto.errors import KeyFileError, KeyUnavailable, OpenError
from crypto.keyring import KeyEncryptionKey, KeyRing, create_kek, open_kek
from crypto.providers.file import FileRoot
from crypto.providers.opening import open_root


@pytest.fixture
def directory(tmp_path):
    """A fresh directory of root keys for two classes."""
    FileRoot.init(tmp_path / "keys", ["contact", "factor"])
    return tmp_path / "keys"


def test_a_kek_opens_under_its_root_class_and_version(directory):
    """A wrapped KEK binds its class and version."""
    root = FileRoot.open(directory, ["contact", "factor"])
    wrapped, kek = create_kek(root, "contact", 4)
    assert open_kek(root, "contact", 4, wrapped).version == kek.version == 4
    for key_class, version in (("factor", 4), ("contact", 5)):
        with pytest.raises(OpenError):
            open_kek(root, key_class, version, wrapped)


def test_every_changed_byte_of_a_wrapped_kek_is_refused(directory):
    """A flipped byte either does not open or names a root that is not there."""
    root = FileRoot.open(directory, ["contact"])
    wrapped, _ = create_kek(root, "contact", 1)
    for at in range(len(wrapped)):
        changed = wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :]
        with pytest.raises((OpenError, KeyUnavailable)):
            open_kek(root, "contact", 1, changed)


def test_the_kek_format_is_frozen(vectors):
    """A KEK wrapped when the format was born still opens."""

    class Root:
        def unwrap(self, _class, _version, body, associated):
            root = XaesGcm(b"r" * 32)
            return root.decrypt(body[:24], body[24:], associated)

    assert open_kek(Root(), "contact", 3, bytes.fromhex(vectors("keys")["kek"])).version == 3


def test_the_ring_seals_with_the_newest_active_key():
    """Pending keys open but do not seal; unknown ones are named without being shown."""
    ring = KeyRing()
    ring.add(KeyEncryptionKey("contact", 1, bytes(32)))
    ring.add(KeyEncryptionKey("contact", 3, bytes(32)))
    ring.add(KeyEncryptionKey("contact", 2, bytes(32)))
    ring.add(KeyEncryptionKey("identity", 1, bytes(32)))  # and its row is gone
    everything = {("contact", 1), ("contact", 2), ("contact", 3)}
    ring.settle({("contact", 1), ("contact", 2)}, everything)
    assert ring.active("contact").version == 2
    assert ring.get("contact", 3).version == 3
    assert (ring.holds("contact", 3), ring.holds("identity", 1)) == (True, False)
    assert ring.classes() == {"contact"}
    assert repr(ring) == "KeyRing([('contact', 1), ('contact', 2), ('contact', 3)])"
    with pytest.raises(KeyUnavailable, match="no active key"):
        ring.active("biometric")
    with pytest.raises(KeyUnavailable, match="version 9"):
        ring.get("contact", 9)


def test_a_process_reads_only_its_classes(directory):
    """Without the entry of a class nothing of it can be wrapped or opened."""
    root = open_root(f"file:{directory}", ["contact"])
    assert root.key_classes() == {"contact"}
    assert repr(root) == "FileRoot(['contact'])"
    with pytest.raises(KeyUnavailable):
        root.version("factor")
    with pytest.raises(KeyUnavailable):
        root.unwrap("contact", 2, b"", b"")


def test_an_unknown_provider_is_refused():
    """The message lists the providers that there are."""
    for specification in ("paper:key", "file:", ""):
        with pytest.raises(KeyFileError, match="file:…, credential:…"):
            open_root(specification, ["contact"])


def test_root_keys_are_never_overwritten(directory):
    """A second init refuses and leaves the first keys as they are."""
    before = (directory / "contact.1.key").read_bytes()
    with pytest.raises(KeyFileError, match="exists already"):
        FileRoot.init(directory, ["contact"])
    assert (directory / "contact.1.key").read_bytes() == before
    assert (directory / "contact.1.key").stat().st_mode & 0o777 == 0o600


def test_init_leaves_nothing_half_made(tmp_path, monkeypatch):
    """When a key cannot be written, no directory and no work files are left."""
    for error in (OSError(28, "No space left on device"), KeyFileError("No space")):

        def refuse(*_arguments, error=error):
            raise error

        monkeypatch.setattr("crypto.providers.file.write_private", refuse)
        with pytest.raises(KeyFileError, match="No space"):
            FileRoot.init(tmp_path / "keys", ["contact"])
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "plain").write_text("")
    with pytest.raises(KeyFileError, match="cannot be made"):
        FileRoot.init(tmp_path / "plain" / "keys", ["contact"])


def test_keys_that_others_can_read_are_refused(directory):
    """The file and the directory must be private, and the message says how to mend it."""
    os.chmod(directory / "contact.1.key", 0o640)  # noqa: PTH101 - the call that operators make
    with pytest.raises(KeyFileError, match=r"chmod 600 contact\.1\.key"):
        FileRoot.open(directory, ["contact"])
    os.chmod(directory, 0o755)  # noqa: PTH101, S103 - what is refused
    with pytest.raises(KeyFileError, match="chmod 700"):
        FileRoot.open(directory, ["contact"])


def test_keys_of_another_user_are_refused(directory, monkeypatch):
    """A file that belongs to somebody else could be changed by them."""
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(KeyFileError, match="belongs to another user"):
        FileRoot.open(directory, ["contact"])


def test_damaged_renamed_linked_and_missing_keys_are_named(directory, tmp_path):
    """Each fault names the file and what to do."""
    contact, factor = directory / "contact.1.key", directory / "factor.1.key"
    text = contact.read_bytes()
    for content in (text[:-3], b"", text.replace(b"checksum ", b"checksun ")):
        contact.write_bytes(content)
        with pytest.raises(KeyFileError, match=r"contact\.1\.key: damaged"):
            FileRoot.open(directory, ["contact"])
    contact.write_bytes(factor.read_bytes())
    with pytest.raises(KeyFileError, match="renamed from another class"):
        FileRoot.open(directory, ["contact"])
    contact.unlink()
    contact.symlink_to(factor)
    with pytest.raises(KeyFileError, match="cannot be read"):
        FileRoot.open(directory, ["contact"])
    contact.unlink()
    with pytest.raises(KeyFileError, match="missing"):
        FileRoot.open(directory, ["contact"])
    with pytest.raises(KeyFileError, match="no key directory"):
        FileRoot.open(tmp_path / "nowhere", ["contact"])


def test_the_blind_index_depends_on_the_place(vectors):
    """One value in two columns has two digests; the format is frozen; the key is not shown."""
    index = BlindIndex(b"i" * 32, 1)
    digest = index.digest("subject", "email", "a@example.com")
    assert digest.hex() == vectors("keys")["blind_index"]
    assert digest != index.digest("subject", "phone", "a@example.com")
    assert repr(index) == "BlindIndex(version=1)"
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(index)


def test_tokens_are_stored_under_their_purpose(vectors):
    """The digest of a token for one purpose is none for another."""
    assert opaque.digest("token", "purpose").hex() == vectors("keys")["token"]
    assert opaque.digest("token", "other") != opaque.digest("token", "purpose")
    assert opaque.new_token("x_").startswith("x_")
    assert len(opaque.new_token()) == 43
    assert opaque.equal(b"a", b"a")
    assert opaque.digits(8).isdigit()


def test_typed_codes_find_their_canonical_form():
    """Case, separators and look-alikes do not matter; other characters do."""
    code = opaque.new_code()
    assert opaque.normalize_code(code.lower()) == code.replace("-", "")
    assert opaque.normalize_code("o0il 1") == "00111"
    for typed in ("", "----", "ab!c", "uuuu"):
        with pytest.raises(ValueError, match="recovery code"):
            opaque.normalize_code(typed)


def test_ids_are_ordered_by_time():
    """UUIDv7 sorts by its milliseconds and refuses times that do not fit."""
    early, late = opaque.uuid7(1), opaque.uuid7(2)
    assert early < late
    assert early.version == 7
    assert early.variant == uuid.RFC_4122
    with pytest.raises(ValueError, match="48 bits"):
        opaque.uuid7(1 << 48)
