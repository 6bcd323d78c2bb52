#!/usr/bin/env bash
# joserfc: a JWS whose header carries a certificate is refused as too large before any key is tried.
#
# Guess before running: RFC 7515 section 4.1.6 lets a header carry a certificate chain (`x5c`) and
#   names no length, and some identity providers have clients send one with private_key_jwt; a header
#   of one to two KiB is checked like any other where nothing was configured.
# Version: joserfc 1.8.0, cryptography 50.0.2, Python 3.11.
# Behavior: one certificate of a P-256 key makes the header longer than the 512 bytes that a registry
#   allows by default. The token is made without a word and refused, with an error of its own, as it
#   is checked: the same library, with the same defaults, does not take what it has signed. A registry
#   with a larger `max_header_length` takes it.
# Seen: made by default: made; checked by default: ExceededSizeError; with room: verified
# For us: what a client registered decides about its keys, and the whole token is bounded, so that
#   assertions are checked by a registry with room for certificates.
set -euo pipefail
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check joserfc==1.8.0 cryptography==50.0.2
seen="$("$place/venv/bin/python" - <<'PY'
import base64
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jws
from joserfc.jwk import ECKey

key = ECKey.generate_key("P-256")
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "client.example")])
now = datetime.now(UTC)
certificate = (
    x509.CertificateBuilder()
    .subject_name(name)
    .issuer_name(name)
    .public_key(key.public_key)
    .serial_number(x509.random_serial_number())
    .not_valid_before(now)
    .not_valid_after(now + timedelta(days=1))
    .sign(key.private_key, hashes.SHA256())
)
header = {
    "alg": "ES256",
    "x5c": [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()],
}


class Roomy(jws.JWSRegistry):
    max_header_length = 4096


def told(act):
    try:
        return act()
    except Exception as error:
        return type(error).__name__


made = told(lambda: jws.serialize_compact(header, b"claims", key) and "made")
token = jws.serialize_compact(header, b"claims", key, registry=Roomy())
default = told(lambda: jws.deserialize_compact(token, key) and "verified")
roomy = told(lambda: jws.deserialize_compact(token, key, registry=Roomy()) and "verified")
print(f"made by default: {made}; checked by default: {default}; with room: {roomy}")
PY
)"
echo "$seen"
test "$seen" = "made by default: made; checked by default: ExceededSizeError; with room: verified"
