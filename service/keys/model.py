"""The lives of keys: which state follows which, and what a promotion waits for. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from service.domain.clock import has_come
from service.domain.errors import Conflict

REFRESH: Final = timedelta(seconds=5)
"""How long a process may work with the key states it read: the bound of every key cache."""
ALIVE: Final = timedelta(seconds=30)
"""How long after its last sign of life an instance still counts."""
SETTLE: Final = timedelta(seconds=60)
"""How long a state stands before the next may lean on it: no unit of work lasts as long."""


JWKS_LIFE: Final = timedelta(minutes=5)
"""How long others may keep the published key set; a new key signs no sooner."""


class KekStatus(StrEnum):
    """The life of a key-encryption key."""

    PENDING = "pending"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


class IndexStatus(StrEnum):
    """The life of a blind-index key; all but a pending one are written and looked up by."""

    PENDING = "pending"
    WRITING = "writing"
    ACTIVE = "active"
    RETIRING = "retiring"


class SigningStatus(StrEnum):
    """The life of a token-signing key; all three are published."""

    PENDING = "pending"
    ACTIVE = "active"
    VERIFY_ONLY = "verify_only"


@dataclass(frozen=True, slots=True)
class InstanceKeys:
    """What one process holds: names of keys to the state it knows them in."""

    classes: tuple[str, ...]
    keys: Mapping[str, str]
    roots: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return what a sign of life stores."""
        return {
            "classes": list(self.classes),
            "keys": dict(self.keys),
            "roots": dict(self.roots),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "InstanceKeys":
        """Return what `to_json` wrote."""
        return cls(tuple(stored["classes"]), dict(stored["keys"]), dict(stored["roots"]))


@dataclass(frozen=True, slots=True)
class Instance:
    """A process that serves, as its last sign of life tells."""

    id: UUID
    label: str
    seen_at: datetime
    held: InstanceKeys = field(repr=False)

    def alive(self, now: datetime) -> bool:
        """Tell whether it counts."""
        return has_come(self.seen_at, now) and now - self.seen_at <= ALIVE


def key_name(kind: str, *parts: object) -> str:
    """Return the name under which an instance reports a key, such as ``kek:contact:2``."""
    return ":".join((kind, *map(str, parts)))


def require_held(
    instances: Iterable[Instance], now: datetime, name: str, key_class: str, status: str = ""
) -> None:
    """Refuse while a live instance does not hold a key, or does not know its state yet.

    Raises:
        Conflict: Names the instances that lack it; those without the class are not asked.
    """
    lacking = [
        item.label
        for item in instances
        if item.alive(now)
        and key_class in item.held.classes
        and (name not in item.held.keys or (status and item.held.keys[name] != status))
    ]
    if lacking:
        detail = f"{name} is not known everywhere yet; waiting for {', '.join(sorted(lacking))}"
        raise Conflict("key_not_everywhere", detail)


def require_root(
    instances: Iterable[Instance], now: datetime, key_class: str, version: int
) -> None:
    """Refuse while a live instance that uses the class holds an older root only."""
    lacking = [
        item.label
        for item in instances
        if item.alive(now)
        and key_class in item.held.classes
        and item.held.roots.get(key_class, 0) < version
    ]
    if lacking:
        detail = f"root {key_class} {version} is not held by {', '.join(sorted(lacking))}"
        raise Conflict("key_not_everywhere", detail)


def require_settled(changed_at: datetime, now: datetime, wait: timedelta, what: str) -> None:
    """Refuse a step that comes too soon after the one before; names the seconds left."""
    left = (changed_at + wait - now).total_seconds()
    if left > 0:
        detail = f"{what} must stand {int(left) + 1} more seconds first"
        raise Conflict("key_not_settled", detail, retry_after=int(left) + 1)
