"""Lifecycle of keys: generate, promote, retire, destroy; each step waits for all instances."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypedDict, Unpack

from crypto.keyring import root_version_of
from service.audit.actions.audit_log import AuditLog
from service.domain.clock import Clock, rfc3339
from service.domain.errors import Conflict, NotFound
from service.keys.actions.instances import Instances
from service.keys.actions.keystore import INDEX_CLASS, INDEX_OWNER, KeyStore
from service.keys.actions.signing import SigningKeys
from service.keys.model import (
    JWKS_LIFE,
    SETTLE,
    IndexStatus,
    KekStatus,
    SigningStatus,
    key_name,
    require_held,
    require_settled,
)
from service.keys.store import hierarchy as store
from service.keys.store import roots
from service.keys.views import DestructionView
from service.store.engine import Tx

TOKEN_LIFE: Final = timedelta(minutes=6)
"""Maximum time after its last signature in which a token of a key can be presented."""
LEAST_GRACE: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Destruction:
    """When a KEK is destroyed, and what can open it until then.

    Args:
        after: Time at which its row is deleted.
        horizon: Time after which no database backup or recovery export can restore it.
        root: The root version that opens it in a backup; destroying that is effective at once.
        exports: The recovery exports that contain it.
    """

    after: datetime
    horizon: datetime
    root: str
    exports: tuple[str, ...]

    def to_json(self) -> DestructionView:
        """Return the response to the requester."""
        return {
            "destroyed_after": rfc3339(self.after),
            "erase_horizon": rfc3339(self.horizon),
            "root": self.root,
            "recovery_exports": list(self.exports),
        }


class _KeyNote(TypedDict, total=False):
    """The members of an audit entry about a key."""

    tier: str
    key_class: str
    version: int
    versions: list[int]
    kid: str
    status: str
    destroyed_after: str
    erase_horizon: str
    root: str
    recovery_exports: list[str]


class Lifecycle:
    """Manages the states of all tiers except the root, as its provider stores the versions."""

    def __init__(
        self,
        *,
        key_store: KeyStore,
        signing: SigningKeys,
        instances: Instances,
        audit: AuditLog,
        clock: Clock,
        retention: timedelta,
    ) -> None:
        self._retention = retention
        self._key_store = key_store
        self._signing = signing
        self._instances = instances
        self._audit = audit
        self._clock = clock

    def grow_root(self, tx: Tx, key_class: str, actor: str) -> int:
        """Create a new root version and announce it; `rewrap --tier root` moves KEKs to it.

        Raises:
            KeyFileError: The provider cannot create keys; the text says how to add one.
        """
        version = self._key_store.reopen_root(key_class).grow(key_class)
        roots.announce(tx, key_class, version, self._clock.now())
        self._note(tx, "keys.generated", actor, tier="root", key_class=key_class, version=version)
        return version

    def destroy_root(self, tx: Tx, key_class: str, version: int, actor: str) -> None:
        """Permanently destroy an old root version.

        Raises:
            Conflict: A KEK is wrapped under it (rewrap first).
            KeyUnavailable, KeyFileError: The version does not exist, or is the newest.
        """
        for row in store.class_keks(tx, key_class):
            if root_version_of(row.wrapped) == version:
                name = f"kek {key_class} {row.version} is under root {version}"
                command = f"lamina keys rewrap --tier root --class {key_class}"
                raise Conflict("key_in_use", f"{name}; run: {command}")
        self._key_store.reopen_root(key_class).destroy(key_class, version)
        self._note(tx, "keys.destroyed", actor, tier="root", key_class=key_class, version=version)

    def generate_kek(self, tx: Tx, key_class: str, actor: str) -> int:
        """Add a pending KEK under the newest root and return its version.

        Raises:
            Conflict: One is already pending.
            KeyUnavailable: This process does not hold the class.
        """
        rows = store.class_keks(tx, key_class)
        pending = [row.version for row in rows if row.status == KekStatus.PENDING]
        if pending:
            raise Conflict("key_pending", f"kek {key_class} {pending[0]} is pending already")
        version = max((row.version for row in rows), default=0) + 1
        self._key_store.reopen_root(key_class)
        if not self._key_store.create_kek(tx, key_class, version, KekStatus.PENDING):
            raise Conflict("key_pending", f"kek {key_class} {version} was just generated")
        self._note(tx, "keys.generated", actor, tier="kek", key_class=key_class, version=version)
        return version

    def promote_kek(self, tx: Tx, key_class: str, actor: str) -> int:
        """Make the pending KEK wrap new data keys; the previous one only unwraps from now on.

        Raises:
            NotFound: No KEK is pending.
            Conflict: A live instance does not hold it yet; the detail names the instance.
        """
        rows = store.class_keks(tx, key_class)
        pending = [row for row in rows if row.status == KekStatus.PENDING]
        if not pending:
            raise NotFound("no_pending_key", f"no kek of class {key_class} is pending")
        newest = pending[-1]
        now = self._clock.now()
        name = key_name("kek", key_class, newest.version)
        require_held(self._instances.listed(tx), now=now, name=name, key_class=key_class)
        for row in rows:
            if row.status == KekStatus.ACTIVE:
                row.status = KekStatus.RETIRING
                row.changed_at = now
        newest.status = KekStatus.ACTIVE
        newest.changed_at = now
        self._note(
            tx, "keys.promoted", actor, tier="kek", key_class=key_class, version=newest.version
        )
        return newest.version

    def retire_keks(self, tx: Tx, key_class: str, actor: str) -> list[int]:
        """Retire the KEKs that were replaced.

        Raises:
            Conflict: Data keys are still under one (rewrap first), or it was just replaced.
        """
        now = self._clock.now()
        done = []
        for row in store.class_keks(tx, key_class):
            if row.status == KekStatus.RETIRING:
                what = f"kek {key_class} {row.version}"
                require_settled(row.changed_at or row.created_at, now, SETTLE, what)
                self._require_unused(tx, key_class, row.version)
                row.status = KekStatus.RETIRED
                row.changed_at = now
                done.append(row.version)
        if done:
            self._note(tx, "keys.retired", actor, tier="kek", key_class=key_class, versions=done)
        return done

    def schedule_destruction(
        self, tx: Tx, *, key_class: str, version: int, grace: timedelta, actor: str
    ) -> Destruction:
        """Schedule a retired KEK for destruction after a grace period; return when it is gone.

        Raises:
            NotFound: The KEK does not exist.
            Conflict: It is not retired, or the grace period is shorter than a day.
        """
        row = store.kek(tx, key_class, version)
        if row is None:
            raise NotFound("key_not_found", f"there is no kek {key_class} {version}")
        if row.status != KekStatus.RETIRED:
            mend = "only a retired one is destroyed"
            if row.status == KekStatus.RETIRING:
                mend = f"first run: lamina keys retire --tier kek --class {key_class}"
            raise Conflict("key_in_use", f"kek {key_class} {version} is {row.status}; {mend}")
        if grace < LEAST_GRACE:
            raise Conflict("grace_too_short", "the grace period must be a day at least")
        row.destroy_after = self._clock.now() + grace
        exports = store.exports_of(tx, key_class, version, self._clock.now())
        ends = [row.destroy_after + self._retention, *(export.expires_at for export in exports)]
        root = f"root {key_class} {root_version_of(row.wrapped)}"
        done = Destruction(
            row.destroy_after, max(ends), root, tuple(str(export.id) for export in exports)
        )
        self._note(
            tx,
            "keys.destruction_scheduled",
            actor,
            tier="kek",
            key_class=key_class,
            version=version,
            **done.to_json(),
        )
        return done

    def destroy_due(self, tx: Tx) -> list[tuple[str, int]]:
        """Delete the unreferenced KEKs with an expired grace period."""
        done = []
        for row in store.due_keks(tx, self._clock.now()):
            if store.references(tx, row.key_class, row.version) == 0:
                tx.delete(row)
                done.append((row.key_class, row.version))
                self._note(
                    tx,
                    "keys.destroyed",
                    "schedule",
                    tier="kek",
                    key_class=row.key_class,
                    version=row.version,
                )
        return done

    def destroy_scheduled(self, tx: Tx, _now: datetime) -> int:
        """Run `destroy_due` as a periodic task; return the number of destroyed KEKs."""
        return len(self.destroy_due(tx))

    def generate_index(self, tx: Tx, actor: str) -> int:
        """Create a pending blind-index key and return its version; raises Conflict."""
        rows = store.index_keys(tx)
        if len(rows) != 1:
            raise Conflict("rotation_running", "the index key is being rotated already")
        version = int(rows[-1].version) + 1
        self._key_store.make_key(tx, INDEX_OWNER, INDEX_CLASS, version)
        store.add_index_key(tx, version, IndexStatus.PENDING, self._clock.now())
        self._note(tx, "keys.generated", actor, tier="index", version=version)
        return version

    def advance_index(self, tx: Tx, actor: str, *, filled: bool = False) -> str:
        """Advance the rotation of the index key by one state and return a description.

        pending → writing (both are written) → active (queried first; needs `filled`) → the old one
        is deleted. Each step waits until every live instance knows the previous state.

        Raises:
            NotFound: No rotation is in progress.
            Conflict: An instance lags behind, or digests are missing (reindex first).
        """
        rows = {row.status: row for row in store.index_keys(tx)}
        now = self._clock.now()
        if IndexStatus.PENDING in rows:
            row = rows[IndexStatus.PENDING]
            self._require_index(tx, row.version, IndexStatus.PENDING)
            self._set_index(tx, row.version, IndexStatus.WRITING, actor)
            return f"index {row.version} is written beside the old one"
        if IndexStatus.WRITING in rows:
            row = rows[IndexStatus.WRITING]
            self._require_index(tx, row.version, IndexStatus.WRITING)
            require_settled(row.changed_at, now, SETTLE, f"index {row.version}")
            if not filled:
                raise Conflict("not_reindexed", "digests are missing; run: lamina keys reindex")
            old = rows[IndexStatus.ACTIVE]
            self._set_index(tx, old.version, IndexStatus.RETIRING, actor)
            self._set_index(tx, row.version, IndexStatus.ACTIVE, actor)
            return f"index {row.version} is in use"
        if IndexStatus.RETIRING in rows:
            row = rows[IndexStatus.RETIRING]
            self._require_index(tx, rows[IndexStatus.ACTIVE].version, IndexStatus.ACTIVE)
            require_settled(row.changed_at, now, SETTLE, f"index {row.version}")
            store.drop_index_key(tx, row.version, INDEX_OWNER)
            self._note(tx, "keys.destroyed", actor, tier="index", version=row.version)
            return f"index {row.version} is dropped"
        raise NotFound("no_rotation", "the index key is not being rotated")

    def generate_signing(self, tx: Tx, actor: str) -> str:
        """Publish a new token-signing key and return its kid; raises Conflict."""
        pending = [kid for kid, state in store.signing_states(tx) if state == SigningStatus.PENDING]
        if pending:
            raise Conflict("key_pending", f"signing key {pending[0]} is pending already")
        kid = self._signing.create(tx, SigningStatus.PENDING)
        self._note(tx, "keys.generated", actor, tier="signing", kid=kid)
        return kid

    def promote_signing(self, tx: Tx, actor: str) -> str:
        """Make the published key sign; the previous one only verifies.

        Raises:
            NotFound: No key is pending.
            Conflict: Clients may still cache a key set without it, or a live instance lacks it.
        """
        rows = store.signing_keys(tx)
        now = self._clock.now()
        pending = [row for row in rows if row.status == SigningStatus.PENDING]
        if not pending:
            raise NotFound("no_pending_key", "no signing key is pending")
        newest = pending[-1]
        require_settled(newest.created_at, now, JWKS_LIFE, f"signing key {newest.kid}")
        name = key_name("signing", newest.kid)
        require_held(self._instances.listed(tx), now=now, name=name, key_class="signing")
        for row in rows:
            if row.status == SigningStatus.ACTIVE:
                row.status = SigningStatus.VERIFY_ONLY
                row.changed_at = now
        newest.status = SigningStatus.ACTIVE
        newest.changed_at = now
        self._note(tx, "keys.promoted", actor, tier="signing", kid=newest.kid)
        return newest.kid

    def destroy_signing(self, tx: Tx, actor: str) -> list[str]:
        """Delete the verify-only keys that no valid token can reference any more.

        Raises:
            Conflict: A token signed with one may still be valid.
        """
        done = []
        for row in store.signing_keys(tx):
            if row.status == SigningStatus.VERIFY_ONLY:
                what = f"signing key {row.kid}"
                require_settled(
                    row.changed_at or row.created_at, self._clock.now(), TOKEN_LIFE, what
                )
                tx.delete(row)
                done.append(row.kid)
                self._note(tx, "keys.destroyed", actor, tier="signing", kid=row.kid)
        return done

    def _require_unused(self, tx: Tx, key_class: str, version: int) -> None:
        count = store.references(tx, key_class, version)
        if count:
            detail = f"{count} data keys are under kek {key_class} {version}; run: lamina keys "
            raise Conflict("key_in_use", f"{detail}rewrap --tier kek --class {key_class}")

    def _require_index(self, tx: Tx, version: int, status: IndexStatus) -> None:
        name = key_name("index", version)
        require_held(
            self._instances.listed(tx),
            now=self._clock.now(),
            name=name,
            key_class=INDEX_CLASS,
            status=status,
        )

    def _set_index(self, tx: Tx, version: int, status: IndexStatus, actor: str) -> None:
        row = store.index_key(tx, version)
        if row is None:
            raise NotFound("key_not_found", f"there is no index key {version}")
        row.status = status
        row.changed_at = self._clock.now()
        self._note(tx, "keys.promoted", actor, tier="index", version=version, status=status.value)

    def _note(self, tx: Tx, kind: str, actor: str, **data: Unpack[_KeyNote]) -> None:
        self._audit.append(tx, kind, actor=actor, **data)
