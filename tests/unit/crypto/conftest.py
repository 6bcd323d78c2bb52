"""Stand-ins for key services: a transit server, a software token, and a KMS."""

import base64
import http.server
import json
import secrets
import shutil
import subprocess
import threading

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.lacking import lacks
from tests.unit.crypto.key_files import SOFTHSM, private


class Transit(http.server.BaseHTTPRequestHandler):
    """A server that speaks the HTTP of Vault's transit engine."""

    keys: dict[str, dict[int, bytes]]
    token = "s.token"

    def log_message(self, *_):
        """Say nothing."""

    def _body(self):
        size = int(self.headers.get("Content-Length", 0))
        return json.loads(self.rfile.read(size) or b"{}")

    def _answer(self, status, data=None):
        content = json.dumps({"data": data} if status == 200 else {"errors": ["refused"]}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        """Read a key."""
        self._answer(200, {"latest_version": max(self._key(self.path.split("/")[-1]))})

    def do_POST(self):
        """Encrypt, decrypt, rotate, configure or trim."""
        if self.headers.get("X-Vault-Token") != self.token:
            return self._answer(403)
        act, *rest = self.path.removeprefix("/v1/transit/").split("/")
        body = self._body()
        if act in {"encrypt", "decrypt"}:
            return self._crypt(act, self._key(rest[0]), body)
        versions = self._key(rest[0])
        if rest[1] == "rotate":
            versions[max(versions) + 1] = secrets.token_bytes(32)
        if rest[1] == "trim":
            for version in [v for v in versions if v < body["min_available_version"]]:
                del versions[version]
        return self._answer(200, {})

    do_PUT = do_POST  # noqa: N815 - as above

    def _key(self, name):
        return self.keys.setdefault(name, {1: secrets.token_bytes(32)})

    def _crypt(self, act, versions, body):
        associated = base64.b64decode(body["associated_data"])
        if act == "encrypt":
            nonce, newest = secrets.token_bytes(12), max(versions)
            sealed = AESGCM(versions[newest]).encrypt(
                nonce, base64.b64decode(body["plaintext"]), associated
            )
            text = f"vault:v{newest}:{base64.b64encode(nonce + sealed).decode()}"
            return self._answer(200, {"ciphertext": text})
        try:
            _, version, text = body["ciphertext"].split(":")
            raw = base64.b64decode(text, validate=True)
            plain = AESGCM(versions[int(version[1:])]).decrypt(raw[:12], raw[12:], associated)
        except (ValueError, KeyError, InvalidTag):
            return self._answer(400)
        return self._answer(200, {"plaintext": base64.b64encode(plain).decode()})


@pytest.fixture
def vault():
    """A loopback server with transit."""
    handler = type("Handler", (Transit,), {"keys": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def softhsm(tmp_path, monkeypatch):
    """A software token with a PIN of its own."""
    if not SOFTHSM.exists():
        lacks("softhsm2", "install it, so that a PKCS #11 token can be made", optional=True)
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n", "utf-8")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    tool = shutil.which("softhsm2-util")
    label = f"lamina-{secrets.token_hex(4)}"
    subprocess.run(
        [tool, "--init-token", "--free", "--label", label, "--pin", "1234", "--so-pin", "5678"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    import pkcs11

    # The library is initialized once in a process, and looks for tokens only then.
    pkcs11.lib(str(SOFTHSM)).reinitialize()
    pin = private(tmp_path / "pin", b"1234\n")
    return f"pkcs11:{SOFTHSM},token={label},pin=file:{pin}"


@pytest.fixture
def kms(monkeypatch):
    """Two keys in a stand-in that speaks the real protocol below the real client."""
    import boto3
    from moto import mock_aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("kms", region_name="eu-central-1")
        yield [client.create_key()["KeyMetadata"]["Arn"] for _ in range(2)]
