"""Lifecycle rules of keys: states, and the conditions of a promotion. Pure functions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypedDict
from uuid import UUID

from service.domain.clock import has_come
from service.domain.errors import Conflict

REFRESH: Final = timedelta(seconds=5)
"""Maximum age of the key states of a process, and so of every key cache."""
ALIVE: Final = timedelta(seconds=30)
"""Time after its last heartbeat in which an instance counts as live."""
SETTLE: Final = timedelta(seconds=60)
"""Time a state must last before the next step; no transaction lasts longer."""


JWKS_LIFE: Final = timedelta(minutes=5)
"""Time that clients may cache the published key set; a new key signs only after it."""


class KekStatus(StrEnum):
    """The states of a key-encryption key."""

    PENDING = "pending"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


class IndexStatus(StrEnum):
    """The states of a blind-index key; all except pending are written and queried."""

    PENDING = "pending"
    WRITING = "writing"
    ACTIVE = "active"
    RETIRING = "retiring"


class SigningStatus(StrEnum):
    """The states of a token-signing key; all three are published."""

    PENDING = "pending"
    ACTIVE = "active"
    VERIFY_ONLY = "verify_only"


class InstanceKeysJson(TypedDict):
    """The keys that a process holds, as its heartbeat stores them."""

    classes: list[str]
    keys: dict[str, str]
    roots: dict[str, int]


@dataclass(frozen=True, slots=True)
class InstanceKeys:
    """The keys that a process holds: key names with the states known to it."""

    classes: tuple[str, ...]
    keys: Mapping[str, str]
    roots: Mapping[str, int]

    def to_json(self) -> InstanceKeysJson:
        """Return the JSON that a heartbeat stores."""
        return {
            "classes": list(self.classes),
            "keys": dict(self.keys),
            "roots": dict(self.roots),
        }

    @classmethod
    def from_json(cls, stored: InstanceKeysJson) -> "InstanceKeys":
        """Build the value from the output of `to_json`."""
        return cls(tuple(stored["classes"]), dict(stored["keys"]), dict(stored["roots"]))


@dataclass(frozen=True, slots=True)
class Instance:
    """A serving process, as of its last heartbeat."""

    id: UUID
    label: str
    seen_at: datetime
    held: InstanceKeys = field(repr=False)

    def alive(self, now: datetime) -> bool:
        """Return whether the last heartbeat is recent enough."""
        return has_come(self.seen_at, now) and now - self.seen_at <= ALIVE


def key_name(kind: str, *parts: object) -> str:
    """Return the name by which an instance reports a key, such as ``kek:contact:2``."""
    return ":".join((kind, *map(str, parts)))


def require_held(
    instances: Iterable[Instance], *, now: datetime, name: str, key_class: str, status: str = ""
) -> None:
    """Raise Conflict while a live instance does not hold a key, or not know its state yet.

    Raises:
        Conflict: Names the instances that lack it; those without the class do not count.
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
    """Raise Conflict while a live instance that uses the class holds only an older root."""
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
    """Raise Conflict if a step follows too soon after the previous one; names the seconds left."""
    left = (changed_at + wait - now).total_seconds()
    if left > 0:
        detail = f"{what} is too recent; wait {int(left) + 1} more seconds"
        raise Conflict("key_not_settled", detail, retry_after=int(left) + 1)
