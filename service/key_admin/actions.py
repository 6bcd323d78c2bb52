"""Key lifecycle operations for operators: tiers, steps, long-running jobs and findings."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from service.accounts.actions.blind_indexes import Indexing
from service.domain.clock import Clock, rfc3339
from service.domain.errors import BadInput, Conflict, Fault
from service.domain.formats import JsonObject
from service.jobs.actions.long import LongJobs
from service.jobs.actions.work import JobStep, Plan, Work
from service.key_admin.views import FindingView, KeyOverview
from service.keys.actions import KeyStore, SigningKeys
from service.keys.actions.instances import Instances
from service.keys.actions.keystore import INDEX_CLASS
from service.keys.actions.lifecycle import Lifecycle
from service.keys.actions.record_signing import RecordKeys
from service.keys.actions.recovery import KeyRecovery
from service.keys.actions.rotation import Moving, RotationPage
from service.keys.actions.verification import Proof, Proving
from service.keys.views import DestructionView
from service.store.engine import Store, Tx

TIERS: Final = ("root", "kek", "data", "index", "signing")


@dataclass(kw_only=True, frozen=True, slots=True)
class KeyAdminDependencies:
    """Dependencies of key administration."""

    database: Store
    key_store: KeyStore
    signing: SigningKeys
    instances: Instances
    lifecycle: Lifecycle
    moving: Moving
    proving: Proving
    indexing: Indexing
    records: RecordKeys
    recovery: KeyRecovery
    clock: Clock


def plans(room: KeyAdminDependencies) -> dict[str, Plan]:
    """Return the plans of the long-running jobs by kind."""
    works = _Works(room)
    return {
        "rewrap": works.rewrap,
        "reencrypt": works.reencrypt,
        "reindex": works.reindex,
        "verify": works.verify,
    }


class KeyAdmin:
    """Implements each operation once, for the commands and for HTTP.

    Args:
        room: The dependencies.
        jobs: The long-running jobs.
        sure: Raises Conflict while clocks disagree; called before an irreversible operation that
            depends on the time.
    """

    def __init__(
        self, room: KeyAdminDependencies, jobs: LongJobs, sure: Callable[[Tx], None]
    ) -> None:
        self._room = room
        self.jobs = jobs
        self._sure = sure

    def generate(self, tx: Tx, tier: str, key_class: str | None, actor: str) -> list[str]:
        """Generate keys of a tier (`root`, `kek`, `index`, `signing`); return their names.

        Raises:
            BadInput: The tier or class is unknown.
            Conflict: One is already pending.
        """
        life = self._room.lifecycle
        if tier == "root":
            return [
                f"root {name} {life.grow_root(tx, name, actor)}" for name in self._of(key_class)
            ]
        if tier == "kek":
            return [
                f"kek {name} {life.generate_kek(tx, name, actor)}" for name in self._of(key_class)
            ]
        if tier == "index":
            return [f"index {life.generate_index(tx, actor)}"]
        if tier == "signing":
            return [f"signing key {life.generate_signing(tx, actor)}"]
        raise _no_tier("root kek index signing")

    def promote(self, tx: Tx, tier: str, key_class: str | None, actor: str) -> list[str]:
        """Promote pending keys.

        Raises:
            Conflict: An instance lacks one, or clocks disagree.
        """
        life = self._room.lifecycle
        self._sure(tx)
        if tier == "kek":
            names = self._pending(tx) if key_class is None else self._of(key_class)
            return [f"kek {name} {life.promote_kek(tx, name, actor)}" for name in names]
        if tier == "index":
            filled = self._room.indexing.left(tx, max(self._room.key_store.index_versions())) == 0
            return [life.advance_index(tx, actor, filled=filled)]
        if tier == "signing":
            return [f"signing key {life.promote_signing(tx, actor)}"]
        raise _no_tier("kek index signing")

    def retire(self, tx: Tx, tier: str, key_class: str | None, actor: str) -> list[str]:
        """Retire replaced keys that are no longer referenced.

        Raises:
            Conflict: One is in use, or clocks disagree.
        """
        room = self._room
        done = []
        self._sure(tx)
        if tier == "kek":
            for name in self._of(key_class):
                versions = room.lifecycle.retire_keks(tx, name, actor)
                done += [f"kek {name} {version}" for version in versions]
            return done
        if tier == "data":
            for name in self._of(key_class):
                if name != INDEX_CLASS:
                    count = room.moving.drop_old_data_keys(tx, name)
                    done += [f"{count} data keys of {name}"] if count else []
            return done
        if tier == "signing":
            return [f"signing key {kid}" for kid in room.lifecycle.destroy_signing(tx, actor)]
        raise _no_tier("kek data signing")

    def destroy(
        self, tx: Tx, *, key_class: str, version: int, days: int, actor: str
    ) -> DestructionView:
        """Schedule a retired KEK for destruction; return when all copies are gone."""
        self._of(key_class)
        self._sure(tx)
        return self._room.lifecycle.schedule_destruction(
            tx, key_class=key_class, version=version, grace=timedelta(days=days), actor=actor
        ).to_json()

    def export(self, tx: Tx, recipient: str, days: int, actor: str) -> JsonObject:
        """Return a recovery export for a recipient; raises KeyFileError if it is malformed."""
        content: JsonObject = json.loads(self._room.recovery.export(tx, recipient, days, actor))
        return content

    def destroy_root(self, tx: Tx, key_class: str, version: int, actor: str) -> str:
        """Destroy an old root version immediately; raises Conflict if a KEK is under it."""
        self._of(key_class)
        self._room.lifecycle.destroy_root(tx, key_class, version, actor)
        return f"root {key_class} {version}"

    def params(self, kind: str, tier: str | None, key_class: str | None) -> dict[str, str]:
        """Validate and return the parameters of a long-running job; raises BadInput."""
        if key_class is not None:
            self._of(key_class)
        if kind == "rewrap" and tier not in {"root", "kek"}:
            raise _no_tier("root kek")
        found = {"tier": tier} if tier is not None and kind == "rewrap" else {}
        if kind in {"rewrap", "reencrypt"} and key_class:
            found["class"] = key_class
        return found

    def overview(self, tx: Tx) -> KeyOverview:
        """Return all keys, the instances, and their states."""
        room = self._room
        now = self._room.clock.now()
        return {
            "keks": room.key_store.status(tx),
            "index": [
                {"version": version, "status": status}
                for version, status in sorted(room.key_store.index_states().items())
            ],
            "signing": [
                {"kid": kid, "status": status} for kid, status in room.signing.states().items()
            ],
            "instances": [
                {
                    "label": item.label,
                    "seen_at": rfc3339(item.seen_at),
                    "alive": item.alive(now),
                    "classes": list(item.held.classes),
                }
                for item in room.instances.listed(tx)
            ],
        }

    def findings(self, tx: Tx) -> list[FindingView]:
        """Return problems and unfinished steps of keys, each with the command that resolves it."""
        return list(_Doctor(self._room).findings(tx))

    def _of(self, key_class: str | None) -> list[str]:
        held = sorted(self._room.key_store.classes())
        if key_class is None:
            return held
        if key_class not in held:
            detail = f"is no class that this process holds; held: {' '.join(held)}"
            raise BadInput(Fault("/class", "unknown_class", detail))
        return [key_class]

    def _pending(self, tx: Tx) -> list[str]:
        rows = self._room.key_store.status(tx)
        found = [row["class"] for row in rows if row["status"] == "pending" and row["held"]]
        if not found:
            raise Conflict("no_pending_key", "no kek is pending; run: lamina keys generate")
        return found


class _Works:
    """The long-running jobs on keys as series of steps."""

    def __init__(self, room: KeyAdminDependencies) -> None:
        self._room = room

    def rewrap(self, params: Mapping[str, object]) -> Work:
        classes = self._classes(params)
        if params["tier"] == "root":
            return Work(lambda: len(classes), lambda: self._roots(classes))
        moving = self._room.moving

        def total() -> int:
            with self._room.database.transaction(read=True) as tx:
                return sum(moving.left_to_rewrap(tx, name) for name in classes)

        return Work(total, lambda: _steps(moving.rewrap_pages(name) for name in classes))

    def reencrypt(self, params: Mapping[str, object]) -> Work:
        classes = [name for name in self._classes(params) if name != INDEX_CLASS]
        moving = self._room.moving
        key_store = self._room.key_store

        def total() -> int:
            with self._room.database.transaction(read=True) as tx:
                return sum(
                    moving.left_to_reencrypt(tx, name, key_store.generation(name) + 1)
                    for name in classes
                )

        def prepare(tx: Tx) -> Mapping[str, object]:
            # Chosen once, by the process that holds the lock: a helper that comes late would
            # otherwise find everything done and begin another generation.
            return {"generations": {name: moving.start_generation(tx, name) for name in classes}}

        def pages() -> Iterator[Iterable[RotationPage]]:
            for name, generation in _generations(params).items():
                yield moving.reencrypt_pages(name, generation)
                with self._room.database.transaction() as tx:
                    moving.finish_generation(tx, name)

        return Work(total, lambda: _steps(pages()), prepare=prepare)

    def reindex(self, _params: Mapping[str, object]) -> Work:
        indexing = self._room.indexing
        key_store = self._room.key_store

        def total() -> int:
            with self._room.database.transaction(read=True) as tx:
                return indexing.left(tx, max(key_store.index_versions()))

        def pages() -> Iterator[Iterable[RotationPage]]:
            states = key_store.index_states()
            newest = max(states)
            if states[newest] == "pending":
                detail = "the new index key is not written yet; run: lamina keys promote"
                raise Conflict("not_writing", f"{detail} --tier index")
            yield indexing.fill_pages(newest)
            yield indexing.drop_pages()

        return Work(total, lambda: _steps(pages()))

    def verify(self, _params: Mapping[str, object]) -> Work:
        proving = self._room.proving
        last = Proof()

        def steps() -> Iterator[JobStep]:
            nonlocal last
            rows = failed = 0
            for proof in proving.verify():
                yield JobStep(proof.rows - rows, tuple(proof.bad[failed:]))
                rows = proof.rows
                failed = len(proof.bad)
                last = proof
            # Values that were not opened are unproven, so the job does not end as done.
            yield JobStep(0, tuple(last.unproven()))

        def finish() -> Mapping[str, object]:
            room = self._room
            counts = last.to_json()
            with room.database.transaction() as tx:
                claims = {"sub": "lamina:keys", "report": {**counts, "bad": len(counts["bad"])}}
                return {"proof": counts, "signed": room.records.sign(tx, "verify", claims)}

        return Work(proving.total, steps, finish)

    def _roots(self, classes: Iterable[str]) -> Iterator[JobStep]:
        for name in classes:
            with self._room.database.transaction() as tx:
                page = self._room.moving.rewrap_roots(tx, name)
            yield JobStep(page.moved, tuple(page.bad))

    def _classes(self, params: Mapping[str, object]) -> list[str]:
        chosen = params.get("class")
        return [str(chosen)] if chosen else sorted(self._room.key_store.classes())


def _generations(params: Mapping[str, object]) -> Mapping[str, int]:
    chosen = params["generations"]
    if not isinstance(chosen, Mapping):
        raise TypeError("the generations of a job are an object")
    return chosen


def _steps(series: Iterable[Iterable[RotationPage]]) -> Iterator[JobStep]:
    for pages in series:
        for page in pages:
            yield JobStep(page.moved, tuple(page.bad))


class _Doctor:
    """Checks key states and recommends the next step."""

    def __init__(self, room: KeyAdminDependencies) -> None:
        self._room = room

    def findings(self, tx: Tx) -> Iterator[FindingView]:
        checks: tuple[Callable[[Tx], Iterator[FindingView]], ...] = (
            self._keks,
            self._roots,
            self._data,
            self._index,
            self._signing,
        )
        for check in checks:
            yield from check(tx)

    def _keks(self, tx: Tx) -> Iterator[FindingView]:
        for row in self._room.key_store.status(tx):
            name = f"kek {row['class']} {row['version']}"
            held = row["held"]
            if not held and row["class"] in self._room.key_store.classes():
                mend = "restore that root key file, or give this process its root"
                yield _finding(name, "is not held here", mend)
            if row["status"] == "pending":
                command = f"lamina keys promote --tier kek --class {row['class']}"
                yield _finding(name, "is pending", command)
            if row["status"] == "retiring":
                options = f"--tier kek --class {row['class']}"
                command = f"lamina keys rewrap {options}, then lamina keys retire {options}"
                yield _finding(name, "was replaced and is not retired", command)

    def _roots(self, tx: Tx) -> Iterator[FindingView]:
        newest = self._room.key_store.roots_held()
        for row in self._room.key_store.status(tx):
            if row["held"] and row["root_version"] < newest.get(row["class"], 0):
                command = f"lamina keys rewrap --tier root --class {row['class']}"
                name = f"kek {row['class']} {row['version']}"
                yield _finding(name, f"is under the old root {row['root_version']}", command)

    def _data(self, tx: Tx) -> Iterator[FindingView]:
        for name in sorted(self._room.key_store.classes() - {INDEX_CLASS}):
            generation = self._room.key_store.generation(name)
            left = self._room.moving.left_to_reencrypt(tx, name, generation)
            if left:
                command = f"lamina keys reencrypt --class {name}"
                yield _finding(f"{left} rows of {name}", "are under old data keys", command)

    def _index(self, tx: Tx) -> Iterator[FindingView]:
        states = self._room.key_store.index_states()
        if len(states) > 1:
            newest = max(states)
            left = self._room.indexing.left(tx, newest)
            command = "lamina keys reindex" if left else "lamina keys promote --tier index"
            yield _finding(f"index {newest}", f"is {states[newest]}, {left} missing", command)

    def _signing(self, _tx: Tx) -> Iterator[FindingView]:
        for kid, status in self._room.signing.states().items():
            if status == "pending":
                command = "lamina keys promote --tier signing"
                yield _finding(f"signing key {kid}", "is pending", command)
            if status == "verify_only":
                command = "lamina keys retire --tier signing"
                yield _finding(f"signing key {kid}", "verifies only", command)


def _finding(what: str, state: str, mend: str) -> FindingView:
    return {"what": what, "state": state, "mend": mend}


def _no_tier(known: str) -> BadInput:
    return BadInput(Fault("/tier", "unknown_tier", f"is no tier here; known: {known}"))
