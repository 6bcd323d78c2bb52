"""Public keys of clients as a JWK set (RFC 7517): validation for storage, and verification keys."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from crypto.errors import KeySetInvalid

Key = ECKey | RSAKey | OKPKey
ALGORITHMS: Final[Mapping[str, str]] = {
    "ES256": "EC",
    "PS256": "RSA",
    "RS256": "RSA",
    "Ed25519": "OKP",
    "EdDSA": "OKP",
}
"""The accepted signature algorithms, with the key type of each."""
_MOST: Final = 16
_LONGEST_KID: Final = 255
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_MEMBERS: Final = {"EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "RSA": ("n", "e")}
_CURVES: Final = {"EC": "P-256", "OKP": "Ed25519"}
_RSA_BITS: Final = range(2048, 8192 + 1)
_LARGEST_EXPONENT: Final = 2**32
_LONGEST_MEMBER: Final = 2048


def public_set(given: object) -> dict[str, list[dict[str, str]]]:
    """Validate a JWK set and return it with the public members, `kid` and `alg` of each key only.

    Raises:
        KeySetInvalid: It holds a private, shared or unsupported key; the pointer says where.
    """
    keys = given.get("keys") if isinstance(given, dict) else None
    if not isinstance(keys, list) or len(keys) > _MOST:
        detail = f"must be a JWK set: an object whose member keys lists {_MOST} keys at most"
        raise KeySetInvalid("", "not_a_key_set", detail)
    found = [_public(key, f"/keys/{place}") for place, key in enumerate(keys)]
    names = [key["kid"] for key in found if "kid" in key]
    if len(names) != len(set(names)):
        raise KeySetInvalid("/keys", "repeated_kid", "two keys have the same kid")
    return {"keys": found}


def candidates(jwks: Mapping[str, object], alg: str, kid: str | None) -> Iterator[Key]:
    """Yield the keys of a stored set that may have made a signature; malformed keys are skipped."""
    keys = jwks.get("keys")
    for given in keys if isinstance(keys, list) else ():
        try:
            jwk = _public(given, "")
        except KeySetInvalid:
            continue
        named = kid is None or jwk.get("kid", kid) == kid
        if named and jwk["kty"] == ALGORITHMS[alg] and _same(jwk.get("alg", alg), alg):
            yield _import(jwk)


def _same(one: str, other: str) -> bool:
    """Return whether two names mean the same algorithm; `EdDSA` is the old name of `Ed25519`."""
    return one == other or ALGORITHMS.get(one) == ALGORITHMS[other] == "OKP"


def _public(jwk: object, at: str) -> dict[str, str]:
    if not isinstance(jwk, dict):
        raise KeySetInvalid(at, "not_a_key", "must be a JWK: an object")
    # Checked first: a client that sends a private key must learn of it before any other error.
    if jwk.get("kty") == "oct" or _PRIVATE & set(jwk):
        detail = "holds a private or shared key; register its public part, and replace the key"
        raise KeySetInvalid(at, "private_key", f"{detail}: treat it as compromised")
    members = _MEMBERS.get(jwk["kty"]) if isinstance(jwk.get("kty"), str) else None
    if members is None:
        raise KeySetInvalid(f"{at}/kty", "unknown_key_type", "must be EC, RSA or OKP")
    found = {name: _text(jwk, name, at) for name in ("kty", *members)}
    found |= {name: _text(jwk, name, at) for name in ("kid", "alg") if name in jwk}
    _check_use(jwk, found, at)
    if found["kty"] == "RSA":
        _check_rsa(found, at)
    elif found["crv"] != _CURVES[found["kty"]]:
        raise KeySetInvalid(f"{at}/crv", "unknown_curve", "must be P-256 or Ed25519")
    try:
        _import(found)
    except (JoseError, ValueError, TypeError):
        raise KeySetInvalid(at, "not_a_key", "is not a valid key of its type") from None
    return found


def _text(jwk: Mapping[str, object], name: str, at: str) -> str:
    value = jwk.get(name)
    longest = _LONGEST_KID if name == "kid" else _LONGEST_MEMBER
    if not isinstance(value, str) or not 1 <= len(value) <= longest or not value.isascii():
        detail = f"must be text of 1 to {longest} ASCII characters"
        raise KeySetInvalid(f"{at}/{name}", "not_text", detail)
    return value


def _check_use(jwk: Mapping[str, object], found: Mapping[str, str], at: str) -> None:
    if jwk.get("use", "sig") != "sig":
        raise KeySetInvalid(f"{at}/use", "not_for_signatures", "must be sig, or absent")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise KeySetInvalid(f"{at}/key_ops", "not_for_signatures", "must list verify, or be absent")
    if "alg" in found and ALGORITHMS.get(found["alg"]) != found["kty"]:
        detail = f"must be one of {' '.join(ALGORITHMS)} and fit the key, or be absent"
        raise KeySetInvalid(f"{at}/alg", "unknown_algorithm", detail)


def _check_rsa(found: Mapping[str, str], at: str) -> None:
    modulus, exponent = (_number(found[name]) for name in ("n", "e"))
    if modulus.bit_length() not in _RSA_BITS:
        detail = f"must have {_RSA_BITS.start} to {_RSA_BITS.stop - 1} bits"
        raise KeySetInvalid(f"{at}/n", "key_length", detail)
    if not 1 < exponent < _LARGEST_EXPONENT or exponent % 2 == 0:
        raise KeySetInvalid(f"{at}/e", "bad_exponent", "must be odd, above 1 and below 2^32")


def _number(text: str) -> int:
    try:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        return 0


def _import(jwk: Mapping[str, str]) -> Key:
    """Return a key made of the public members only, even if the stored row has others."""
    kinds: dict[str, type[Key]] = {"EC": ECKey, "RSA": RSAKey, "OKP": OKPKey}
    public: dict[str, str | list[str]] = {
        name: jwk[name] for name in ("kty", *_MEMBERS[jwk["kty"]])
    }
    return kinds[jwk["kty"]].import_key(public)
