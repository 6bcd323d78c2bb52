"""Sealed behavior profiles: opened for scoring, updated by samples, deleted with consent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from biometrics.behavior.features import NotScored, Vector
from biometrics.behavior.scorer import FEWEST
from crypto.errors import CryptoError, KeyUnavailable
from service.accounts.actions.accounts import Accounts
from service.audit.actions.audit_log import AuditLog
from service.domain.clock import Clock
from service.domain.errors import BadInput, Conflict, Fault
from service.domain.ids import new_id
from service.domain.validation import parse
from service.notifications.actions.outbox import Outbox
from service.signals.behavior import store
from service.signals.behavior.features import EXPECTED, KEYSTROKE, MARKED, Read, read
from service.signals.behavior.profile import Kept
from service.signals.behavior.schema import Behavior
from service.signals.behavior.scoring import Models, SignalScore, compare_all, withheld
from service.signals.behavior.store import ProfileKey, Sealed
from service.store.ahead import PlannedRead
from service.store.engine import Tx
from service.store.erasing import erases
from service.telemetry import logs

PURPOSE: Final = "behavior"
LARGEST: Final = 32 * 1024
KEPT: Final = timedelta(days=400)
"""Time after its last update when a profile is deleted, as for a login context."""


@dataclass(frozen=True, slots=True)
class TypingProfileKey:
    """The identity of a typist: subject, password and class of device."""

    subject: UUID
    password: UUID
    device_class: str

    def place(self, signal: str) -> ProfileKey:
        """Return the key of a signal's profile."""
        return ProfileKey(self.subject, self.password, self.device_class, signal)


@dataclass(frozen=True, slots=True)
class Opened:
    """The opened profiles of a subject for comparison with a sample.

    Args:
        kept: Profiles of this device class, by signal.
        everywhere: Profiles of all device classes, to detect replays from another device.
        rows: Stored rows of this device class by signal, including those of another password.
    """

    kept: Mapping[str, Kept]
    everywhere: Sequence[Kept]
    rows: Mapping[str, Sealed]

    def replayed(self, found: Read) -> bool:
        """Return whether the times or the movement of a sample were accepted before."""
        vectors = [part for name, part in found.items() if name in MARKED]
        return any(
            kept.has(vector)
            for vector in vectors
            if isinstance(vector, Vector)
            for kept in self.everywhere
            if kept.profile.layout.signal == vector.layout.signal
        )


