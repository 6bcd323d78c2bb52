"""Random tokens, codes and time-ordered ids, with their digests and comparison."""

import base64
import hashlib
import hmac
import secrets
import uuid

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
_LOOKALIKES = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})


def random_bytes(length: int) -> bytes:
    """Return ``length`` bytes from the operating system's random generator."""
    return secrets.token_bytes(length)


def new_token(prefix: str = "") -> str:
    """Return a 256-bit bearer token as base64url, after an optional readable prefix."""
    return prefix + base64.urlsafe_b64encode(random_bytes(32)).rstrip(b"=").decode()


def digest(token: str, purpose: str) -> bytes:
    """Return the 32-byte digest under which a high-entropy token is stored.

    SHA-256 with the purpose as domain. Never for passwords or short codes: they can be guessed.
    """
    label = purpose.encode()
    message = b"lamina/1/token" + len(label).to_bytes(2, "big") + label + token.encode()
    return hashlib.sha256(message).digest()


def keyed_digest(key: bytes, token: str, purpose: str, bound: bytes = b"") -> bytes:
    """Return the keyed 32-byte digest of a bearer token; forging a row would need the key.

    HMAC-SHA-256 over ``"lamina/1/bearer" | lp(purpose) | lp(bound) | token``.
    """
    label = purpose.encode()
    message = b"lamina/1/bearer" + len(label).to_bytes(2, "big") + label
    message += len(bound).to_bytes(2, "big") + bound + token.encode("utf-8", "surrogatepass")
    return hmac.digest(key, message, "sha256")


def equal(left: bytes, right: bytes) -> bool:
    """Compare two byte strings in constant time."""
    return hmac.compare_digest(left, right)


def new_code(groups: int = 4) -> str:
    """Return a code for manual entry: ``groups`` of four base-32 characters (20 bits each)."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(groups))


def normalize_code(typed: str) -> str:
    """Return a typed code in canonical form, without separators.

    Raises:
        ValueError: A character is not part of the code alphabet.
    """
    code = typed.upper().translate(_LOOKALIKES)
    if not code or not set(code) <= set(_ALPHABET):
        raise ValueError("a recovery code has only digits and letters, in groups of four")
    return code


def uuid7(unix_ms: int) -> uuid.UUID:
    """Return a time-ordered UUID (RFC 9562 section 5.7) with 74 random bits.

    Args:
        unix_ms: Milliseconds since 1970, below 2**48.

    Raises:
        ValueError: The time does not fit its 48 bits.
    """
    if not 0 <= unix_ms < 1 << 48:
        raise ValueError("unix_ms must fit 48 bits")
    tail = secrets.randbits(74)
    value = unix_ms << 80 | 0x7 << 76 | (tail >> 62) << 64 | 0b10 << 62 | tail & ((1 << 62) - 1)
    return uuid.UUID(int=value)


def digits(length: int) -> str:
    """Return ``length`` random decimal digits."""
    return "".join(secrets.choice("0123456789") for _ in range(length))
