"""Signed tokens: what is taken, and every way to be refused."""

import base64
import json
import pickle

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from crypto import signing
from crypto.errors import SignatureInvalid
from crypto.signing import (
    SigningKey,
    sign_jwt,
    sign_mac_jwt,
    verify_jwt,
    verify_mac_jwt,
)

NOW = 1_800_000_000
KEY = SigningKey.generate()
JWKS = {"keys": [KEY.public_jwk()]}
CLAIMS = {"iss": "https://i", "aud": ["https://i"], "iat": NOW, "exp": NOW + 300, "sub": "s"}


def _verify(token, **change):
    arguments = {"typ": "at+jwt", "issuer": "https://i", "audience": "https://i", "now": NOW}
    return verify_jwt(token, JWKS, **(arguments | change))


def _encode(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def test_a_signed_token_gives_its_claims():
    """The claims come back, with and without an audience to check."""
    token = sign_jwt(KEY, CLAIMS, "at+jwt")
    assert _verify(token) == CLAIMS
    assert _verify(token, audience=None)["sub"] == "s"
    assert _verify(sign_jwt(KEY, CLAIMS | {"aud": "https://i"}, "at+jwt"))["sub"] == "s"


def test_each_half_of_a_signature_fills_its_32_bytes():
    """One of 128 signatures has a half that begins with a zero (RFC 7518 section 3.4)."""
    for number in range(400):
        token = sign_jwt(KEY, CLAIMS | {"sub": str(number)}, "at+jwt")
        assert len(token.rpartition(".")[2]) == 86
        assert jwt.decode(token, KEY.jwk, algorithms=["ES256"]).claims["sub"] == str(number)


@pytest.mark.parametrize(
    "change",
    [
        {"exp": NOW},
        {"exp": None},
        {"exp": True},
        {"exp": float(NOW + 9)},
        {"iat": NOW + 60},
        {"nbf": NOW + 60},
        {"iss": "https://j"},
        {"aud": "https://j"},
        {"aud": []},
    ],
)
def test_a_claim_out_of_order_is_refused(change):
    """Expired, early, of another issuer or for another audience: one error."""
    with pytest.raises(SignatureInvalid, match=r"^the signed token is not valid$"):
        _verify(sign_jwt(KEY, CLAIMS | change, "at+jwt"))


def test_a_token_that_was_valid_is_refused_once_its_key_or_time_is_gone():
    """A remembered signature proves nothing of time, key set or audience; claims are no one's."""
    token = sign_jwt(KEY, CLAIMS, "at+jwt")
    _verify(token)["sub"] = "another"
    _verify(token)["aud"].append("https://j")
    assert _verify(token) == CLAIMS
    other = {"keys": [SigningKey.generate().public_jwk() | {"kid": KEY.kid}]}
    wanted = {"typ": "at+jwt", "issuer": "https://i", "audience": None, "now": NOW}
    for keys in ({"keys": []}, other):
        with pytest.raises(SignatureInvalid):
            verify_jwt(token, keys, **wanted)
    for change in ({"now": NOW + 300}, {"audience": "https://j"}, {"typ": "jwt"}):
        with pytest.raises(SignatureInvalid):
            _verify(token, **change)
    assert _verify(token) == CLAIMS


def test_no_more_than_so_many_tokens_are_remembered(monkeypatch):
    """Whatever was remembered before, each is taken as it should be."""
    monkeypatch.setattr(signing, "_MOST_PROVEN", 3)
    tokens = [sign_jwt(KEY, CLAIMS | {"sub": str(number)}, "at+jwt") for number in range(8)]
    for _ in range(2):
        assert [_verify(token)["sub"] for token in tokens] == [str(n) for n in range(8)]
        assert len(signing._PROVEN) <= 3


def test_every_changed_character_of_a_known_token_is_refused():
    """Nothing but the very text that was proven is taken for it."""
    token = sign_jwt(KEY, CLAIMS, "at+jwt")
    _verify(token)
    for place in range(len(token)):
        changed = token[:place] + ("B" if token[place] == "A" else "A") + token[place + 1 :]
        with pytest.raises(SignatureInvalid):
            _verify(changed)


def test_a_token_of_another_type_or_key_is_refused():
    """An ID token is no access token; an unknown kid is not tried."""
    with pytest.raises(SignatureInvalid):
        _verify(sign_jwt(KEY, CLAIMS, "jwt"))
    with pytest.raises(SignatureInvalid):
        _verify(sign_jwt(SigningKey.generate(), CLAIMS, "at+jwt"))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"crit": ["x"]},
        {"jwk": {}},
        {"jku": "https://x"},
        {"kid": 7},
        {"typ": None},
    ],
)
def test_a_header_that_asks_for_more_is_refused(header):
    """Algorithms, keys and extensions are ours to choose, not the token's."""
    original = {"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt"}
    _, payload, signature = sign_jwt(KEY, CLAIMS, "at+jwt").split(".")
    forged = _encode(json.dumps(original | header).encode())
    with pytest.raises(SignatureInvalid):
        _verify(f"{forged}.{payload}.{signature}")


def test_malformed_tokens_are_refused():
    """Too long, too few parts, no base64, other spellings, no JSON object: one error."""
    token = sign_jwt(KEY, CLAIMS, "at+jwt")
    header, payload, signature = token.split(".")
    other = "B" if signature[-1] == "A" else chr(ord(signature[-1]) + 1)
    attempts = [
        "",
        "a.b",
        token + "=",
        f"{header}.{payload}.{signature[:-1]}{other}",
        "a" * 17_000,
        f"{_encode(b'[]')}.{payload}.{signature}",
        f"{_encode(b'x')}.{payload}.{signature}",
        f"{header}.{payload}.!{signature}",
        f"{header}.{_encode(b'{}')}.{signature}",
    ]
    for attempt in attempts:
        with pytest.raises(SignatureInvalid):
            _verify(attempt)


def test_a_payload_that_is_no_object_is_refused():
    """A correctly signed list carries no claims."""
    from joserfc import jws

    header = {"alg": "HS256", "typ": "device"}
    token = jws.serialize_compact(header, b"[1]", OctKey.import_key(bytes(32)))
    with pytest.raises(SignatureInvalid):
        verify_mac_jwt(bytes(32), token, typ="device", now=NOW)


def test_a_signing_key_is_stored_and_never_shown():
    """It comes back from its bytes; repr shows the kid; the public part has no `d`."""
    assert SigningKey.from_bytes(KEY.to_bytes()).kid == KEY.kid
    assert repr(KEY) == f"SigningKey({KEY.kid!r})"
    assert set(KEY.public_jwk()) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(KEY)


def test_a_device_token_opens_with_its_secret_and_type_only():
    """Another secret, type or time is refused."""
    token = sign_mac_jwt(b"k" * 32, {"exp": NOW + 9, "gen": 1}, "device")
    assert verify_mac_jwt(b"k" * 32, token, typ="device", now=NOW)["gen"] == 1
    good = (b"k" * 32, "device", NOW)
    for secret, typ, now in ((b"j" * 32, *good[1:]), (good[0], "x", NOW), (*good[:2], NOW + 9)):
        with pytest.raises(SignatureInvalid):
            verify_mac_jwt(secret, token, typ=typ, now=now)
