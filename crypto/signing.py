"""Signed tokens of the service: ES256 access tokens and HS256 device tokens."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NoReturn, cast

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey

from crypto.errors import SignatureInvalid

_LONGEST: Final = 16 * 1024
_CLOCK_SKEW: Final = 5
_ES256: Final = ECDSA(hashes.SHA256())
_PUBLIC: Final = ("kty", "crv", "x", "y")


class SigningKey:
    """A P-256 key that signs tokens; its repr hides the key, and it cannot be pickled."""

    __slots__ = ("jwk", "kid")

    def __init__(self, jwk: ECKey) -> None:
        self.jwk = jwk
        self.kid = jwk.thumbprint()

    def __repr__(self) -> str:
        return f"SigningKey({self.kid!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is never pickled")

    @classmethod
    def generate(cls) -> "SigningKey":
        """Generate a key."""
        return cls(ECKey.generate_key("P-256", private=True))

    @classmethod
    def from_bytes(cls, stored: bytes) -> "SigningKey":
        """Return the key that `to_bytes` encoded."""
        return cls(ECKey.import_key(stored))

    def to_bytes(self) -> bytes:
        """Return the private key as PKCS #8 in DER, for sealing."""
        private = cast("EllipticCurvePrivateKey", self.jwk.private_key)
        return private.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def public_jwk(self) -> dict[str, Any]:
        """Return the public JWK with `kid` (RFC 7638 thumbprint), `use` and `alg`."""
        public = self.jwk.as_dict(private=False)
        members = {name: public[name] for name in _PUBLIC}
        return members | {"kid": self.kid, "use": "sig", "alg": "ES256"}


def sign_jwt(key: SigningKey, claims: Mapping[str, object], typ: str) -> str:
    """Sign claims as a compact JWS with ES256.

    The three parts are put together here (RFC 7515 section 7.1, RFC 7518 section 3.4): a library
    that looks up algorithm and key for each token costs twice what the signature does.
    """
    payload = json.dumps(claims, separators=(",", ":")).encode()
    content = f"{_head(key.kid, typ)}.{_base64url(payload)}"
    private = cast("EllipticCurvePrivateKey", key.jwk.private_key)
    first, second = decode_dss_signature(private.sign(content.encode(), _ES256))
    signature = first.to_bytes(32, "big") + second.to_bytes(32, "big")
    return f"{content}.{_base64url(signature)}"


@lru_cache(maxsize=64)
def _head(kid: str, typ: str) -> str:
    """Return the protected header of the tokens of a key, encoded."""
    header = {"alg": "ES256", "kid": kid, "typ": typ}
    return _base64url(json.dumps(header, separators=(",", ":")).encode())


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def verify_jwt(
    token: str, jwks: Mapping[str, Any], *, typ: str, issuer: str, audience: str | None, now: int
) -> dict[str, object]:
    """Verify a token against the published keys and return its claims.

    Args:
        token: Compact serialization, at most 16 KiB.
        jwks: The key set; only the key named by the header's `kid` is tried.
        typ: The media type that the header must carry, such as ``at+jwt``.
        issuer: The required value of `iss`.
        audience: A value that `aud` must contain; None leaves the check to the caller.
        now: Unix seconds.

    Raises:
        SignatureInvalid: The form, signature, type, times, issuer or audience is not valid.
    """
    found, claims = _proven(token, jwks)
    if found != typ:
        raise SignatureInvalid
    _check_times(claims, now)
    if claims.get("iss") != issuer:
        raise SignatureInvalid
    if audience is not None and audience not in _audiences(claims):
        raise SignatureInvalid
    return claims


_Proof = tuple[tuple[str, ...], str, str]
"""A verified token: the members of the public key, the media type, and the claims as JSON."""
_PROVEN: Final[dict[bytes, _Proof]] = {}
_MOST_PROVEN: Final = 4096


