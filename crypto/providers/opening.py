"""Open the provider of root keys that a setting names."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from crypto.errors import KeyFileError
from crypto.providers.aws_kms import KmsRoot
from crypto.providers.base import RootProvider
from crypto.providers.file import FileRoot
from crypto.providers.handed import (
    open_credential,
    open_passphrase,
    parse_handed,
    read_descriptor,
)
from crypto.providers.pkcs11 import Pkcs11Root
from crypto.providers.records import read_private
from crypto.providers.vault import VaultRoot

_Open = Callable[[str, Iterable[str]], RootProvider]
_handed: Final[dict[int, bytes]] = {}


def open_root(specification: str, classes: Iterable[str]) -> RootProvider:
    """Open the root key provider that a setting such as ``file:keys`` names, for some key classes.

    Raises:
        KeyFileError: The provider is unknown, or its keys cannot be read.
    """
    scheme, _, place = specification.partition(":")
    opener = _OPENERS.get(scheme)
    if opener is None or not place:
        known = ", ".join(f"{name}:…" for name in _OPENERS)
        raise KeyFileError(f"the root key must be given as one of {known}")
    return opener(place, classes)


def _options(place: str, *wanted: str) -> tuple[str, dict[str, str]]:
    first, *rest = place.split(",")
    found = dict(part.partition("=")[::2] for part in rest)
    unknown = sorted(set(found) - set(wanted))
    if unknown:
        raise KeyFileError(f"unknown option {unknown[0]}; known: {' '.join(wanted)}")
    return first, found


def _secret(options: dict[str, str], name: str) -> bytes:
    """Return a secret from a descriptor or a private file, without the final newline."""
    place = options.get(name, "")
    scheme, _, where = place.partition(":")
    if scheme == "fd" and where.isdigit():
        return _descriptor(int(where)).rstrip(b"\r\n")
    if scheme == "file" and where:
        return read_private(Path(where)).rstrip(b"\r\n")
    raise KeyFileError(f"{name} must be given as {name}=file:PATH or {name}=fd:NUMBER")


def _descriptor(number: int) -> bytes:
    # A descriptor can be read only once, but each class opens its root separately.
    if number not in _handed:
        _handed[number] = read_descriptor(number)
    return _handed[number]


def _fd(place: str, classes: Iterable[str]) -> RootProvider:
    if not place.isdigit():
        raise KeyFileError("fd: needs the number of an open file descriptor")
    return parse_handed(_descriptor(int(place)), classes)


def _passphrase(place: str, classes: Iterable[str]) -> RootProvider:
    path, options = _options(place, "secret")
    return open_passphrase(Path(path), _secret(options, "secret"), classes)


def _vault(place: str, classes: Iterable[str]) -> RootProvider:
    url, options = _options(place, "prefix", "token-file")
    if not options.get("token-file"):
        raise KeyFileError("vault: needs token-file=PATH")
    prefix = options.get("prefix") or "lamina"
    return VaultRoot.connect(url, prefix, Path(options["token-file"]), classes)


def _aws(place: str, classes: Iterable[str]) -> RootProvider:
    arns, options = _options(place, "region", "endpoint")
    keys = [arn for arn in arns.split(";") if arn]
    return KmsRoot.connect(
        keys, classes, region=options.get("region", ""), endpoint=options.get("endpoint", "")
    )


def _pkcs11(place: str, classes: Iterable[str]) -> RootProvider:
    module, options = _options(place, "token", "pin")
    return Pkcs11Root.connect(module, options.get("token", ""), _secret(options, "pin"), classes)


_OPENERS: Final[dict[str, _Open]] = {
    "file": lambda place, classes: FileRoot.open(Path(place), classes),
    "credential": lambda place, classes: open_credential(Path(place), classes),
    "fd": _fd,
    "passphrase": _passphrase,
    "vault": _vault,
    "aws-kms": _aws,
    "pkcs11": _pkcs11,
}
