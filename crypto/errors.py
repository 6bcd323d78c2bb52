"""What the crypto package raises; no text here ever holds a key, a plaintext or a ciphertext."""


class CryptoError(Exception):
    """Base of every error of this package."""


class OpenError(CryptoError):
    """A sealed value does not open; one text for every reason, so that the reason is not told."""

    def __init__(self) -> None:
        super().__init__("the sealed value does not open")


class KeyUnavailable(CryptoError):
    """This process does not hold the key that was asked for.

    Args:
        key_class: The class of the key, such as ``biometric``.
        version: The version, or None when the class has no active key at all.
    """

    def __init__(self, key_class: str, version: int | None = None) -> None:
        self.key_class = key_class
        self.version = version
        what = "no active key" if version is None else f"no key of version {version}"
        super().__init__(f"{what} for class {key_class!r} in this process")


class KeyFileError(CryptoError):
    """A root key file cannot be used; the text names the file and what to mend."""
