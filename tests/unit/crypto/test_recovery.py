"""A recovery export opens for its recipient only, and only as it was written."""

import json
from pathlib import Path

import pytest

from crypto.errors import KeyFileError, OpenError
from crypto.keyring import create_kek, export_kek, import_kek, open_kek
from crypto.providers.file import FileRoot
from crypto.recovery import create_recipient, open_export, seal_export

VECTOR = Path(__file__).parents[2] / "vectors" / "crypto" / "recovery.json"
ABOUT = {"issuer": "https://id.example", "expires_at": "2027-11-24T00:00:00Z"}
KEYS = [("contact", 1, b"a" * 32), ("factor", 3, b"b" * 32)]


def test_the_recipient_gets_every_key_back():
    """Classes, versions, bytes and what the export says of itself."""
    private, public = create_recipient()
    assert open_export(private, seal_export(public, KEYS, ABOUT)) == (ABOUT, KEYS)


def test_nobody_else_opens_it_and_nothing_of_it_can_be_changed():
    """Another recipient, another date, another name: one error."""
    private, public = create_recipient()
    export = seal_export(public, KEYS, ABOUT)
    with pytest.raises(OpenError):
        open_export(create_recipient()[0], export)
    for old, new in ((b"2027", b"2037"), (b"factor", b"farter"), (b"3", b"4")):
        with pytest.raises((OpenError, KeyFileError)):
            open_export(private, export.replace(old, new, 1))
    assert b"a" * 32 not in export


def test_what_is_no_export_or_recipient_is_refused():
    """The line says what is needed."""
    private, public = create_recipient()
    with pytest.raises(KeyFileError, match="lamina-recipient 1"):
        seal_export(private, KEYS, ABOUT)
    with pytest.raises(KeyFileError, match="lamina-recipient-private 1"):
        open_export(public, b"")
    with pytest.raises(KeyFileError):
        seal_export("lamina-recipient 1 !!", KEYS, ABOUT)
    for content in (b"", b"[]", b"{}", b'{"sealed": "AA==", "keys": 1}'):
        with pytest.raises(KeyFileError, match="no recovery export"):
            open_export(private, content)


def test_the_frozen_export_opens_forever():
    """What was exported on the first day opens with the key of that day."""
    vector = json.loads(VECTOR.read_text("utf-8"))
    about, keys = open_export(vector["private"], json.dumps(vector["export"]).encode())
    assert (about, keys) == (ABOUT, KEYS)


def test_a_recovered_kek_works_under_another_root(tmp_path):
    """The key that comes back opens what it wrapped, without the root that is lost."""
    lost = FileRoot.init(tmp_path / "lost", ["contact"])
    fresh = FileRoot.init(tmp_path / "fresh", ["contact"])
    wrapped, _ = create_kek(lost, "contact", 2)
    key = export_kek(lost, "contact", 2, wrapped)
    again = open_kek(fresh, "contact", 2, import_kek(fresh, "contact", 2, key))
    assert again.version == 2
    with pytest.raises(OpenError):
        open_kek(fresh, "contact", 2, wrapped)
