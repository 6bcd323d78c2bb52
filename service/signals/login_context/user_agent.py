"""Parse a User-Agent header of bounded length: system, family, major version and model."""

import re
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 512
"""Characters that are examined; the rest is ignored."""
_LARGEST_VERSION: Final = 65_535
_SYSTEMS: Final = (
    ("Windows", "windows"),
    ("iPhone", "ios"),
    ("iPad", "ios"),
    ("iPod", "ios"),
    ("Android", "android"),
    ("CrOS", "chromeos"),
    ("Macintosh", "macos"),
    ("Darwin", "ios"),
    ("Linux", "linux"),
    ("X11", "linux"),
)
# The order matters: nearly every browser also claims to be Chrome, and Chrome to be Safari.
_FAMILIES: Final = (
    ("Edg/", "edge"),
    ("EdgA/", "edge"),
    ("EdgiOS/", "edge"),
    ("OPR/", "opera"),
    ("SamsungBrowser/", "samsung"),
    ("Vivaldi/", "vivaldi"),
    ("YaBrowser/", "yandex"),
    ("UCBrowser/", "uc"),
    ("FxiOS/", "firefox"),
    ("Firefox/", "firefox"),
    ("CriOS/", "chrome"),
    ("Chrome/", "chrome"),
    ("Version/", "safari"),
)
_PRODUCT: Final = re.compile(r"\s*([A-Za-z][\w.-]{0,31})(?:/(\d{1,5}))?")
_DIGITS: Final = re.compile(r"\d{1,5}")
_MODEL: Final = re.compile(r"Android[^;)]{0,16};(?: [a-z]{2}-[a-zA-Z]{2};)? ?([^;)]{2,48})")


@dataclass(frozen=True, slots=True)
class Agent:
    """The content of a User-Agent header.

    Args:
        system: The operating system, such as ``android``; ``other`` if unknown.
        family: The browser or app, in lower case.
        version: Its major version; 0 if unknown.
        model: The model of the device if the header names one, else empty.
    """

    system: str
    family: str
    version: int
    model: str


def parse(header: str) -> Agent | None:
    """Parse a User-Agent header; None for an empty one. Never raises."""
    text = header[:LONGEST].strip()
    if not text:
        return None
    system = next((name for mark, name in _SYSTEMS if mark in text), "other")
    for mark, family in _FAMILIES:
        at = text.find(mark)
        if at >= 0:
            return Agent(system, family, _version(text, at + len(mark)), _model(text))
    product = _PRODUCT.match(text)
    if product is None:
        return Agent(system, "other", 0, "")
    version = min(int(product[2] or 0), _LARGEST_VERSION)
    return Agent(system, product[1].lower(), version, _model(text))


def _version(text: str, at: int) -> int:
    found = _DIGITS.match(text, at)
    return min(int(found[0]), _LARGEST_VERSION) if found else 0


def _model(text: str) -> str:
    found = _MODEL.search(text)
    # Reduced headers have K for every model (Chrome 110 and later).
    return found[1].split(" Build/")[0].strip().lower() if found else ""
