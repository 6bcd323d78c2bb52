"""Sign requests by Standard Webhooks 1.0: HMAC-SHA-256 of id, timestamp and body."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterable


def headers(message: str, seconds: int, body: bytes, secrets: Iterable[bytes]) -> dict[str, str]:
    """Return the headers that prove the sender and time of a body and identify repetitions.

    Args:
        message: The id of the message, the same for each attempt.
        seconds: Unix time of this attempt.
        body: The body to be posted.
        secrets: Each signs, so that a receiver can switch to a new one at any time.
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
