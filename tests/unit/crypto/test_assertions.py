"""Client assertions: what libraries send is taken, all else is refused with a reason."""

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from crypto import assertions
from crypto.errors import AssertionRefused, KeySetInvalid, SignatureInvalid
from crypto.jwks import candidates, public_set

NOW = 1_800_000_000
AUDIENCE = ["https://i", "https://i/oauth2/token"]
CLAIMS = {"iss": "c", "sub": "c", "aud": "https://i", "jti": "1", "exp": NOW + 60}
KEY = ECKey.generate_key("P-256")
JWKS = {"keys": [KEY.as_dict(private=False)]}
RSA = RSAKey.generate_key(2048)
ED = OKPKey.generate_key("Ed25519")


def signed(claims, key=KEY, alg="ES256", **header):
    if alg == "EdDSA":
        text = bare({"alg": alg} | header, claims).rpartition(".")[0]
        signature = base64.urlsafe_b64encode(key.private_key.sign(text.encode()))
        return f"{text}.{signature.rstrip(b'=').decode()}"
    return jwt.encode({"alg": alg} | header, claims, key, algorithms=[alg])


def bare(header, claims):
    """Return a token of any JSON, signed or not."""
    parts = [json.dumps(part).encode() for part in (header, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, b"s"))


def read(token, client_id="c"):
    return assertions.read(token, client_id=client_id, audience=AUDIENCE, now=NOW)


def reason(token, client_id="c"):
    with pytest.raises(AssertionRefused) as refusal:
        read(token, client_id)
    return refusal.value.reason


@pytest.mark.parametrize(
    ("key", "alg"),
    [(KEY, "ES256"), (RSA, "PS256"), (RSA, "RS256"), (ED, "Ed25519"), (ED, "EdDSA")],
)
def test_each_algorithm_is_taken(key, alg):
    """RFC 7523 assertions under the five names of four algorithms."""
    said = read(signed(CLAIMS, key, alg))
    assertions.verify(said, {"keys": [key.as_dict(private=False)]})
    assert (said.client_id, said.jti, said.expires) == ("c", "1", NOW + 60)


@pytest.mark.parametrize(
    "change",
    [
        {"exp": NOW + 600},
        {"exp": NOW + 3600},
        {"exp": NOW + 3605.0},
        {"exp": NOW + 59.5},
        {"iat": NOW, "nbf": NOW},
        {"iat": NOW - 0.5},
        {"iat": NOW + 5},
        {"iat": -1},
        {"aud": "https://i/"},
        {"aud": "https://i/oauth2/token/"},
        {"aud": ["https://elsewhere", "https://i/"]},
        {"jti": "j" * 255},
        {"jti": "ü"},
        {"more": {"nested": [1]}},
    ],
)
def test_what_libraries_send_is_taken(change):
    """An end an hour ahead, a slash behind the audience, several audiences, broken seconds."""
    read(signed(CLAIMS | change))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("exp", [NOW, NOW + 3606, 2**70, -1, True, None, "1", [NOW], {}, float("nan"), 1e300]),
        ("iat", [NOW + 6, 2**70, True, None, "1", [], {}, float("inf")]),
        ("nbf", [NOW + 6, 10**400, False, None, "x", [], {}]),
        ("aud", ["x", "https://i//", None, 7, True, [], {}, [{}], [[]], ["https://i", 7], [None]]),
        ("jti", [None, 7, "", "j" * 256, [], {}, True, "\ud800", "a\x00"]),
        ("iss and sub", [None]),
    ],
)
def test_a_claim_of_any_kind_is_refused_by_name(name, values):
    """The reason begins with the claim that is at fault, whatever it holds."""
    for value in values:
        changes = [{"iss": "d"}, {"sub": "d"}, {"iss": ["c"]}, {"sub": {}}, {"iss": 1, "sub": 1}]
        for change in changes if name == "iss and sub" else [{name: value}]:
            assert reason(bare({"alg": "ES256"}, CLAIMS | change)).startswith(f"{name} must")


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": None},
        {"alg": []},
        {"alg": "ES256", "kid": []},
        {"alg": "ES256", "kid": {}},
        {"alg": "ES256", "kid": 7},
        {"alg": "ES256", "kid": "\ud800"},
        {"alg": "ES256", "kid": "k" * 256},
        {"alg": "ES256", "typ": 7},
        {"alg": "ES256", "jku": "https://evil"},
        {"alg": {}},
        {"alg": "ES256", "jwk": {}},
        {"alg": "ES256", "x5c": "AA"},
        {"alg": "ES256", "x5c": [7]},
        {"alg": "ES256", "x5u": "https://evil"},
        {"alg": "ES256", "crit": ["b64"], "b64": False},
    ],
)
def test_a_header_of_any_kind_is_refused(header):
    """Names of keys that are no text, other algorithms, and members that lead elsewhere."""
    assert reason(bare(header, CLAIMS)).startswith(("its header may", "alg must"))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "client-authentication+jwt"},
        {"x5t": "AA"},
        {"x5t#S256": "AA"},
        {"cty": "JWT"},
        {"x5c": ["MIIB" * 200]},
        {"kid": "any"},
    ],
)
def test_names_of_keys_in_the_header_are_taken(header):
    """Digests and chains of certificates name a key; only one of the set verifies."""
    said = read(signed(CLAIMS, **header))
    assertions.verify(said, JWKS)
    with pytest.raises(SignatureInvalid):
        assertions.verify(said, {"keys": [ECKey.generate_key("P-256").as_dict(private=False)]})


