"""Envelope encryption: wrapped data keys and the fields sealed under them."""

from collections.abc import Sequence
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from crypto import aead, opaque
from crypto.aead import Algorithm
from crypto.errors import OpenError
from crypto.fields import NO_EXTRA, FieldContext, Owner, extra_part, length_prefixed, place_of
from crypto.keyring import FORMAT, KeyEncryptionKey

_FIELD_HEADER: Final = 4
_FIELD_NONCE: Final = 12
# Slices are made once: cutting a field into its parts is a tenth of the cost of opening it.
_HEADER: Final = slice(0, _FIELD_HEADER)
_NONCE: Final = slice(_FIELD_HEADER, _FIELD_HEADER + _FIELD_NONCE)
_BODY: Final = slice(_FIELD_HEADER + _FIELD_NONCE, None)
_DEK_HEADER: Final = 9
_DEK_NONCE: Final = 24
_DEK_BODY: Final = _DEK_HEADER + _DEK_NONCE
WRAPPED_BYTES: Final = _DEK_BODY + aead.KEY_BYTES + aead.TAG_BYTES + 32
_FIRST_MARK: Final = 0xF8
ERASED: Final = bytes((FORMAT, 0, 0xFF, 0xFF))
"""Replaces the content of an erased cell; no key opens it and no job re-encrypts it."""
_FIELD_ALGORITHMS: Final = {
    int(item): item for item in (Algorithm.AES_256_GCM, Algorithm.AES_256_GCM_SIV)
}
_SHA256: Final = hashes.SHA256()
_FIELD_INFO: Final = {item: b"lamina/1/field" + bytes((item,)) for item in Algorithm}
_DEK_MARK: Final = bytes((FORMAT, Algorithm.XAES_256_GCM))


Cell = tuple[bytes, bytes, bytes, bytes]
"""A stored value, the place of its column, the 16 bytes of its row id, and the row's extra part."""


def _expand(key: bytes, info: bytes, length: int) -> bytes:
    return HKDFExpand(_SHA256, length, info).derive(key)


class DataKey:
    """A data key of one (owner, class, generation): seals and opens fields, derives purpose keys.

    Its repr hides the key, and it cannot be pickled.
    """

    __slots__ = (
        "_decrypt",
        "_encrypt",
        "_header",
        "_owner",
        "_secret",
        "algorithm",
        "commitment",
        "generation",
        "key_class",
        "owner",
    )

    def __init__(
        self, *, key_class: str, owner: Owner, generation: int, algorithm: Algorithm, secret: bytes
    ) -> None:
        material = _expand(secret, _FIELD_INFO[algorithm], 64)
        self.key_class = key_class
        self.owner = owner
        self.generation = generation
        self.algorithm = algorithm
        self.commitment = material[32:]
        cipher = aead.field_cipher(algorithm, material[:32])
        self._encrypt = cipher.encrypt
        self._decrypt = cipher.decrypt
        self._header = bytes((FORMAT, algorithm)) + generation.to_bytes(2, "big")
        self._owner = owner.to_bytes()
        self._secret = secret

    def __repr__(self) -> str:
        return f"DataKey({self.key_class!r}, {self.owner}, generation={self.generation})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is never pickled")

    def seal(self, plaintext: bytes, context: FieldContext) -> bytes:
        """Return header, nonce, ciphertext and tag: 32 bytes more than the plaintext.

        Raises:
            ValueError: The field belongs to another owner than this key.
        """
        if context.owner != self.owner:
            raise ValueError("the field belongs to another owner than the key")
        place = place_of(context.table, context.column)
        return self.seal_cell(plaintext, place, context.row.bytes, extra_part(context.extra))

    def open(self, sealed: bytes, context: FieldContext) -> bytes:
        """Return the plaintext of a sealed field.

        Raises:
            OpenError: The bytes, cell, owner, generation or algorithm do not match.
        """
        if context.owner != self.owner:
            raise OpenError
        place = place_of(context.table, context.column)
        return self.open_cell(sealed, place, context.row.bytes, extra_part(context.extra))

    def seal_cell(
        self, plaintext: bytes, place: bytes, row: bytes, extra: bytes = NO_EXTRA
    ) -> bytes:
        """Seal a cell of this key's owner.

        Args:
            plaintext: The value to seal.
            place: The column, from `place_of`.
            row: The 16 bytes of the row's id.
            extra: The row's own associated data, from `extra_part`.
        """
        header = self._header
        nonce = opaque.random_bytes(_FIELD_NONCE)
        associated = header + place + self._owner + row + extra
        return header + nonce + self._encrypt(nonce, plaintext, associated)

    def open_cell(self, sealed: bytes, place: bytes, row: bytes, extra: bytes = NO_EXTRA) -> bytes:
        """Open a cell of this key's owner; `place`, `row` and `extra` are those of `seal_cell`.

        Raises:
            OpenError: The bytes, cell, owner, generation or algorithm do not match.
        """
        # The stored header is authenticated, so a header from another key never opens.
        associated = sealed[_HEADER] + place + self._owner + row + extra
        try:
            return self._decrypt(sealed[_NONCE], sealed[_BODY], associated)
        except (InvalidTag, ValueError):
            # ValueError: the value is too short to hold a nonce.
            raise OpenError from None

    def reseal_many(self, cells: Sequence[Cell], old: "DataKey") -> list[bytes]:
        """Re-encrypt cells of this key's owner from an older key to this one.

        Args:
            cells: For each cell its stored value, `place_of`, the 16 bytes of its row id and
                `extra_part`.
            old: The key under which they are sealed.

        Raises:
            OpenError: One of them does not open; no result is returned.
        """
        header = self._header
        around = self._owner
        encrypt = self._encrypt
        nonces = opaque.random_bytes(_FIELD_NONCE * len(cells))
        done = []
        at = 0
        for sealed, place, row, extra in cells:
            plain = old.open_cell(sealed, place, row, extra)
            nonce = nonces[at : at + _FIELD_NONCE]
            associated = header + place + around + row + extra
            done.append(header + nonce + encrypt(nonce, plain, associated))
            at += _FIELD_NONCE
        return done

    def derive(self, purpose: str, length: int = 32) -> bytes:
        """Derive a key for one purpose, independent of the key that seals fields."""
        return _expand(self._secret, b"lamina/1/derive" + length_prefixed(purpose.encode()), length)