def _proven(token: str, jwks: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the media type and the claims of a token with a valid ES256 signature.

    A client sends one token with many requests, so its signature is verified once and cached
    under a digest. The key must still be in the key set at every call.
    """
    if len(token) > _LONGEST or not token.isascii():
        raise SignatureInvalid
    digest = hashlib.sha256(token.encode()).digest()
    proof = _PROVEN.get(digest)
    if proof is not None:
        key, typ, claims = proof
        if any(tuple(map(known.get, _PUBLIC)) == key for known in jwks["keys"]):
            return typ, json.loads(claims)
        raise SignatureInvalid
    key, typ, claims = _prove(token, jwks)
    if len(_PROVEN) >= _MOST_PROVEN:
        _PROVEN.clear()
    _PROVEN[digest] = key, typ, claims
    return typ, json.loads(claims)


def _prove(token: str, jwks: Mapping[str, Any]) -> _Proof:
    header = _header(token, {"alg", "kid", "typ"})
    if header.get("alg") != "ES256":
        raise SignatureInvalid
    known = [key for key in jwks["keys"] if key["kid"] == header.get("kid")]
    if not known:
        raise SignatureInvalid
    key = tuple(str(known[0][name]) for name in _PUBLIC)
    claims = _verify(token, _public(*key), ["ES256"])
    return key, str(header.get("typ")).lower(), json.dumps(claims)


@lru_cache(maxsize=32)
def _public(*members: str) -> ECKey:
    """Return a public key, cached: the check of its point costs as much as a signature."""
    return ECKey.import_key(dict(zip(_PUBLIC, members, strict=True)))


def sign_mac_jwt(secret: bytes, claims: Mapping[str, object], typ: str) -> str:
    """Sign claims as a compact JWS with HS256, under a 32-byte key of the service."""
    return jwt.encode({"alg": "HS256", "typ": typ}, dict(claims), OctKey.import_key(secret))


def verify_mac_jwt(secret: bytes, token: str, *, typ: str, now: int) -> dict[str, Any]:
    """Verify an HS256 token of this service and return its claims; raises SignatureInvalid."""
    header = _header(token, {"alg", "typ"})
    if header != {"alg": "HS256", "typ": typ}:
        raise SignatureInvalid
    claims = _verify(token, OctKey.import_key(secret), ["HS256"])
    _check_times(claims, now)
    return claims


def _header(token: str, allowed: set[str]) -> dict[str, Any]:
    """Return the protected header of a token made of three parts in canonical base64url."""
    parts = token.split(".")
    if len(token) > _LONGEST or len(parts) != 3:  # noqa: PLR2004 - header, payload, signature
        raise SignatureInvalid
    try:
        decoded = [
            base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True) for part in parts
        ]
        header = json.loads(decoded[0])
    except (ValueError, binascii.Error, RecursionError):
        raise SignatureInvalid from None
    # A list of revoked tokens compares text, so a second encoding of a token would evade it.
    again = list(map(_base64url, decoded))
    if again != parts or not isinstance(header, dict) or not set(header) <= allowed:
        raise SignatureInvalid
    return header


def _verify(token: str, key: Any, algorithms: list[str]) -> dict[str, Any]:  # noqa: ANN401 - any joserfc key
    try:
        payload = jws.deserialize_compact(token, key, algorithms=algorithms).payload
        claims = json.loads(payload)
    except (JoseError, ValueError, RecursionError):
        raise SignatureInvalid from None
    if not isinstance(claims, dict):
        raise SignatureInvalid
    return claims


def _check_times(claims: Mapping[str, object], now: int) -> None:
    named = [claims.get("exp"), *(claims.get(name, now) for name in ("iat", "nbf"))]
    times = [value for value in named if isinstance(value, int) and not isinstance(value, bool)]
    if len(times) < len(named):
        raise SignatureInvalid
    expires, *begins = times
    if expires <= now or max(begins) > now + _CLOCK_SKEW:
        raise SignatureInvalid


def _audiences(claims: Mapping[str, object]) -> list[str]:
    audience = claims.get("aud")
    return audience if isinstance(audience, list) else [str(audience)]
