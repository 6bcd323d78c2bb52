"""Exceptions of the crypto package; their text never holds a key, a plaintext or a ciphertext."""


class CryptoError(Exception):
    """Base class of all errors of this package."""


class OpenError(CryptoError):
    """A sealed value does not open; the text is the same for every reason, to disclose none."""

    def __init__(self) -> None:
        super().__init__("the sealed value does not open")


class KeyUnavailable(CryptoError):
    """This process does not hold the requested key.

    Args:
        key_class: The class of the key, such as ``biometric``.
        version: The version, or None if the class has no active key.
    """

    def __init__(self, key_class: str, version: int | None = None) -> None:
        self.key_class = key_class
        self.version = version
        what = "no active key" if version is None else f"no key of version {version}"
        super().__init__(f"{what} for class {key_class!r} in this process")


class KeyFileError(CryptoError):
    """A root key file cannot be used; the text names the file and the remedy."""


class PasswordMismatch(CryptoError):
    """The password does not match the hash, or the hash is malformed."""

    def __init__(self) -> None:
        super().__init__("the password does not match")


class TurnsBusy(CryptoError):
    """No turn is expected, or came, within the deadline."""


class HasherBusy(CryptoError):
    """Too many hashes are waiting; memory is bounded, so no further hash is started."""

    def __init__(self) -> None:
        super().__init__("too many passwords are being hashed")


class SignatureInvalid(CryptoError):
    """A signed token is not valid; the text is the same for every reason."""

    def __init__(self) -> None:
        super().__init__("the signed token is not valid")


class AssertionRefused(SignatureInvalid):
    """A client assertion is not acceptable; the reason names a rule and never repeats the input."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class KeySetInvalid(CryptoError):
    """A JWK set is not acceptable; names the member by JSON pointer and says what to correct."""

    def __init__(self, pointer: str, code: str, detail: str) -> None:
        super().__init__(f"{pointer} {detail}".strip())
        self.pointer = pointer
        self.code = code
        self.detail = detail


class ChainBroken(CryptoError):
    """The hash chain does not verify; names the first position that does not match.

    Args:
        position: Counted from 1.
        what: What does not match there, as part of a sentence.
    """

    def __init__(self, position: int, what: str = "") -> None:
        self.position = position
        self.what = what
        suffix = f": {what}" if what else ""
        super().__init__(f"the chain is broken at position {position}{suffix}")
