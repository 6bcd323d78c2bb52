"""Recovery exports: the KEKs of a deployment, sealed for one recipient (HPKE, RFC 9180).

The recipient's key combines ML-KEM-768 and X25519, so that a quantum computer cannot open an
export copied today. An export is JSON: format, issuer, creation and expiry times, key names, and
the sealed key bytes. All readable members are the HPKE `info`, so none of them can be changed.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from crypto import aead
from crypto.canonical import canonical_json
from crypto.errors import KeyFileError, OpenError

_FORMAT: Final = "lamina-recovery 1"
_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_PUBLIC: Final = "lamina-recipient 1"
_PRIVATE: Final = "lamina-recipient-private 1"
_SEED_BYTES: Final = 64
_MLKEM_PUBLIC_BYTES: Final = 1184
_X25519_BYTES: Final = 32

ExportedKey = tuple[str, int, bytes]
"""Class, version and the 32 bytes of one KEK."""


def create_recipient() -> tuple[str, str]:
    """Generate a recipient key pair; return its private and its public line."""
    mlkem = MLKEM768PrivateKey.generate()
    x25519 = X25519PrivateKey.generate()
    private = mlkem.private_bytes_raw() + x25519.private_bytes_raw()
    public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    return _line(_PRIVATE, private), _line(_PUBLIC, public)


def recipient_id(recipient: str) -> str:
    """Return the id of a recipient: the first 16 bytes of SHA-256 of its public key, in hex.

    Raises:
        KeyFileError: The text is not a public line of `create_recipient`.
    """
    public = _parse(_PUBLIC, recipient, _MLKEM_PUBLIC_BYTES + _X25519_BYTES)
    return hashlib.sha256(public).hexdigest()[:32]


def seal_export(recipient: str, keys: Sequence[ExportedKey], about: Mapping[str, object]) -> bytes:
    """Return an export that only the recipient can open.

    Args:
        recipient: The public line of `create_recipient`.
        keys: The KEKs.
        about: Metadata of the export, such as `issuer`, `created_at` and `expires_at`.

    Raises:
        KeyFileError: The recipient is not a public line.
    """
    raw = _parse(_PUBLIC, recipient, _MLKEM_PUBLIC_BYTES + _X25519_BYTES)
    public = MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES]),
        X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_BYTES:]),
    )
    names = [[key_class, version] for key_class, version, _ in keys]
    head = {"format": _FORMAT, "about": dict(about), "keys": names}
    secret = b"".join(key for _, _, key in keys)
    sealed = _SUITE.encrypt(secret, public, canonical_json(head))
    return json.dumps(head | {"sealed": base64.b64encode(sealed).decode()}, indent=1).encode()


def open_export(private: str, content: bytes) -> tuple[dict[str, object], list[ExportedKey]]:
    """Open an export; return its metadata and its KEKs.

    Raises:
        KeyFileError: The content is not an export, or the private line is malformed.
        OpenError: It was made for another recipient, or was modified.
    """
    raw = _parse(_PRIVATE, private, _SEED_BYTES + _X25519_BYTES)
    key = MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(raw[:_SEED_BYTES]),
        X25519PrivateKey.from_private_bytes(raw[_SEED_BYTES:]),
    )
    try:
        body = json.loads(content)
        sealed = base64.b64decode(body.pop("sealed"), validate=True)
        names = [(str(key_class), int(version)) for key_class, version in body["keys"]]
        about = dict(body["about"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise KeyFileError("this is no recovery export, or it is damaged") from None
    try:
        secret = _SUITE.decrypt(sealed, key, canonical_json(body))
    except (InvalidTag, ValueError):
        raise OpenError from None
    size = aead.KEY_BYTES
    parts = [secret[at : at + size] for at in range(0, len(secret), size)]
    return about, [(*name, part) for name, part in zip(names, parts, strict=True)]


def _line(label: str, value: bytes) -> str:
    return f"{label} {base64.b64encode(value).decode()}"


def _parse(label: str, line: str, size: int) -> bytes:
    try:
        value = base64.b64decode(line.strip().removeprefix(label).strip(), validate=True)
    except ValueError:
        value = b""
    if not line.startswith(label) or len(value) != size:
        raise KeyFileError(f"a line that begins with '{label}' is needed")
    return value
