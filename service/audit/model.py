"""Checkpoints of the chain, and its verification against them; without SQL."""

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypedDict
from uuid import UUID

from crypto import chain, opaque
from crypto.canonical import canonical_json
from crypto.errors import ChainBroken

LATE: Final = timedelta(seconds=10)
"""Time after which a waiting leaf is reported."""
OPEN_FOR: Final = timedelta(minutes=1)
"""Time for which the newest checkpoint advances with the chain before another one starts."""
OPEN_LEAVES: Final = 5_000
"""Maximum number of leaves by which a checkpoint advances."""
UPGRADE: Final = "upgrade"
ACCEPTED: Final = "accepted"
_NOT_GIVEN: Final = frozenset({"rows", "rows_mac", "operators"})
"""What of a leaf is no part of an export: notes of rows, and which operators two were."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the chain as recorded outside it.

    Args:
        sealed: Whether the chain was covered by checkpoints then.
    """

    position: int
    head: bytes
    sealed: bool = False


_BEGINNING: Final = Point(0, chain.GENESIS)


class LeafValues(TypedDict):
    """The columns of a leaf before it has a position; `data` are JSON members."""

    id: UUID
    at: datetime
    kind: str
    subject_id: UUID | None
    actor: str | None
    data: Mapping[str, object]


def decided(data: Mapping[str, object]) -> dict[str, object]:
    """Give what was decided, without the notes of rows that go with it nor who of the operators."""
    return {name: value for name, value in data.items() if name not in _NOT_GIVEN}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries to list: all where nothing is said.

    Args:
        subject: About whom.
        name: What was decided.
        since: From this moment on.
        until: Before this one.
    """

    subject: UUID | None = None
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A leaf at its position in the chain."""

    position: int
    leaf: bytes
    head: bytes
    mac: bytes | None


@dataclass(kw_only=True, frozen=True, slots=True)
class Checkpoint:
    """A point of the chain, authenticated by a key that is not in the database.

    Args:
        number: Sequence number without gaps; the MAC covers that of the previous checkpoint.
        start: The position where it started.
        adopted: Empty; or `upgrade` if the links before it are of an earlier version without MACs;
            or `accepted` if an operator accepted the log including faults: its head is then a
            digest of everything before it.
        signature: A JWS by the record-signing key; empty if the process does not hold it.
        mac: HMAC-SHA-256 over all other members.
    """

    number: int
    position: int
    head: bytes
    start: int
    began_at: datetime
    at: datetime
    adopted: str
    signature: str
    mac: bytes = b""

    @property
    def claims(self) -> dict[str, str | int]:
        """Return the signed claims."""
        return {
            "sub": "lamina:audit",
            "number": self.number,
            "position": self.position,
            "head": self.head.hex(),
            "adopted": self.adopted,
        }

    def open_at(self, now: datetime) -> bool:
        """Return whether it still advances with the chain."""
        young = timedelta(0) <= now - self.began_at < OPEN_FOR
        return young and not self.adopted and self.position - self.start < OPEN_LEAVES

    def moved(self, here: Point, now: datetime) -> "Checkpoint":
        """Return it advanced to a point of the chain; signature and MAC must be renewed."""
        return replace(self, position=here.position, head=here.head, at=now)

    def sealed(self, key: bytes, before: bytes) -> "Checkpoint":
        """Return it with its MAC, which covers that of the previous checkpoint."""
        return replace(self, mac=self._mac(key, before))

    def genuine(self, key: bytes, before: bytes) -> bool:
        """Return whether a holder of the key wrote it after the given checkpoint."""
        return opaque.equal(self._mac(key, b"" if self.adopted else before), self.mac)

    def _mac(self, key: bytes, before: bytes) -> bytes:
        content = self.claims | {
            "start": self.start,
            "began_at": self.began_at.isoformat(),
            "at": self.at.isoformat(),
            "signature": self.signature,
            "before": before.hex(),
        }
        return hmac.new(key, b"lamina/1/checkpoint" + canonical_json(content), "sha256").digest()


@dataclass(frozen=True, slots=True)
class Keys:
    """The MAC keys of links and checkpoints."""

    link: bytes
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class Waiting:
    """The leaves without a position in the chain.

    Args:
        late: How many of them have waited too long.
        oldest: Waiting time of the oldest one; zero if there is none.
    """

    count: int
    late: int
    oldest: timedelta


def begun(number: int, here: Point, now: datetime, adopted: str = "") -> Checkpoint:
    """Return a new checkpoint, without signature and MAC."""
    return Checkpoint(
        number=number,
        position=here.position,
        head=here.head,
        start=here.position,
        began_at=now,
        at=now,
        adopted=adopted,
        signature="",
    )


def fits(tip: Checkpoint | None, end: Point | None, key: bytes, before: bytes) -> bool:
    """Return whether the newest checkpoint is genuine and at the end of the chain."""
    if tip is None or end is None:
        return tip is None and end is None
    here = tip.position == end.position and (tip.adopted == ACCEPTED or tip.head == end.head)
    return here and tip.genuine(key, before)