class Behaviors:
    """The behavior profiles."""

    def __init__(
        self, *, accounts: Accounts, models: Models, audit: AuditLog, outbox: Outbox, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._models = models
        self._audit = audit
        self._outbox = outbox
        self._clock = clock

    def parse(self, values: object, at: str) -> Behavior:
        """Validate a sample; raises BadInput with pointers below `at`."""
        sample = parse(Behavior, values, at)
        self.bounded(sample, at)
        return sample

    def bounded(self, sample: Behavior, at: str) -> None:
        """Raise BadInput if a sample is too large."""
        if len(sample.model_dump_json()) > LARGEST:
            raise BadInput(Fault(at, "too_long", f"must have at most {LARGEST} bytes"))

    def admit(self, tx: Tx, subject: UUID, sample: Behavior) -> str | None:
        """Return a sample to store in its flow; None without consent, so that it is dropped."""
        if not self.consented(tx, subject):
            return None
        return sample.model_dump_json(by_alias=True, exclude_none=True)

    def consented(self, tx: Tx, subject: UUID, *, for_share: bool = False) -> bool:
        """Return whether the subject has consented; see `Consents.active`."""
        return self._accounts.consents.active(tx, subject, PURPOSE, for_share=for_share)

    def stored(self, tx: Tx, subject: UUID, *, lock: bool = False) -> Sequence[Sealed]:
        """Return the stored profiles of a subject, in one statement."""
        return store.of_subject(tx, subject, lock=lock)

    def ahead(self, subject: UUID) -> PlannedRead:
        """Return what `stored` and `usual` read."""
        return store.of_subject_ahead(subject)

    def open(
        self,
        tx: Tx,
        typist: TypingProfileKey,
        rows: Sequence[Sealed] | None = None,
        *,
        lock: bool = False,
    ) -> Opened:
        """Open the profiles of a typist; `rows` are the stored ones, if already read.

        Raises:
            CryptoError: A profile does not open, or this process does not hold the key class.
            ValueError: A profile has an unknown format.
        """
        stored = self.stored(tx, typist.subject, lock=lock) if rows is None else rows
        return _opened(tx, stored, typist)

    def compare(self, found: Read, opened: Opened) -> dict[str, SignalScore]:
        """Return the score of each part of a sample, and of each usual part that was not sent."""
        parts = compare_all(found, opened.kept, self._models)
        # A missing touch part comes with missing keys; without keys, only the keys count.
        usual = EXPECTED if KEYSTROKE in found else (KEYSTROKE,)
        for signal in usual:
            kept = opened.kept.get(signal)
            if signal not in found and kept is not None and kept.speaks:
                row = opened.rows[signal]
                parts[signal] = withheld(signal, row.samples, row.absent)
        return parts

    def usual(
        self, tx: Tx, subject: UUID, password: UUID, classes: Iterable[str]
    ) -> SignalScore | None:
        """Return the evidence of a missing sample, or None if the subject seldom sends one."""
        allowed = frozenset(classes)
        rows = [
            row
            for row in store.of_subject(tx, subject)
            if row.place.device_class in allowed
            and row.place.signal == KEYSTROKE
            and row.place.password == password
            and row.samples >= FEWEST
        ]
        if not rows:
            return None
        most = max(rows, key=lambda row: row.samples)
        return withheld(KEYSTROKE, most.samples, most.absent)

    def missed(self, tx: Tx, subject: UUID, classes: Sequence[str]) -> None:
        """Count a login at AAL2 without a sample, which makes the next one less unusual."""
        store.missed(tx, subject, classes, EXPECTED)

    def learn(
        self, tx: Tx, typist: TypingProfileKey, sample: Behavior, *, first: bool = False
    ) -> str | None:
        """Learn a sample; return the reason if it was refused, else None.

        Args:
            tx: The transaction of a login that reached AAL2, or of an authorized import.
            typist: The typist.
            sample: The sample.
            first: Whether to accept it only if there is no profile yet.

        Raises:
            Conflict: It should have been the first, but another request created a profile
                meanwhile.
        """
        found = read(sample)
        opened = self._anew(tx, typist)
        if first and self.learned(tx, typist.subject):
            raise _not_empty()
        if opened.replayed(found):
            return "behavior_replayed"
        vectors = {name: part for name, part in found.items() if isinstance(part, Vector)}
        for signal, vector in vectors.items():
            if not self._keep(tx, typist.place(signal), vector, opened):
                if first:
                    raise _not_empty()
                self._keep(tx, typist.place(signal), vector, self._anew(tx, typist))
        absent = [signal for signal in EXPECTED if signal not in found and signal in opened.rows]
        if absent:
            store.missed(tx, typist.subject, (typist.device_class,), absent)
        refused = [part.code for part in found.values() if isinstance(part, NotScored)]
        return None if vectors else (refused or ["nothing_to_learn"])[0]

    @erases("behavior", tables=("behavior_profile",))
    def delete_for(self, tx: Tx, subject: UUID) -> int:
        """Delete a subject's profiles after a withdrawal or a new password; return how many.

        All of them depend on the password: how another one is typed says nothing about it.
        """
        return store.drop(tx, subject)

    def drop_older(self, tx: Tx, now: datetime) -> int:
        """Delete outdated profiles; return how many."""
        return store.drop_older(tx, now - KEPT)

    def note_import(
        self, tx: Tx, subject: UUID, *, actor: str, accepted: int, total: int, granted: bool
    ) -> None:
        """Record in the audit log that imported samples were learned, and by which right."""
        self._audit.append(
            tx,
            "behavior.imported",
            subject=subject,
            actor=actor,
            accepted=accepted,
            total=total,
            granted=granted,
        )

    def reset(self, tx: Tx, subject: UUID, actor: str) -> int:
        """Delete a subject's profiles on request, including alarms; return how many."""
        count = store.drop(tx, subject)
        self._audit.append(tx, "behavior.reset", subject=subject, actor=actor, profiles=count)
        return count

    def learned(self, tx: Tx, subject: UUID) -> int:
        """Return the number of samples in a subject's largest profile."""
        return max((row.samples for row in store.of_subject(tx, subject)), default=0)

    def _anew(self, tx: Tx, typist: TypingProfileKey) -> Opened:
        rows = store.of_subject(tx, typist.subject, lock=True)
        try:
            return _opened(tx, rows, typist)
        except KeyUnavailable:
            raise
        except (CryptoError, ValueError):
            # A profile that does not open counted as the worst. After AAL2 it is replaced, on any
            # class of device: left in place, it would count against every login.
            logs.get().warning("behavior_begun_anew", code="unreadable_profile")
            kept = [row for row in rows if row.place.password != typist.password or _opens(tx, row)]
            store.drop_rows(tx, [row.id for row in rows if row not in kept])
            return _opened(tx, kept, typist)

    def _keep(self, tx: Tx, place: ProfileKey, vector: Vector, opened: Opened) -> bool:
        """Store the next state; return False if another request created the first one meanwhile."""
        now = self._clock.now()
        former = opened.kept.get(place.signal)
        kept = (former or Kept.empty(vector.layout)).learn(vector)
        if kept.parted and not (former and former.parted):
            self._alarm(tx, place)
        row = opened.rows.get(place.signal)
        samples = kept.profile.total
        if row is None:
            return store.add(
                tx, new_id(now), place=place, now=now, samples=samples, content=kept.pack()
            )
        store.save(tx, row.id, place=place, now=now, samples=samples, content=kept.pack())
        return True

    def _alarm(self, tx: Tx, place: ProfileKey) -> None:
        self._audit.append(
            tx,
            "behavior.parted",
            subject=place.subject,
            signal=place.signal,
            device_class=place.device_class,
        )
        self._outbox.put(
            tx, kind="alarm.behavior_parted", subject=None, payload={"subject": str(place.subject)}
        )


def _opened(tx: Tx, rows: Sequence[Sealed], typist: TypingProfileKey) -> Opened:
    mine = [row for row in rows if row.place.device_class == typist.device_class]
    opened = {
        row.id: Kept.unpack(row.open(tx))
        for row in rows
        if row.place.password == typist.password and (row.place.signal in MARKED or row in mine)
    }
    return Opened(
        {row.place.signal: opened[row.id] for row in mine if row.id in opened},
        [opened[row.id] for row in rows if row.id in opened and row.place.signal in MARKED],
        {row.place.signal: row for row in mine},
    )


def _opens(tx: Tx, row: Sealed) -> bool:
    try:
        Kept.unpack(row.open(tx))
    except KeyUnavailable:
        raise
    except (CryptoError, ValueError):
        return False
    return True


def _not_empty() -> Conflict:
    return Conflict("profile_not_empty", "Another request has made a profile by now.")
