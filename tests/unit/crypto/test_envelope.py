"""Sealed fields and wrapped data keys, and everything a reviewer tries on them first."""

import dataclasses
import pickle
from uuid import UUID

import pytest

from crypto import aead, envelope, opaque
from crypto.aead import Algorithm
from crypto.envelope import DataKey
from crypto.errors import OpenError
from crypto.fields import FieldContext, Owner, OwnerKind, length_prefixed
from crypto.keyring import KeyEncryptionKey

ALICE = Owner(OwnerKind.SUBJECT, UUID(int=1))
BOB = Owner(OwnerKind.SUBJECT, UUID(int=2))
CELL = FieldContext(
    table="subject", column="email", owner=ALICE, row=UUID(int=7), extra=b"totp|active"
)
KEK = KeyEncryptionKey("contact", 1, b"k" * 32)
FIELDS = [Algorithm.AES_256_GCM, Algorithm.AES_256_GCM_SIV]


@pytest.fixture(params=FIELDS)
def key(request):
    """A data key of each field algorithm."""
    return envelope.create_data_key(KEK, ALICE, algorithm=request.param)[1]


def test_a_field_opens_in_its_own_cell(key):
    """What is sealed opens again, and costs 32 bytes."""
    sealed = key.seal(b"a@example.com", CELL)
    assert key.open(sealed, CELL) == b"a@example.com"
    assert len(sealed) == len(b"a@example.com") + 32
    assert envelope.looks_sealed(sealed)
    assert envelope.sealed_generation(sealed) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"table": "client"},
        {"column": "phone"},
        {"row": UUID(int=8)},
        {"extra": b"totp|revoked"},
        {"owner": BOB},
        {"owner": Owner(OwnerKind.CLIENT, ALICE.id)},
        {"table": "subjecte", "column": "mail"},
    ],
)
def test_a_value_moved_to_another_cell_does_not_open(key, change):
    """Swap between any two cells: table, column, row, owner and extra each refuse it."""
    sealed = key.seal(b"value", CELL)
    with pytest.raises(OpenError):
        key.open(sealed, dataclasses.replace(CELL, **change))


def test_every_flipped_byte_is_refused(key):
    """No byte of a sealed field can be changed."""
    sealed = key.seal(b"value", CELL)
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 0x80]) + sealed[at + 1 :]
        with pytest.raises(OpenError):
            key.open(changed, CELL)


def test_every_prefix_is_refused(key):
    """No sealed field can be cut."""
    sealed = key.seal(b"value", CELL)
    for length in range(len(sealed)):
        with pytest.raises(OpenError):
            key.open(sealed[:length], CELL)


def test_a_key_seals_only_for_its_owner(key):
    """Sealing Bob's field with Alice's key is a mistake of ours, so it raises at once."""
    with pytest.raises(ValueError, match="another owner"):
        key.seal(b"value", dataclasses.replace(CELL, owner=BOB))


def test_a_wrapped_data_key_opens_again():
    """113 bytes hold the key, and what it sealed opens with the unwrapped one."""
    wrapped, key = envelope.create_data_key(KEK, ALICE, generation=3)
    assert len(wrapped) == envelope.WRAPPED_BYTES
    again = envelope.open_data_key(KEK, ALICE, wrapped)
    assert again.open(key.seal(b"value", CELL), CELL) == b"value"
    assert again.generation == 3


@pytest.mark.parametrize(
    ("kek", "owner"),
    [
        (KeyEncryptionKey("contact", 1, b"j" * 32), ALICE),
        (KeyEncryptionKey("contact", 2, b"k" * 32), ALICE),
        (KeyEncryptionKey("identity", 1, b"k" * 32), ALICE),
        (KEK, BOB),
    ],
)
def test_a_data_key_opens_for_one_owner_class_and_kek(kek, owner):
    """A wrapped key moved to another row, class or KEK does not open."""
    wrapped, _ = envelope.create_data_key(KEK, ALICE)
    with pytest.raises(OpenError):
        envelope.open_data_key(kek, owner, wrapped)


def test_every_changed_byte_of_a_wrapped_key_is_refused():
    """Flips and prefixes of a wrapped data key are refused."""
    wrapped, _ = envelope.create_data_key(KEK, ALICE)
    for at in range(len(wrapped)):
        changed = wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :]
        with pytest.raises(OpenError):
            envelope.open_data_key(KEK, ALICE, changed)
        with pytest.raises(OpenError):
            envelope.open_data_key(KEK, ALICE, wrapped[:at])


