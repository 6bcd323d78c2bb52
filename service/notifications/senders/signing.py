"""Sign a request as Standard Webhooks 1.0 says: an id, a time stamp, and HMAC-SHA-256 of both."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterable


def headers(message: str, seconds: int, body: bytes, secrets: Iterable[bytes]) -> dict[str, str]:
    """Return the headers that let a receiver tell who sent a body, when, and whether again.

    Args:
        message: The same at every try.
        seconds: Unix time of this try.
        body: What is posted.
        secrets: Each signs, so that a receiver may change to a new one at its own time.
    """
    signed = f"{message}.{seconds}.".encode() + body
    return {
        "webhook-id": message,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(
            "v1," + b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
            for secret in secrets
        ),
    }
