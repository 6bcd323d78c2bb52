"""Append leaves in the deciding transaction, chain them afterwards, and verify the chain."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol
from uuid import UUID

from crypto import chain
from crypto.errors import ChainBroken
from service.audit import model, notes, store
from service.audit.actions import listing
from service.audit.actions.leaves import LedgerEntry, content, covered, ledger_entry, remember
from service.audit.model import Checkpoint, Keys, LeafValues, Placed, Point, Waiting
from service.audit.views import AuditEntry
from service.domain.caller import SERVICE, who_acts
from service.domain.clock import Clock
from service.domain.ids import new_id
from service.store.authentic import taken
from service.store.engine import ENDINGS, Tx
from service.store.sealed import sealer_of
from service.telemetry import logs
from service.web.paging import Page, PageRequest

_PAGE: Final = 500
_ROUND: Final = 20_000
_ASKED: Final = 500
_ACTOR: Final = "audit_actor"
_LEAVES: Final = "lamina_leaves"
_MENTIONED: Final = "lamina_mentioned"


class Seal(Protocol):
    """Keys that authenticate the chain and are not in the database."""

    def key(self, tx: Tx, purpose: str) -> bytes:
        """Return a 32-byte key for a purpose."""

    def sign(self, tx: Tx, claims: Mapping[str, object]) -> str:
        """Sign claims as a JWS; empty if this process holds no record-signing key."""


class AuditLog:
    """The audit log; entries commit or roll back with the decision itself.

    Args:
        clock: The clock.
        seal: Authenticates the chain. Without it, as during key recovery, there are no checkpoints
            and links have no MAC.
        kept: The kinds of leaves that are also written to the ledger.
    """

    def __init__(
        self, clock: Clock, seal: Seal | None = None, kept: Collection[str] = frozenset()
    ) -> None:
        self._clock = clock
        self._seal = seal
        self._kinds = frozenset(kept)

    def append(
        self,
        tx: Tx,
        kind: str,
        *,
        subject: UUID | None = None,
        actor: str | None = None,
        **data: object,
    ) -> None:
        """Append a leaf without a position; `data` must hold no personal data and no secret.

        Args:
            tx: The transaction of the decision.
            kind: The kind of decision.
            subject: The subject it is about.
            actor: The actor; None for the current caller, or for the service itself. If the actor
                is not the calling client, the leaf also names the client, as `via`.
            data: Further data to store.
        """
        data |= tx.info.pop(_MENTIONED, {})
        values = self._leaf(tx, kind=kind, subject=subject, actor=actor, data=data)
        leaves: list[LeafValues] = tx.info.setdefault(_LEAVES, [])
        if not leaves:
            tx.info.setdefault(ENDINGS, []).append(self.close)
        leaves.append(values)
        if kind in self._kinds:
            self.keep(
                tx,
                ledger_entry(
                    values["id"], kind=kind, at=values["at"], subject=subject, data=values["data"]
                ),
            )

    def mention(self, tx: Tx, **data: object) -> None:
        """Add data to the next leaf of a transaction; if there is none, it is dropped."""
        tx.info.setdefault(_MENTIONED, {}).update(data)

    def close(self, tx: Tx) -> None:
        """Write the leaves of a transaction, with its changes of rows that carry a MAC."""
        leaves = tx.info.pop(_LEAVES, [])
        changed = taken(tx)
        if changed:
            key = sealer_of(tx).purpose_key(tx, notes.PURPOSE)
            another = partial(self._leaf, tx, kind=notes.CHANGED, subject=None, actor=None, data={})
            notes.attach(key, leaves, changed, another)
        if leaves:
            store.add(tx, leaves)

    def act_for(self, tx: Tx, client: UUID) -> None:
        """Set the client as the actor of a transaction, if there is no authenticated caller."""
        tx.info[_ACTOR] = str(client)

    def _leaf(
        self, tx: Tx, *, kind: str, subject: UUID | None, actor: str | None, data: dict[str, object]
    ) -> LeafValues:
        now = self._clock.now()
        caller = who_acts()
        if actor is None:
            actor = caller.actor if caller else tx.info.get(_ACTOR, SERVICE)
        if caller and actor != str(caller.client):
            data = {"via": str(caller.client)} | data
        return {
            "id": new_id(now),
            "at": now,
            "kind": kind,
            "subject_id": subject,
            "actor": actor,
            "data": data,
        }

    def remember(self, tx: Tx, what: str, **data: object) -> None:
        """Write an entry to the ledger at commit, without a leaf."""
        now = self._clock.now()
        self.keep(tx, ledger_entry(new_id(now), kind=what, at=now, subject=None, data=data))

    def keep(self, tx: Tx, entry: LedgerEntry) -> None:
        """Write an entry to the ledger at commit, before the response is sent."""
        remember(tx, entry)

    def acts(self, tx: Tx, after: int) -> list[LedgerEntry]:
        """Return the ledger entries of the leaves after a position."""
        return [
            ledger_entry(row.id, kind=row.kind, at=row.at, subject=row.subject_id, data=row.data)
            for row in store.leaves(tx, after, self._kinds)
        ]

    def lacks(self, tx: Tx, leaves: Sequence[UUID]) -> bool:
        """Return whether any of some leaves is missing from the log."""
        pages = (leaves[at : at + _ASKED] for at in range(0, len(leaves), _ASKED))
        return any(store.there(tx, page) < len(page) for page in pages)

    def sequence(self, tx: Tx, limit: int = _PAGE) -> int:
        """Append waiting leaves to the chain, and update the newest checkpoint.

        Returns:
            The number of leaves appended; at most `limit`.
        """
        self.close(tx)
        store.lock(tx)
        keys = self._keys(tx)
        last = store.last_link(tx)
        position, head = (last.position, last.head) if last else (0, chain.GENESIS)
        before = position
        links = []
        for leaf in store.waiting(tx, limit):
            position = position + 1
            head = chain.link(head, covered(leaf))
            mac = chain.link_mac(keys.link, position, head) if keys else None
            links.append(store.NewLink(leaf.id, head, mac))
        if links:
            store.place(tx, before, links)
        if keys and position:
            self._note(tx, keys, last, Point(position, head))
        return len(links)

    def sequence_waiting(self, tx: Tx) -> int:
        """Append all waiting leaves, or as many as one transaction should hold."""
        done = 0
        while done < _ROUND and (count := self.sequence(tx)):
            done += count
            if count < _PAGE:
                break
        return done

    def page(self, tx: Tx, page: PageRequest, wanted: model.Wanted) -> Page[AuditEntry]:
        """Return a page of the entries that are wanted, as `listing.entries` does."""
        keys = self._keys(tx)
        proof = listing.LinkProof(None, 0, content)
        if keys:
            genuine = (row for row in store.adoptions(tx) if row.genuine(keys.checkpoint, b""))
            bare = max((row.position for row in genuine), default=0)
            proof = listing.LinkProof(keys.link, bare, content)
        return listing.entries(tx, page, wanted, proof)

    def checkpoint(self, tx: Tx) -> tuple[int, bytes] | None:
        """Return the last position of the chain and its head, None if it is empty."""
        last = store.last_link(tx)
        return (last.position, last.head) if last else None

    def last_at(self, tx: Tx) -> datetime | None:
        """Return the time of the newest entry of the chain, by the clock of its writer."""
        return store.last_at(tx)

    def noted(self, tx: Tx) -> Checkpoint | None:
        """Return the newest checkpoint in the database, None if there is none."""
        return next(iter(store.checkpoints(tx, 1)), None)

    def head_at(self, tx: Tx, position: int) -> bytes | None:
        """Return the head of the chain at a position, None if the chain is shorter."""
        return store.head_at(tx, position)

    def heads_at(self, tx: Tx, positions: Sequence[int]) -> dict[int, bytes]:
        """Return the heads at some positions, as far as the chain reaches."""
        heads: dict[int, bytes] = {}
        for at in range(0, len(positions), _ASKED):
            heads |= store.heads_at(tx, positions[at : at + _ASKED])
        return heads

    def verify(self, tx: Tx, remembered: Iterable[Point] = ()) -> int:
        """Verify the whole chain against all checkpoints; return its length.

        Args:
            tx: The transaction.
            remembered: Points of the chain recorded in the ledger.

        Raises:
            ChainBroken: A leaf was changed, removed or moved, the chain was truncated or
                recomputed, or a checkpoint is missing; names the first position.
        """
        keys, kept, broken = self._kept(tx)
        length = 0
        found = [broken] if broken else []
        try:
            length = model.walk(_placed(tx), keys=keys, kept=kept, remembered=remembered)
        except ChainBroken as error:
            found.append(error)
        found += self._uncovered(tx, keys)
        if found:
            raise min(found, key=_place)
        return length

    def disagreement(self, tx: Tx, remembered: Sequence[Point] = ()) -> ChainBroken | None:
        """Verify the heads at all checkpoints, and the leaves since the last one.

        It does not read the whole log, so that a start need not wait for it.
        """
        keys, kept, broken = self._kept(tx)
        sure = [row for row in kept if row.adopted != model.ACCEPTED]
        points = [Point(row.position, row.head) for row in sure]
        found = [broken] if broken else []
        found += self._differing(tx, [*points, *remembered])
        found += self._uncovered(tx, keys)
        settled = kept if kept and kept[-1].adopted == model.UPGRADE else kept[:-1]
        start = next((row.position for row in reversed(settled)), 0)
        head = store.head_at(tx, start) if start else chain.GENESIS
        if head is not None and not found:
            try:
                recent = [point for point in remembered if point.position > start]
                tip = [row for row in kept[-1:] if row.position > start]
                model.walk(
                    _placed(tx, start),
                    keys=keys,
                    kept=tip,
                    remembered=recent,
                    start=Point(start, head),
                )
            except ChainBroken as error:
                found.append(error)
        return min(found, key=_place, default=None)

    def accept(self, tx: Tx, actor: str, reason: str) -> Point:
        """Accept the log in its current state, including faults; return its end."""
        self.append(tx, "audit.accepted", actor=actor, reason=reason)
        self.sequence_waiting(tx)
        keys = self._keys(tx)
        last = store.last_link(tx)
        rows = store.checkpoints(tx, 1)
        if keys is None or last is None:
            raise RuntimeError("the log of a process without keys is not accepted")
        here = Point(last.position, model.digest(_placed(tx)))
        now = self._clock.now()
        number = rows[-1].number + 1 if rows else 1
        self._write(tx, keys, model.begun(number, here, now, model.ACCEPTED), b"")
        return Point(last.position, last.head)

    def waiting(self, tx: Tx) -> Waiting:
        """Return how many leaves have no position yet, and how many have waited too long."""
        now = self._clock.now()
        count, late, oldest = store.waiting_since(tx, now - model.LATE, now + model.LATE)
        return Waiting(count, late, now - oldest if oldest else timedelta(0))

    def due(self, tx: Tx, name: str, every: timedelta) -> bool:
        """Record a report now; return False if it was last reported within `every`."""
        now = self._clock.now()
        return store.due(tx, name, now, now - every)

    def reported(self, tx: Tx, name: str) -> bool:
        """Return whether something was ever recorded by `due`."""
        return store.noticed(tx, name)

    def clear_report(self, tx: Tx, name: str) -> None:
        """Delete the record of `due`."""
        store.delete_notice(tx, name)

    def _keys(self, tx: Tx) -> Keys | None:
        if self._seal is None:
            return None
        return Keys(self._seal.key(tx, "audit.link"), self._seal.key(tx, "audit.checkpoint"))

    def _kept(self, tx: Tx) -> tuple[Keys | None, Sequence[Checkpoint], ChainBroken | None]:
        keys = self._keys(tx)
        if keys is None:
            return None, (), None
        return keys, *model.in_force(store.checkpoints(tx), keys.checkpoint)

    def differing(self, tx: Tx, points: Sequence[Point]) -> ChainBroken | None:
        """Return the first point at which the head differs from the recorded one."""
        return min(self._differing(tx, points), key=_place, default=None)

    def _differing(self, tx: Tx, points: Sequence[Point]) -> list[ChainBroken]:
        last = store.last_link(tx)
        length = last.position if last else 0
        found = []
        heads = self.heads_at(tx, [point.position for point in points])
        for point in points:
            if point.position > length:
                found.append(model.cut(length))
            elif heads.get(point.position) != point.head:
                found.append(model.differs(point.position))
        return found

    def _uncovered(self, tx: Tx, keys: Keys | None) -> list[ChainBroken]:
        chained, noted = store.ends(tx)
        return [model.uncovered(noted)] if keys and chained > noted else []

    def _note(self, tx: Tx, keys: Keys, last: store.Link | None, here: Point) -> None:
        """Advance the newest checkpoint with the chain, or start another one.

        A checkpoint that fails verification is kept as evidence: the number after it stays unused.
        """
        now = self._clock.now()
        rows = store.checkpoints(tx, 2)
        end = Point(last.position, last.head) if last else None
        if not rows and last and end and last.mac is None:
            # Links of the first version have no MAC; they are adopted as stored, once.
            rows = [self._write(tx, keys, model.begun(1, end, now, model.UPGRADE), b"")]
        tip = rows[-1] if rows else None
        before = rows[-2].mac if len(rows) > 1 else b""
        if not model.fits(tip, end, keys.checkpoint, before):
            logs.get().error("audit_disagrees", position=end.position if end else 0)
            number = (tip.number if tip else 0) + 2
            self._write(tx, keys, model.begun(number, here, now), tip.mac if tip else b"")
        elif tip is None:
            self._write(tx, keys, model.begun(1, here, now), b"")
        elif here.position > tip.position and tip.open_at(now):
            self._write(tx, keys, tip.moved(here, now), before)
        elif here.position > tip.position:
            self._write(tx, keys, model.begun(tip.number + 1, here, now), tip.mac)

    def _write(self, tx: Tx, keys: Keys, checkpoint: Checkpoint, before: bytes) -> Checkpoint:
        signature = self._seal.sign(tx, checkpoint.claims) if self._seal else ""
        sealed = replace(checkpoint, signature=signature).sealed(keys.checkpoint, before)
        store.keep(tx, sealed)
        return sealed


def _placed(tx: Tx, after: int = 0) -> Iterator[Placed]:
    """Read the chain page by page."""
    while page := store.chained(tx, after, _PAGE):
        for row in page:
            yield Placed(row.position, content(row) if row.id else b"", row.head, row.mac)
            after = row.position


def _place(error: ChainBroken) -> int:
    return error.position