def test_what_is_no_token_is_refused():
    """Neither JSON nor base64url, a list for an object, twice the same member, endless depth."""
    good = base64.urlsafe_b64encode(b'{"alg":"ES256"}').rstrip(b"=").decode()
    deep = base64.urlsafe_b64encode(b"[" * 9000).rstrip(b"=").decode()
    twice = base64.urlsafe_b64encode(b'{"sub":"c","sub":"d"}').rstrip(b"=").decode()
    digits = base64.urlsafe_b64encode(b'{"exp":' + b"9" * 5000 + b"}").rstrip(b"=").decode()
    for token in (
        "",
        ".",
        "..",
        "a.b.c",
        "é.é.é",
        f"{good}.W10.AA",
        f"W10.{good}.AA",
        f"{good}.{deep}.AA",
        f"{good}.{twice}.AA",
        f"{good}.{digits}.AA",
        f"{good}.e30=.AA",
        f"{good}.e31.AA",
        f"{good}.gICA.AA",
        f"{good}.e30.AA.AA",
        "a" * 20_000,
    ):
        assert reason(token)


def test_the_client_is_who_the_assertion_names():
    """Without a parameter beside it the subject leads to the client; another name is refused."""
    assert read(signed(CLAIMS), client_id="").client_id == "c"
    assert reason(signed(CLAIMS), client_id="d") == "iss and sub must both be the client_id"


def test_only_a_key_of_the_set_verifies():
    """Another key, another name or no signature at all is refused; a set may hold many."""
    other = ECKey.generate_key("P-256")
    both = {"keys": [other.as_dict(private=False), RSA.as_dict(private=False), *JWKS["keys"]]}
    assertions.verify(read(signed(CLAIMS)), both)
    assertions.verify(read(signed(CLAIMS, kid="mine")), JWKS)
    named = {"keys": [JWKS["keys"][0] | {"kid": "theirs"}]}
    refused = [
        (signed(CLAIMS, other), JWKS),
        (bare({"alg": "ES256"}, CLAIMS), JWKS),
        (signed(CLAIMS, kid="mine"), named),
        (signed(CLAIMS), {"keys": []}),
        (signed(CLAIMS), {"keys": None}),
        (signed(CLAIMS), {"other": 1}),
        (signed(CLAIMS), {"keys": [None, {}, {"kty": []}, {"kty": "EC"}]}),
        (signed(CLAIMS), {"keys": [{"kty": "oct", "k": "AA"}]}),
        (signed(CLAIMS), {"keys": [JWKS["keys"][0] | {"alg": "ES384"}]}),
    ]
    for token, jwks in refused:
        with pytest.raises(SignatureInvalid):
            assertions.verify(read(token), jwks)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab\ud800\0\xe9"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\xe9"), inner),
    max_leaves=6,
)
NAMES = st.sampled_from(["iss", "sub", "aud", "jti", "exp", "iat", "nbf", "x"])


@given(
    claims=st.dictionaries(NAMES, JSON),
    header=st.dictionaries(st.sampled_from(["kid", "typ", "x5t", "crit"]), JSON),
)
def test_no_json_is_a_bug(claims, header):
    """Whatever claims and header hold, the assertion is taken or refused with a reason."""
    token = bare({"alg": "ES256"} | header, CLAIMS | claims)
    try:
        said = read(token)
    except AssertionRefused:
        return
    with pytest.raises(SignatureInvalid):
        assertions.verify(said, JWKS)


