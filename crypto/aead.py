"""The authenticated ciphers: AES-256-GCM, AES-256-GCM-SIV and XAES-256-GCM."""

import threading
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV

from crypto.errors import OpenError

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
# The key derivation of XAES encrypts two blocks that differ in the counter of their first two
# bytes; both are made at once, as one integer of 32 bytes.
_TWICE: Final = (1 << 128) | 1
_COUNTERS: Final = (1 << 240) | (2 << 112)


class Algorithm(IntEnum):
    """The number that names a cipher inside a stored format."""

    AES_256_GCM = 1
    AES_256_GCM_SIV = 2
    XAES_256_GCM = 4


FieldCipher = AESGCM | AESGCMSIV


class XaesGcm:
    """XAES-256-GCM (C2SP): 24-byte nonces, long enough to be chosen at random for any key."""

    __slots__ = ("_encryptor", "_lock", "_subkeys")

    nonce_bytes: Final = 24

    def __init__(self, key: bytes) -> None:
        _require(key)
        # AES on single blocks is the PRF of the CMAC from which the specification derives keys.
        block = Cipher(algorithms.AES256(key), modes.ECB())  # noqa: S305 - PRF on single blocks
        self._encryptor = block.encryptor()
        self._lock = threading.Lock()
        whole = int.from_bytes(self._encrypt_blocks(bytes(16)), "big")
        reduced = (whole << 1) ^ (0x87 if whole >> 127 else 0)
        subkey = reduced & ((1 << 128) - 1)
        self._subkeys = (subkey * _TWICE) ^ _COUNTERS

    def _encrypt_blocks(self, blocks: bytes) -> bytes:
        # ECB keeps no state between whole blocks, so one context serves all calls; making one per
        # call would cost more than the rest of the derivation.
        with self._lock:
            return self._encryptor.update(blocks)

    def _derive(self, nonce: bytes) -> AESGCM:
        prefix = int.from_bytes(b"X\0" + nonce[:12], "big")
        return AESGCM(self._encrypt_blocks((prefix * _TWICE ^ self._subkeys).to_bytes(32, "big")))

    def encrypt(self, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        """Return the ciphertext and the 16-byte tag.

        Raises:
            ValueError: The nonce does not have 24 bytes.
        """
        if len(nonce) != self.nonce_bytes:
            raise ValueError("the nonce must have 24 bytes")
        return self._derive(nonce).encrypt(nonce[12:], plaintext, associated)

    def decrypt(self, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
        """Return the plaintext.

        Raises:
            OpenError: The nonce, the ciphertext, the key or the associated data does not match.
        """
        if len(nonce) != self.nonce_bytes or len(ciphertext) < TAG_BYTES:
            raise OpenError
        try:
            return self._derive(nonce).decrypt(nonce[12:], ciphertext, associated)
        except InvalidTag:
            raise OpenError from None


def field_cipher(algorithm: Algorithm, key: bytes) -> FieldCipher:
    """Return the cipher that seals fields under a 32-byte key.

    This is pyca's own object, which saves one call for each field. `crypto.envelope`, its only
    user, checks the length of the nonce (12 bytes) and maps the errors.

    Raises:
        ValueError: The algorithm is not one for fields, or the key does not have 32 bytes.
    """
    _require(key)
    if algorithm is Algorithm.AES_256_GCM:
        return AESGCM(key)
    if algorithm is Algorithm.AES_256_GCM_SIV:
        return AESGCMSIV(key)
    raise ValueError("fields are sealed with AES-256-GCM or AES-256-GCM-SIV")


def _require(key: bytes) -> None:
    # pyca would silently use AES-128 with a 16-byte key.
    if len(key) != KEY_BYTES:
        raise ValueError("the key must have 32 bytes")
