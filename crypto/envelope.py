"""Data keys and the sealed fields under them, in the two formats that crypto freezes."""

from typing import Final, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from crypto import aead, opaque
from crypto.aead import Algorithm
from crypto.errors import OpenError
from crypto.fields import FieldContext, Owner, length_prefixed
from crypto.keyring import FORMAT, KeyEncryptionKey

_FIELD_HEADER: Final = 4
_FIELD_NONCE: Final = 12
_DEK_HEADER: Final = 9
_DEK_NONCE: Final = 24
_DEK_BODY: Final = aead.KEY_BYTES + aead.TAG_BYTES
WRAPPED_BYTES: Final = _DEK_HEADER + _DEK_NONCE + _DEK_BODY + 32
_FIRST_MARK: Final = 0xF8
ERASED: Final = bytes((FORMAT, 0, 0xFF, 0xFF))
"""What stands in a cell whose value was erased: it opens under no key and is never re-sealed."""
_FIELD_ALGORITHMS: Final = (Algorithm.AES_256_GCM, Algorithm.AES_256_GCM_SIV)


def _expand(key: bytes, info: bytes, length: int) -> bytes:
    return HKDFExpand(hashes.SHA256(), length, info).derive(key)


class DataKey:
    """The key of one (owner, class, generation): seals and opens fields, derives purpose keys.

    Shows no key in repr and refuses to be pickled.
    """

    __slots__ = (
        "_cipher",
        "_header",
        "_secret",
        "algorithm",
        "commitment",
        "generation",
        "key_class",
        "owner",
    )

    def __init__(
        self, key_class: str, owner: Owner, generation: int, algorithm: Algorithm, secret: bytes
    ) -> None:
        if algorithm not in _FIELD_ALGORITHMS:
            raise ValueError("fields are sealed with AES-256-GCM or AES-256-GCM-SIV")
        self.key_class = key_class
        self.owner = owner
        self.generation = generation
        self.algorithm = algorithm
        material = _expand(secret, b"lamina/1/field" + bytes((algorithm,)), 64)
        self.commitment = material[32:]
        self._cipher = aead.cipher(algorithm, material[:32])
        self._header = bytes((FORMAT, algorithm)) + generation.to_bytes(2, "big")
        self._secret = secret

    def __repr__(self) -> str:
        return f"DataKey({self.key_class!r}, {self.owner}, generation={self.generation})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is never pickled")

    def seal(self, plaintext: bytes, context: FieldContext) -> bytes:
        """Return header, nonce, ciphertext and tag: 32 bytes over the plaintext.

        Raises:
            ValueError: The field belongs to another owner than this key.
        """
        if context.owner != self.owner:
            raise ValueError("the field belongs to another owner than the key")
        nonce = opaque.random_bytes(_FIELD_NONCE)
        associated = context.associated_data(self._header)
        return self._header + nonce + self._cipher.encrypt(nonce, plaintext, associated)

    def open(self, sealed: bytes, context: FieldContext) -> bytes:
        """Return the plaintext.

        Raises:
            OpenError: Anything at all does not fit: bytes, cell, owner, generation, algorithm.
        """
        if sealed[:_FIELD_HEADER] != self._header or context.owner != self.owner:
            raise OpenError
        nonce = sealed[_FIELD_HEADER : _FIELD_HEADER + _FIELD_NONCE]
        body = sealed[_FIELD_HEADER + _FIELD_NONCE :]
        return self._cipher.decrypt(nonce, body, context.associated_data(self._header))

    def derive(self, purpose: str, length: int = 32) -> bytes:
        """Return a key for one purpose, independent of the key that seals fields."""
        return _expand(self._secret, b"lamina/1/derive" + length_prefixed(purpose.encode()), length)


def _associated(header: bytes, key_class: str, owner: Owner, commitment: bytes) -> bytes:
    label = b"lamina/1/dek" + length_prefixed(key_class.encode())
    return header + label + owner.to_bytes() + commitment