@given(
    jwks=st.fixed_dictionaries(
        {
            "keys": st.lists(
                st.dictionaries(
                    st.sampled_from(
                        ["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops"]
                    ),
                    st.sampled_from(
                        ["EC", "RSA", "OKP", "P-256", "Ed25519", "AQAB", "AA", "é", "sig"]
                    )
                    | JSON,
                ),
                max_size=3,
            )
        }
    )
)
def test_no_key_set_is_a_bug(jwks):
    """Whatever a set holds, it is stored as public keys or refused with a place."""
    with suppress(KeySetInvalid):
        public_set(jwks)
    assert list(candidates(jwks, "ES256", None)) == []


@pytest.mark.parametrize(
    "key", [KEY, RSA, ED, OctKey.generate_key(256)], ids=["EC", "RSA", "OKP", "oct"]
)
def test_a_private_key_is_never_stored(key):
    """Private and shared keys are named as such, alone and beside a public one."""
    private = key.as_dict(private=True)
    for keys in ([private], [*JWKS["keys"], private], [private | {"kty": "other"}]):
        with pytest.raises(KeySetInvalid) as refusal:
            public_set({"keys": keys})
        assert (refusal.value.code, refusal.value.pointer) == (
            "private_key",
            f"/keys/{len(keys) - 1}",
        )
        assert private.get("d", private.get("k")) not in str(refusal.value)


def test_of_a_public_key_what_verifies_is_stored():
    """Members that say nothing to us are left out; the name and the algorithm stay."""
    given = KEY.as_dict(private=False) | {"kid": "a", "use": "sig", "alg": "ES256", "x5c": ["AA"]}
    (kept,) = public_set({"keys": [given], "more": 1})["keys"]
    assert set(kept) == {"kty", "crv", "x", "y", "kid", "alg"}
    (kept,) = public_set({"keys": [RSA.as_dict(private=False)]})["keys"]
    assert {"kty", "n", "e"} <= set(kept) <= {"kty", "n", "e", "kid"}


@pytest.mark.parametrize(
    ("given", "pointer", "code"),
    [
        (None, "", "not_a_key_set"),
        ([], "", "not_a_key_set"),
        ({"keys": {}}, "", "not_a_key_set"),
        ({"keys": JWKS["keys"] * 17}, "", "not_a_key_set"),
        ({"keys": ["x"]}, "/keys/0", "not_a_key"),
        ({"keys": [{}]}, "/keys/0/kty", "unknown_key_type"),
        ({"keys": [JWKS["keys"][0] | {"crv": "P-384"}]}, "/keys/0/crv", "unknown_curve"),
        ({"keys": [JWKS["keys"][0] | {"x": "AA"}]}, "/keys/0", "not_a_key"),
        ({"keys": [JWKS["keys"][0] | {"use": "enc"}]}, "/keys/0/use", "not_for_signatures"),
        (
            {"keys": [JWKS["keys"][0] | {"key_ops": ["sign"]}]},
            "/keys/0/key_ops",
            "not_for_signatures",
        ),
        ({"keys": [JWKS["keys"][0] | {"alg": "RS256"}]}, "/keys/0/alg", "unknown_algorithm"),
        ({"keys": [JWKS["keys"][0] | {"kid": 7}]}, "/keys/0/kid", "not_text"),
        ({"keys": [JWKS["keys"][0] | {"kid": "a"}] * 2}, "/keys", "repeated_kid"),
        ({"keys": [{"kty": "RSA", "e": "AQAB", "n": "s" * 171}]}, "/keys/0/n", "key_length"),
        ({"keys": [RSA.as_dict(private=False) | {"e": "AA"}]}, "/keys/0/e", "bad_exponent"),
        ({"keys": [RSA.as_dict(private=False) | {"e": "A"}]}, "/keys/0/e", "bad_exponent"),
        ({"keys": [RSA.as_dict(private=False) | {"e": "A" * 2000}]}, "/keys/0/e", "bad_exponent"),
    ],
)
def test_a_key_that_is_not_taken_is_named_by_its_place(given, pointer, code):
    """A set that is none, weak keys, other curves and uses: where, and what to mend."""
    with pytest.raises(KeySetInvalid) as refusal:
        public_set(given)
    assert (refusal.value.pointer, refusal.value.code) == (pointer, code)


def test_a_detached_or_unencoded_payload_is_refused():
    """`b64: false` changes what is signed; it is not taken."""
    token = jws.serialize_compact(
        {"alg": "ES256", "b64": False, "crit": ["b64"]},
        b"{}",
        KEY,
        algorithms=["ES256"],
        registry=jws.JWSRegistry(algorithms=["ES256"]),
    )
    assert reason(token)
