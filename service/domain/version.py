"""The version of this release, for the package, the command and the API description."""

from typing import Final

VERSION: Final = "0.2.0"