def _wrap(kek: KeyEncryptionKey, header: bytes, owner: Owner, dek: bytes, commit: bytes) -> bytes:
    nonce = opaque.random_bytes(_DEK_NONCE)
    associated = _associated(header, kek.key_class, owner, commit)
    return header + nonce + kek.cipher.encrypt(nonce, dek, associated) + commit


def _unwrap(kek: KeyEncryptionKey, owner: Owner, wrapped: bytes) -> bytes:
    if wrapped_kek_version(wrapped) != kek.version:
        raise OpenError
    header, commitment = wrapped[:_DEK_HEADER], wrapped[-32:]
    nonce = wrapped[_DEK_HEADER : _DEK_HEADER + _DEK_NONCE]
    body = wrapped[_DEK_HEADER + _DEK_NONCE : -32]
    return kek.cipher.decrypt(nonce, body, _associated(header, kek.key_class, owner, commitment))


def create_data_key(
    kek: KeyEncryptionKey,
    owner: Owner,
    generation: int = 1,
    algorithm: Algorithm = Algorithm.AES_256_GCM,
) -> tuple[bytes, DataKey]:
    """Make a data key; return its 113 wrapped bytes and the key itself."""
    secret = opaque.random_bytes(aead.KEY_BYTES)
    key = DataKey(kek.key_class, owner, generation, algorithm, secret)
    header = bytes((FORMAT, Algorithm.XAES_256_GCM, algorithm))
    header += kek.version.to_bytes(4, "big") + generation.to_bytes(2, "big")
    return _wrap(kek, header, owner, secret, key.commitment), key


def open_data_key(kek: KeyEncryptionKey, owner: Owner, wrapped: bytes) -> DataKey:
    """Unwrap a data key and check its commitment, once for all the fields it will open.

    Raises:
        OpenError: Altered bytes, another owner, class or KEK, or a key that does not match its
            commitment (a message made to open under two keys).
    """
    secret = _unwrap(kek, owner, wrapped)
    if wrapped[2] not in _FIELD_ALGORITHMS:
        raise OpenError
    generation = int.from_bytes(wrapped[7:9], "big")
    key = DataKey(kek.key_class, owner, generation, Algorithm(wrapped[2]), secret)
    if not opaque.equal(key.commitment, wrapped[-32:]):
        raise OpenError
    return key


def rewrap_data_key(
    old: KeyEncryptionKey, new: KeyEncryptionKey, owner: Owner, wrapped: bytes
) -> bytes:
    """Return the same data key under another KEK of its class; no field changes.

    Raises:
        OpenError: The bytes do not open under the old key.
        ValueError: The two keys are of different classes.
    """
    if old.key_class != new.key_class:
        raise ValueError("a data key stays in its class")
    secret = _unwrap(old, owner, wrapped)
    header = wrapped[:3] + new.version.to_bytes(4, "big") + wrapped[7:9]
    return _wrap(new, header, owner, secret, wrapped[-32:])


def wrapped_kek_version(wrapped: bytes) -> int:
    """Return the KEK version that a wrapped data key names.

    Raises:
        OpenError: The bytes are no wrapped data key.
    """
    if len(wrapped) != WRAPPED_BYTES or wrapped[:2] != bytes((FORMAT, Algorithm.XAES_256_GCM)):
        raise OpenError
    return int.from_bytes(wrapped[3:7], "big")


def sealed_generation(sealed: bytes) -> int:
    """Return the data-key generation that a sealed field names.

    Raises:
        OpenError: The bytes are no sealed field of this format.
    """
    if len(sealed) < _FIELD_HEADER or sealed[0] != FORMAT or sealed[1] not in _FIELD_ALGORITHMS:
        raise OpenError
    return int.from_bytes(sealed[2:4], "big")


def looks_sealed(value: bytes) -> bool:
    """Tell sealed bytes from UTF-8 text, which never starts with 0xF8 to 0xFF."""
    return value[:1] >= bytes((_FIRST_MARK,))