def cut(length: int) -> ChainBroken:
    """Return the error for a chain shorter than recorded."""
    return ChainBroken(length + 1, "the chain ends before a recorded point")


def differs(position: int) -> ChainBroken:
    """Return the error for a head that differs from the recorded one."""
    return ChainBroken(position, "it differs from the recorded head")


def uncovered(position: int) -> ChainBroken:
    """Return the error for a chain that continues after its newest checkpoint."""
    return ChainBroken(position + 1, "no checkpoint of the database covers it")


def in_force(
    rows: Sequence[Checkpoint], key: bytes
) -> tuple[Sequence[Checkpoint], ChainBroken | None]:
    """Return the checkpoints since the last adoption, and the first fault in them.

    Args:
        rows: All checkpoints by number.
        key: The MAC key of checkpoints.
    """
    adopted = [at for at, row in enumerate(rows) if row.adopted and row.genuine(key, b"")]
    kept = rows[adopted[-1] if adopted else 0 :]
    before = b""
    position = 0
    number = kept[0].number - 1 if adopted else 0
    for row in kept:
        if row.number != number + 1:
            return kept, ChainBroken(position + 1, "a checkpoint of the database is missing")
        if not row.genuine(key, before) or row.position < position:
            return kept, ChainBroken(position + 1, "a checkpoint of the database was changed")
        before = row.mac
        position = row.position
        number = row.number
    return kept, None


def walk(
    placed: Iterable[Placed],
    *,
    keys: Keys | None,
    kept: Sequence[Checkpoint],
    remembered: Iterable[Point],
    start: Point = _BEGINNING,
) -> int:
    """Verify a chain against its checkpoints and recorded points; return its end.

    Args:
        placed: Its leaves, by position.
        keys: The keys; None for a chain without MACs.
        kept: The valid checkpoints.
        remembered: Points recorded outside the database.
        start: The point that the first leaf follows.

    Raises:
        ChainBroken: Verification fails; names the first position.
    """
    rows = iter(placed)
    first = kept[0] if kept and kept[0].adopted else None
    accepted = first if first and first.adopted == ACCEPTED else None
    bare = first.position if first and not accepted else 0
    known = _known(kept[1:] if accepted else kept, remembered, bare)
    position, head = (
        _prefix(rows, accepted, known)
        if accepted
        else (
            start.position,
            start.head,
        )
    )
    for row in rows:
        if keys and kept and row.position > kept[-1].position:
            # The chain grows while it is read; a separate statement checks the coverage of the
            # rest.
            break
        position += 1
        if row.position != position or chain.link(head, row.leaf) != row.head:
            raise ChainBroken(position, "a leaf or its link is missing or was changed")
        head = row.head
        if keys and position > bare and not _linked(keys, row):
            raise ChainBroken(position, "the chain was recomputed without the key")
        _agree(known, position, head)
    if known:
        raise cut(position)
    return position


def digest(placed: Iterable[Placed]) -> bytes:
    """Return a digest of leaves and links as stored, whether they verify or not."""
    given = chain.GENESIS
    for row in placed:
        given = chain.link(given, _whole(row))
    return given


def _linked(keys: Keys, row: Placed) -> bool:
    wanted = chain.link_mac(keys.link, row.position, row.head)
    return row.mac is not None and opaque.equal(wanted, row.mac)


def _prefix(
    rows: Iterator[Placed], accepted: Checkpoint, known: dict[int, set[bytes]]
) -> tuple[int, bytes]:
    """Verify the accepted part against its digest; return its end."""
    position = 0
    given = chain.GENESIS
    head = chain.GENESIS
    first = 0
    while position < accepted.position:
        row = next(rows, None)
        if row is None or row.position > accepted.position:
            raise ChainBroken(first or position + 1, "the accepted part is incomplete")
        fits = row.position == position + 1 and chain.link(head, row.leaf) == row.head
        first = first or (0 if fits else position + 1)
        position = row.position
        head = row.head
        given = chain.link(given, _whole(row))
        _agree(known, position, head)
    if given != accepted.head:
        raise ChainBroken(first or accepted.position, "the accepted part has changed since")
    return position, head


def _whole(row: Placed) -> bytes:
    return row.position.to_bytes(8, "big") + row.head + row.leaf


def _known(
    kept: Iterable[Checkpoint], remembered: Iterable[Point], bare: int
) -> dict[int, set[bytes]]:
    known: dict[int, set[bytes]] = {}
    for row in kept:
        known.setdefault(row.position, set()).add(row.head)
    for point in remembered:
        if point.sealed and point.position < bare:
            raise ChainBroken(point.position, "it was under checkpoints, which are gone")
        known.setdefault(point.position, set()).add(point.head)
    return known


def _agree(known: dict[int, set[bytes]], position: int, head: bytes) -> None:
    """Remove the known head of a position; raises ChainBroken unless it is this head."""
    if known.pop(position, {head}) != {head}:
        raise differs(position)
