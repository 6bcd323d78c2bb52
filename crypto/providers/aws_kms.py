"""Root keys in AWS KMS; each root version is a separate KMS key."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from crypto.errors import KeyFileError, KeyUnavailable, OpenError

_PENDING_DAYS: Final = 7
_REFUSALS: Final = frozenset(
    {"InvalidCiphertextException", "IncorrectKeyException", "ValidationException"}
)


class KmsRoot:
    """The `aws-kms` provider.

    Automatic rotation in KMS keeps the old key material, so a new version needs a new key.

    Args:
        client: A ``boto3`` client of KMS.
        arns: The keys, oldest first; the position is the root version.
        classes: The classes this process may use.
    """

    def __init__(self, client: Any, arns: Sequence[str], classes: Iterable[str]) -> None:  # noqa: ANN401 - boto3 has no types
        self._client = client
        self._arns = tuple(arns)
        self._classes = frozenset(classes)

    def __repr__(self) -> str:
        return f"KmsRoot({sorted(self._classes)})"

    @classmethod
    def connect(
        cls, arns: Sequence[str], classes: Iterable[str], *, region: str, endpoint: str
    ) -> "KmsRoot":
        """Connect with the credentials of the environment, the profile or the instance.

        Raises:
            KeyFileError: The extra `aws` is not installed.
        """
        try:
            import boto3  # noqa: PLC0415 - an extra
        except ImportError:
            raise KeyFileError("aws-kms: install the extra: pip install lamina[aws]") from None
        client = boto3.client("kms", region_name=region or None, endpoint_url=endpoint or None)
        return cls(client, arns, classes)

    def key_classes(self) -> frozenset[str]:
        """Return the classes that this process may use."""
        return self._classes

    def version(self, key_class: str) -> int:
        """Return the newest root version, which is the number of keys; raises KeyUnavailable."""
        if key_class not in self._classes:
            raise KeyUnavailable(key_class)
        return len(self._arns)

    def wrap(self, key_class: str, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt in KMS, with the class and associated data as encryption context."""
        arn = self._arns[self.version(key_class) - 1]
        context = _context(key_class, associated)
        found = self._call(
            "encrypt", key_class, KeyId=arn, Plaintext=plaintext, EncryptionContext=context
        )
        return bytes(found["CiphertextBlob"])

    def unwrap(self, key_class: str, version: int, wrapped: bytes, associated: bytes) -> bytes:
        """Decrypt in KMS with exactly this key; raises KeyUnavailable or OpenError."""
        if not 1 <= version <= self.version(key_class):
            raise KeyUnavailable(key_class, version)
        found = self._call(
            "decrypt",
            key_class,
            KeyId=self._arns[version - 1],
            CiphertextBlob=wrapped,
            EncryptionContext=_context(key_class, associated),
        )
        return bytes(found["Plaintext"])

    def grow(self, key_class: str) -> int:
        """Raise KeyFileError: a new root version is a new KMS key that an operator adds."""
        raise KeyFileError(
            f"a new root of {key_class} is a new KMS key: append its ARN to the setting"
        )

    def destroy(self, key_class: str, version: int) -> None:
        """Schedule the deletion of a key that is not the newest, after seven days."""
        if not 1 <= version <= self.version(key_class):
            raise KeyUnavailable(key_class, version)
        if version == self.version(key_class):
            raise KeyFileError(f"root {key_class} {version} is the newest; make another first")
        self._call(
            # Deletion takes a key id of the own account, which is the last part of the ARN.
            "schedule_key_deletion",
            key_class,
            KeyId=self._arns[version - 1].rsplit("/", 1)[-1],
            PendingWindowInDays=_PENDING_DAYS,
        )

    def _call(self, act: str, key_class: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - KMS parameters
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

        try:
            return dict(getattr(self._client, act)(**arguments))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _REFUSALS:
                raise OpenError from None
            raise KeyUnavailable(key_class) from None
        except BotoCoreError:
            raise KeyUnavailable(key_class) from None


def _context(key_class: str, associated: bytes) -> dict[str, str]:
    return {"class": key_class, "associated": hashlib.sha256(associated).hexdigest()}
