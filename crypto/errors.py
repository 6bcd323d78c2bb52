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


class PasswordMismatch(CryptoError):
    """The password is not the one that was hashed, or the hash is none of ours."""

    def __init__(self) -> None:
        super().__init__("the password does not match")


class HasherBusy(CryptoError):
    """Too many hashes wait already; memory is bounded, so this one is not begun."""

    def __init__(self) -> None:
        super().__init__("too many passwords are being hashed")


class SignatureInvalid(CryptoError):
    """A signed token is not taken; one text for every reason."""

    def __init__(self) -> None:
        super().__init__("the signed token is not valid")


class AssertionRefused(SignatureInvalid):
    """A client assertion is not as it must be; the reason names a rule, never what came in."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class KeySetInvalid(CryptoError):
    """A JWK set is not taken; names the place by a JSON pointer, and what to mend."""

    def __init__(self, pointer: str, code: str, detail: str) -> None:
        super().__init__(f"{pointer} {detail}".strip())
        self.pointer = pointer
        self.code = code
        self.detail = detail


class ChainBroken(CryptoError):
    """The log was changed; names the first position that does not fit.

    Args:
        position: Counted from 1.
        what: What does not fit there, as half a sentence.
    """

    def __init__(self, position: int, what: str = "") -> None:
        self.position = position
        self.what = what
        told = f": {what}" if what else ""
        super().__init__(f"the chain is broken at position {position}{told}")
