"""Client assertions (`private_key_jwt`, RFC 7523): parse them, then verify their signature."""

import base64
import binascii
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from crypto.errors import AssertionRefused, SignatureInvalid
from crypto.jwks import ALGORITHMS, Key, candidates

LIFE: Final = 3600
"""Maximum seconds from now to `exp`."""
_SKEW: Final = 5
_LONGEST: Final = 16 * 1024
_LONGEST_NAME: Final = 255
_HEADER: Final = frozenset({"alg", "kid", "typ", "cty", "x5c", "x5t", "x5t#S256"})
"""Accepted header members. Those that identify a key only select one of the registered keys."""


class _Sizes(jws.JWSRegistry):
    """The limits of the JWS library, raised because `x5c` chains exceed its default header size.

    `read` has already limited the length of the whole token.
    """

    max_header_length = _LONGEST
    max_signature_length = _LONGEST


@dataclass(kw_only=True, frozen=True, slots=True)
class Assertion:
    """The claims of an assertion, unverified until `verify` succeeds.

    Args:
        client_id: The client that the assertion identifies.
        expires: Whole Unix seconds at which the assertion expires.
    """

    token: str = field(repr=False)
    client_id: str
    alg: str
    kid: str | None
    jti: str
    expires: int


def read(token: str, *, client_id: str, audience: Collection[str], now: int) -> Assertion:
    """Parse an assertion and check its form and claims, but not its signature.

    The result does not depend on whether the client exists, so the reason may be disclosed.

    Args:
        token: Compact serialization.
        client_id: The `client_id` parameter of the request; empty if absent.
        audience: The accepted values of `aud`, without a trailing slash.
        now: Unix seconds.

    Raises:
        AssertionRefused: The form or a claim is invalid; the reason says what to correct.
    """
    header, claims = _parts(token)
    if not set(header) <= _HEADER or not all(map(_valid_member, header, header.values())):
        raise AssertionRefused(f"its header may hold {', '.join(sorted(_HEADER))} only, as text")
    alg = header.get("alg")
    if alg not in ALGORITHMS:
        raise AssertionRefused(f"alg must be one of {', '.join(ALGORITHMS)}")
    issuer, subject, jti = (claims.get(name) for name in ("iss", "sub", "jti"))
    if not _named(subject) or issuer != subject or client_id not in {"", subject}:
        raise AssertionRefused("iss and sub must both be the client_id")
    if not _named(jti):
        raise AssertionRefused(f"jti must be text of 1 to {_LONGEST_NAME} characters")
    _check_audience(claims.get("aud"), audience)
    expires = _check_times(claims, now)
    return Assertion(
        token=token,
        client_id=str(subject),
        alg=str(alg),
        kid=str(header["kid"]) if "kid" in header else None,
        jti=str(jti),
        expires=expires,
    )


def verify(assertion: Assertion, jwks: Mapping[str, object]) -> None:
    """Verify the signature; raises SignatureInvalid if no key of the set made it."""
    for key in candidates(jwks, assertion.alg, assertion.kid):
        try:
            _check(assertion, key)
        except (JoseError, InvalidSignature, ValueError):
            continue
        return
    raise SignatureInvalid


def _check(assertion: Assertion, key: Key) -> None:
    if isinstance(key, OKPKey):
        # EdDSA and Ed25519 name one algorithm; the library warns about the former.
        signed, _, signature = assertion.token.rpartition(".")
        public = cast(Ed25519PublicKey, key.public_key)
        public.verify(base64.urlsafe_b64decode(signature + "=="), signed.encode())
    else:
        jws.deserialize_compact(assertion.token, key, registry=_Sizes(algorithms=[assertion.alg]))


def _parts(token: str) -> tuple[dict[str, object], dict[str, object]]:
    """Return the header and claims of a token made of three parts in canonical base64url."""
    parts = token.split(".")
    if len(token) > _LONGEST or len(parts) != 3:  # noqa: PLR2004 - header, payload, signature
        raise AssertionRefused(f"it must be a signed JWT of at most {_LONGEST} characters")
    try:
        decoded = [
            base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True) for part in parts
        ]
        header, claims = (json.loads(part, object_pairs_hook=_once) for part in decoded[:2])
    except (ValueError, binascii.Error, RecursionError):
        raise AssertionRefused("it must be base64url of JSON without duplicate members") from None
    # A list of used tokens compares text, so a second encoding of a token would evade it.
    again = [base64.urlsafe_b64encode(value).rstrip(b"=").decode() for value in decoded]
    if again != parts or not isinstance(header, dict) or not isinstance(claims, dict):
        raise AssertionRefused("header and claims must be JSON objects in canonical base64url")
    return header, claims


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object names a member twice")
    return members


def _named(value: object) -> bool:
    """Return whether a value is a text of 1 to 255 characters without controls or surrogates."""
    if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST_NAME:
        return False
    return not any(ord(sign) < ord(" ") or 0xD800 <= ord(sign) < 0xE000 for sign in value)  # noqa: PLR2004 - surrogates


def _valid_member(name: str, value: object) -> bool:
    """Return whether a header member has its type: a list of texts for `x5c`, else text."""
    if name != "x5c":
        return _named(value)
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def _check_audience(given: object, audience: Collection[str]) -> None:
    named = given if isinstance(given, list) else [given]
    meant = {value.removesuffix("/") for value in named if isinstance(value, str)}
    if not all(isinstance(value, str) for value in named) or not meant & set(audience):
        raise AssertionRefused(f"aud must be, or list, {' or '.join(audience)}")


def _check_times(claims: Mapping[str, object], now: int) -> int:
    expires = _moment(claims.get("exp"))
    if expires is None or not now < expires <= now + LIFE + _SKEW:
        raise AssertionRefused(f"exp must be a time, now to {LIFE} seconds ahead")
    for name in ("iat", "nbf"):
        begins = _moment(claims.get(name, now))
        if begins is None or begins > now + _SKEW:
            raise AssertionRefused(f"{name} must be a time that has come, or be absent")
    return math.ceil(expires)


def _moment(value: object) -> float | None:
    """Return a NumericDate (RFC 7519 section 2) as a number, or None if it is not a valid one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -(2**53) < value < 2**53 else None
