"""Root keys in a hardware security module (PKCS #11): AES keys that cannot be extracted."""

from collections.abc import Iterable
from typing import Any, Final

from crypto import opaque
from crypto.errors import KeyFileError, KeyUnavailable, OpenError

_NONCE_BYTES: Final = 12
_TAG_BITS: Final = 128
_KEY_BITS: Final = 256


class Pkcs11Root:
    """The `pkcs11` provider: keys labeled ``lamina-CLASS-VERSION`` in one token.

    Args:
        session: An open read-write session of ``python-pkcs11``.
        classes: The classes this process may use.
    """

    def __init__(self, session: Any, classes: Iterable[str]) -> None:  # noqa: ANN401 - the library has no types
        import pkcs11  # noqa: PLC0415 - an extra

        self._library = pkcs11
        self._session = session
        self._versions = {key_class: self._find(key_class) for key_class in classes}
        for key_class, versions in self._versions.items():
            if not versions:
                self._versions[key_class] = {1: self._create(key_class, 1)}

    def __repr__(self) -> str:
        return f"Pkcs11Root({sorted(self._versions)})"

    @classmethod
    def connect(cls, module: str, token: str, pin: bytes, classes: Iterable[str]) -> "Pkcs11Root":
        """Log in to a token; creates the first root key of a class that has none.

        Raises:
            KeyFileError: The extra is not installed, or the module, token or PIN is wrong.
        """
        try:
            import pkcs11  # noqa: PLC0415 - an extra
        except ImportError:
            raise KeyFileError("pkcs11: install the extra: pip install lamina[pkcs11]") from None
        try:
            return cls(_session(pkcs11, module, token, pin), classes)
        except (pkcs11.PKCS11Error, RuntimeError):
            detail = "the module, the token's label or the PIN is not right"
            raise KeyFileError(f"pkcs11: {detail}") from None

    def key_classes(self) -> frozenset[str]:
        """Return the classes that this process may use."""
        return frozenset(self._versions)

    def version(self, key_class: str) -> int:
        """Return the newest root version of a class; raises KeyUnavailable."""
        if key_class not in self._versions:
            raise KeyUnavailable(key_class)
        return max(self._versions[key_class])

    def wrap(self, key_class: str, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt in the token with AES-GCM; return nonce, ciphertext and tag."""
        key = self._key(key_class, self.version(key_class))
        nonce = opaque.random_bytes(_NONCE_BYTES)
        return nonce + bytes(key.encrypt(plaintext, **self._gcm(nonce, associated)))

    def unwrap(self, key_class: str, version: int, wrapped: bytes, associated: bytes) -> bytes:
        """Decrypt in the token; raises KeyUnavailable or OpenError."""
        key = self._key(key_class, version)
        nonce = wrapped[:_NONCE_BYTES]
        try:
            return bytes(key.decrypt(wrapped[_NONCE_BYTES:], **self._gcm(nonce, associated)))
        except self._library.PKCS11Error:
            raise OpenError from None

    def grow(self, key_class: str) -> int:
        """Create the next root version in the token; raises KeyUnavailable."""
        number = self.version(key_class) + 1
        self._versions[key_class][number] = self._create(key_class, number)
        return number

    def destroy(self, key_class: str, version: int) -> None:
        """Destroy a version that is not the newest; raises KeyUnavailable or KeyFileError."""
        key = self._key(key_class, version)
        if version == self.version(key_class):
            raise KeyFileError(f"root {key_class} {version} is the newest; make another first")
        key.destroy()
        del self._versions[key_class][version]

    def _key(self, key_class: str, version: int) -> Any:  # noqa: ANN401 - a key of the library
        found = self._versions.get(key_class, {}).get(version)
        if found is None:
            raise KeyUnavailable(key_class, version)
        return found

    def _gcm(self, nonce: bytes, associated: bytes) -> dict[str, Any]:
        parameters = self._library.GCMParams(nonce, associated, _TAG_BITS)
        return {"mechanism": self._library.Mechanism.AES_GCM, "mechanism_param": parameters}

    def _find(self, key_class: str) -> dict[int, Any]:
        wanted = {self._library.Attribute.CLASS: self._library.ObjectClass.SECRET_KEY}
        prefix = f"lamina-{key_class}-"
        found = {}
        for key in self._session.get_objects(wanted):
            label = str(key.label)
            if label.startswith(prefix) and label.removeprefix(prefix).isdigit():
                found[int(label.removeprefix(prefix))] = key
        return found

    def _create(self, key_class: str, version: int) -> Any:  # noqa: ANN401 - a key of the library
        attribute = self._library.Attribute
        return self._session.generate_key(
            self._library.KeyType.AES,
            _KEY_BITS,
            label=f"lamina-{key_class}-{version}",
            store=True,
            template={attribute.EXTRACTABLE: False, attribute.SENSITIVE: True},
        )


def _session(library: Any, module: str, token: str, pin: bytes) -> Any:  # noqa: ANN401 - as above
    found = library.lib(module).get_token(token_label=token)
    try:
        return found.open(rw=True, user_pin=pin.decode())
    except library.UserAlreadyLoggedIn:
        # The login applies to the whole process, and another class has already logged in.
        return found.open(rw=True)