def test_a_message_that_opens_under_another_key_is_refused():
    """GCM does not commit to its key: a wrap that opens but derives another key is refused.

    The wrap is made by someone who holds the KEK, with a commitment to a second key.
    """
    _, other = envelope.create_data_key(KEK, ALICE)
    header = bytes((0xF9, 4, 1)) + (1).to_bytes(4, "big") + (1).to_bytes(2, "big")
    forged = envelope._wrap(
        KEK, header=header, owner=ALICE.to_bytes(), dek=b"s" * 32, commit=other.commitment
    )
    with pytest.raises(OpenError):
        envelope.open_data_key(KEK, ALICE, forged)


def test_an_unknown_field_algorithm_is_refused():
    """A wrap that authenticates but names no field cipher is refused."""
    header = bytes((0xF9, 4, 9)) + (1).to_bytes(4, "big") + (1).to_bytes(2, "big")
    forged = envelope._wrap(
        KEK, header=header, owner=ALICE.to_bytes(), dek=b"s" * 32, commit=bytes(32)
    )
    with pytest.raises(OpenError):
        envelope.open_data_key(KEK, ALICE, forged)


def test_rewrapping_changes_the_kek_and_no_field():
    """After a rewrap the old KEK is not needed, and fields open as they are."""
    wrapped, key = envelope.create_data_key(KEK, ALICE)
    sealed = key.seal(b"value", CELL)
    newer = KeyEncryptionKey("contact", 2, b"n" * 32)
    moved = envelope.rewrap_data_key(KEK, newer, ALICE.to_bytes(), wrapped)
    assert envelope.wrapped_kek_version(moved) == 2
    assert envelope.open_data_key(newer, ALICE, moved).open(sealed, CELL) == b"value"
    with pytest.raises(ValueError, match="stays in its class"):
        envelope.rewrap_data_key(
            KEK, KeyEncryptionKey("identity", 1, b"k" * 32), ALICE.to_bytes(), wrapped
        )


def test_keys_show_nothing_and_are_never_pickled(key):
    """repr, str and format name class and owner; pickle refuses."""
    for text in (repr(key), f"{key}", repr(KEK)):
        assert "contact" in text
        assert "secret" not in text
    for held in (key, KEK):
        with pytest.raises(TypeError, match="never pickled"):
            pickle.dumps(held)


def test_purpose_keys_differ(key):
    """Derived keys depend on the purpose and have the length asked for."""
    assert key.derive("a") != key.derive("b")
    assert len(key.derive("a", 64)) == 64


def test_a_data_key_takes_field_ciphers_only():
    """XAES wraps keys; it does not seal fields."""
    with pytest.raises(ValueError, match="sealed with"):
        DataKey(
            key_class="contact",
            owner=ALICE,
            generation=1,
            algorithm=Algorithm.XAES_256_GCM,
            secret=bytes(32),
        )


@pytest.mark.parametrize("text", ["", "plain", "é", "\U0010ffff"])
def test_text_is_never_taken_for_ciphertext(text):
    """No UTF-8 text starts with 0xF8 or above."""
    assert not envelope.looks_sealed(text.encode())
    with pytest.raises(OpenError):
        envelope.sealed_generation(text.encode())


def test_length_prefixes_are_bounded():
    """A part too long for its prefix raises instead of wrapping around."""
    assert length_prefixed(b"ab") == b"\x00\x02ab"
    with pytest.raises(ValueError, match="65535"):
        length_prefixed(bytes(65536))


def test_the_formats_are_frozen(vectors, monkeypatch):
    """Values sealed when the format was born open forever, and are made byte for byte alike."""
    for case in vectors("envelope")["fields"]:
        key = DataKey(
            key_class="contact",
            owner=ALICE,
            generation=1,
            algorithm=Algorithm(case["algorithm"]),
            secret=bytes.fromhex(case["secret"]),
        )
        sealed = bytes.fromhex(case["sealed"])
        assert key.open(sealed, CELL) == b"a@example.com"
        monkeypatch.setattr(opaque, "random_bytes", lambda _length, kept=sealed[4:16]: kept)
        assert key.seal(b"a@example.com", CELL) == sealed
    case = vectors("envelope")["data_key"]
    opened = envelope.open_data_key(KEK, ALICE, bytes.fromhex(case["wrapped"]))
    assert opened.commitment.hex() == case["commitment"]
    assert opened.derive("purpose").hex() == case["derived"]
    assert aead.TAG_BYTES == 16
