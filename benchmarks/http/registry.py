"""Which peers `make bench-peers` has installed here."""

import importlib
from pathlib import Path
from typing import Final

from benchmarks.http.target import Target

PEERS: Final = ("privacyidea", "django-allauth", "better-auth", "fastapi-users", "oidc-provider")
FOLDER: Final = Path(__file__).parents[2] / ".peers"
MARK: Final = ".complete"
"""The file that the installation of a peer writes into `.peers/NAME/` when all of it is there."""


def installed(folder: Path = FOLDER) -> list[str]:
    """Return the names of the installed peers, in the order of PEERS."""
    return [name for name in PEERS if (folder / name / MARK).is_file()]


def peer(name: str) -> Target:
    """Return the target of a peer: what `target()` of `benchmarks.http.peers.NAME` makes."""
    module = importlib.import_module(f"benchmarks.http.peers.{name.replace('-', '_')}")
    made: Target = module.target()
    return made