def _wrap(
    kek: KeyEncryptionKey, *, header: bytes, owner: bytes, dek: bytes, commit: bytes
) -> bytes:
    nonce = opaque.random_bytes(_DEK_NONCE)
    return (
        header
        + nonce
        + kek.cipher.encrypt(nonce, dek, header + kek.label + owner + commit)
        + commit
    )


def _unwrap(kek: KeyEncryptionKey, owner: bytes, wrapped: bytes) -> bytes:
    if wrapped_kek_version(wrapped) != kek.version:
        raise OpenError
    header = wrapped[:_DEK_HEADER]
    commitment = wrapped[-32:]
    associated = header + kek.label + owner + commitment
    return kek.cipher.decrypt(wrapped[_DEK_HEADER:_DEK_BODY], wrapped[_DEK_BODY:-32], associated)


def create_data_key(
    kek: KeyEncryptionKey,
    owner: Owner,
    generation: int = 1,
    algorithm: Algorithm = Algorithm.AES_256_GCM,
) -> tuple[bytes, DataKey]:
    """Generate a data key; return its 113 wrapped bytes and the key itself."""
    secret = opaque.random_bytes(aead.KEY_BYTES)
    key = DataKey(
        key_class=kek.key_class,
        owner=owner,
        generation=generation,
        algorithm=algorithm,
        secret=secret,
    )
    header = bytes((FORMAT, Algorithm.XAES_256_GCM, algorithm))
    header += kek.version.to_bytes(4, "big") + generation.to_bytes(2, "big")
    return _wrap(kek, header=header, owner=owner.to_bytes(), dek=secret, commit=key.commitment), key


def open_data_key(kek: KeyEncryptionKey, owner: Owner, wrapped: bytes) -> DataKey:
    """Unwrap a data key and check its commitment, once for all fields opened with it.

    Raises:
        OpenError: The bytes were altered, belong to another owner, class or KEK, or the key does
            not match its commitment (a ciphertext crafted to open under two keys).
    """
    secret = _unwrap(kek, owner.to_bytes(), wrapped)
    algorithm = _FIELD_ALGORITHMS.get(wrapped[2])
    if algorithm is None:
        raise OpenError
    generation = int.from_bytes(wrapped[7:9], "big")
    key = DataKey(
        key_class=kek.key_class,
        owner=owner,
        generation=generation,
        algorithm=algorithm,
        secret=secret,
    )
    if not opaque.equal(key.commitment, wrapped[-32:]):
        raise OpenError
    return key


def rewrap_data_key(
    old: KeyEncryptionKey, new: KeyEncryptionKey, owner: bytes, wrapped: bytes
) -> bytes:
    """Rewrap a data key under another KEK of its class; the sealed fields stay as they are.

    Args:
        old: The KEK that wraps it now.
        new: The KEK to wrap it under.
        owner: The 17 bytes of the owner.
        wrapped: The 113 stored bytes.

    Raises:
        OpenError: The bytes do not open under the old key.
        ValueError: The two keys are of different classes.
    """
    if old.key_class != new.key_class:
        raise ValueError("a data key stays in its class")
    secret = _unwrap(old, owner, wrapped)
    header = wrapped[:3] + new.version.to_bytes(4, "big") + wrapped[7:9]
    return _wrap(new, header=header, owner=owner, dek=secret, commit=wrapped[-32:])


def wrapped_kek_version(wrapped: bytes) -> int:
    """Return the KEK version recorded in a wrapped data key.

    Raises:
        OpenError: The bytes are not a wrapped data key.
    """
    if len(wrapped) != WRAPPED_BYTES or wrapped[:2] != _DEK_MARK:
        raise OpenError
    return int.from_bytes(wrapped[3:7], "big")


def sealed_generation(sealed: bytes) -> int:
    """Return the data-key generation recorded in a sealed field.

    Raises:
        OpenError: The bytes are not a sealed field of this format.
    """
    if len(sealed) < _FIELD_HEADER or sealed[0] != FORMAT or sealed[1] not in _FIELD_ALGORITHMS:
        raise OpenError
    return int.from_bytes(sealed[2:4], "big")


def looks_sealed(value: bytes) -> bool:
    """Return whether bytes may be sealed: UTF-8 text never starts with 0xF8 to 0xFF."""
    return value[:1] >= bytes((_FIRST_MARK,))
