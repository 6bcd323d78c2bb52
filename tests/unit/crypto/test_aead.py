"""The ciphers: published vectors, and one error for every way to fail."""

import hashlib

import pytest

from crypto import aead
from crypto.aead import Algorithm
from crypto.errors import OpenError

NONCE = b"ABCDEFGHIJKLMNOPQRSTUVWX"


@pytest.mark.parametrize(
    ("key", "associated", "expected"),
    [
        (b"\x01", b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (
            b"\x03",
            b"c2sp.org/XAES-256-GCM",
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
        ),
    ],
)
def test_xaes_matches_the_published_vectors(key, associated, expected):
    """XAES-256-GCM gives the ciphertexts of the C2SP specification, for both subkey cases."""
    cipher = aead.XaesGcm(key * 32)
    sealed = cipher.encrypt(NONCE, b"XAES-256-GCM", associated)
    assert sealed.hex() == expected
    assert cipher.decrypt(NONCE, sealed, associated) == b"XAES-256-GCM"


class _Stream:
    """SHAKE128 of nothing, read as a stream."""

    def __init__(self) -> None:
        self._bytes = hashlib.shake_128(b"").digest(6_000_000)
        self._at = 0

    def read(self, count: int) -> bytes:
        self._at += count
        return self._bytes[self._at - count : self._at]


def test_xaes_matches_the_accumulated_vector():
    """Ten thousand random messages hash to the value of the C2SP specification."""
    stream, outcome = _Stream(), hashlib.shake_128()
    for _ in range(10_000):
        key, nonce = stream.read(32), stream.read(24)
        plaintext = stream.read(stream.read(1)[0])
        associated = stream.read(stream.read(1)[0])
        cipher = aead.XaesGcm(key)
        sealed = cipher.encrypt(nonce, plaintext, associated)
        assert cipher.decrypt(nonce, sealed, associated) == plaintext
        outcome.update(sealed)
    expected = "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"
    assert outcome.hexdigest(32) == expected


def test_every_failure_is_the_same_error():
    """A wrong nonce length, a short message, a changed byte and changed data all read alike."""
    cipher = aead.XaesGcm(bytes(32))
    nonce = bytes(cipher.nonce_bytes)
    sealed = cipher.encrypt(nonce, b"text", b"data")
    attempts = [
        (nonce + b"x", sealed, b"data"),
        (nonce, sealed[:15], b"data"),
        (nonce, sealed[:-1] + bytes([sealed[-1] ^ 1]), b"data"),
        (nonce, sealed, b"date"),
    ]
    for attempt in attempts:
        with pytest.raises(OpenError, match=r"^the sealed value does not open$"):
            cipher.decrypt(*attempt)


def test_a_wrong_nonce_length_never_seals():
    """The library takes 8 to 128 bytes; here the length is exact."""
    with pytest.raises(ValueError, match="nonce"):
        aead.XaesGcm(bytes(32)).encrypt(bytes(23), b"", b"")


@pytest.mark.parametrize("algorithm", [Algorithm.AES_256_GCM, Algorithm.AES_256_GCM_SIV])
def test_a_short_key_is_refused(algorithm):
    """A 16-byte key would silently be AES-128."""
    with pytest.raises(ValueError, match="32 bytes"):
        aead.field_cipher(algorithm, bytes(16))
    with pytest.raises(ValueError, match="32 bytes"):
        aead.XaesGcm(bytes(16))
