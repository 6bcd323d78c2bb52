"""The three authenticated ciphers, with nonce lengths enforced and one error for every failure."""

import threading
from enum import IntEnum
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV

from crypto.errors import OpenError

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
# The two counters of the key derivation of XAES, in the first two bytes of a block.
_FIRST: Final = 1 << 112
_SECOND: Final = 2 << 112


class Algorithm(IntEnum):
    """The number that names a cipher inside a stored format."""

    AES_256_GCM = 1
    AES_256_GCM_SIV = 2
    XAES_256_GCM = 4


class Aead(Protocol):
    """A cipher under one fixed key."""

    nonce_bytes: int

    def encrypt(self, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        """Return ciphertext and tag."""

    def decrypt(self, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
        """Return the plaintext, or raise OpenError."""


class _Short:
    """AES-256-GCM or AES-256-GCM-SIV with 12-byte nonces (pyca itself takes 8 to 128)."""

    __slots__ = ("_cipher", "nonce_bytes")

    def __init__(self, cipher: AESGCM | AESGCMSIV) -> None:
        self._cipher = cipher
        self.nonce_bytes = 12

    def encrypt(self, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        if len(nonce) != self.nonce_bytes:
            raise ValueError("the nonce must have 12 bytes")
        return self._cipher.encrypt(nonce, plaintext, associated)

    def decrypt(self, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
        if len(nonce) != self.nonce_bytes or len(ciphertext) < TAG_BYTES:
            raise OpenError
        try:
            return self._cipher.decrypt(nonce, ciphertext, associated)
        except InvalidTag:
            raise OpenError from None


class _Extended:
    """XAES-256-GCM (C2SP): 24-byte nonces, so random ones never meet under one long-lived key."""

    __slots__ = ("_encryptor", "_lock", "_subkey", "nonce_bytes")

    def __init__(self, key: bytes) -> None:
        # One block at a time is the PRF of the CMAC that the specification derives keys with.
        block = Cipher(algorithms.AES256(key), modes.ECB())  # noqa: S305 - PRF on single blocks
        self._encryptor, self._lock = block.encryptor(), threading.Lock()
        whole = int.from_bytes(self._encrypt_blocks(bytes(16)), "big")
        reduced = (whole << 1) ^ (0x87 if whole >> 127 else 0)
        self._subkey = reduced & ((1 << 128) - 1)
        self.nonce_bytes = 24

    def _encrypt_blocks(self, blocks: bytes) -> bytes:
        # ECB keeps nothing from one whole block to the next, so one context serves all calls;
        # making one would cost more than the rest of the derivation.
        with self._lock:
            return self._encryptor.update(blocks)

    def _derive(self, nonce: bytes) -> AESGCM:
        prefix = int.from_bytes(b"X\0" + nonce[:12], "big") ^ self._subkey
        halves = (prefix ^ _FIRST).to_bytes(16, "big") + (prefix ^ _SECOND).to_bytes(16, "big")
        return AESGCM(self._encrypt_blocks(halves))

    def encrypt(self, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        if len(nonce) != self.nonce_bytes:
            raise ValueError("the nonce must have 24 bytes")
        return self._derive(nonce).encrypt(nonce[12:], plaintext, associated)

    def decrypt(self, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
        if len(nonce) != self.nonce_bytes or len(ciphertext) < TAG_BYTES:
            raise OpenError
        try:
            return self._derive(nonce).decrypt(nonce[12:], ciphertext, associated)
        except InvalidTag:
            raise OpenError from None


def cipher(algorithm: Algorithm, key: bytes) -> Aead:
    """Return the cipher under a 32-byte key.

    Raises:
        ValueError: The key does not have 32 bytes.
    """
    if len(key) != KEY_BYTES:
        raise ValueError("the key must have 32 bytes")
    if algorithm is Algorithm.AES_256_GCM:
        return _Short(AESGCM(key))
    if algorithm is Algorithm.AES_256_GCM_SIV:
        return _Short(AESGCMSIV(key))
    return _Extended(key)
