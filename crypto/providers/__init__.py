"""Where root keys come from."""

from collections.abc import Iterable
from pathlib import Path

from crypto.errors import KeyFileError
from crypto.providers.base import RootProvider
from crypto.providers.file import FileRoot


def open_root(specification: str, classes: Iterable[str]) -> RootProvider:
    """Open the provider that a setting names, such as ``file:keys``, for some key classes.

    Raises:
        KeyFileError: The provider is unknown, or its keys cannot be read.
    """
    scheme, _, place = specification.partition(":")
    if scheme != "file" or not place:
        raise KeyFileError("the root key must be given as file:DIRECTORY")
    return FileRoot.open(Path(place), classes)
