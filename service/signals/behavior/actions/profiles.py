"""Sealed profiles: read with a sample, taught by one, forgotten with their consent or password."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from biometrics.behavior.features import NotScored, Vector
from biometrics.behavior.scorer import FEWEST
from crypto.errors import CryptoError, KeyUnavailable
from service.accounts.actions import Accounts
from service.audit.actions import AuditLog
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
from service.store.engine import Tx
from service.telemetry import logs

PURPOSE: Final = "behavior"
LARGEST: Final = 32 * 1024
KEPT: Final = timedelta(days=400)
"""A profile that was not added to for so long is forgotten, as a login context is."""


@dataclass(frozen=True, slots=True)
class TypingProfileKey:
    """Whose typing, of which password, on which class of device."""

    subject: UUID
    password: UUID
    device_class: str

    def place(self, signal: str) -> ProfileKey:
        """Return where a signal of theirs is kept."""
        return ProfileKey(self.subject, self.password, self.device_class, signal)


@dataclass(frozen=True, slots=True)
class Opened:
    """The profiles of a subject that a sample is set against.

    Args:
        kept: Those of this device class, by signal.
        everywhere: Those of every device class, for samples that come again on another.
        rows: What is stored of this device class, by signal; of another password too.
    """

    kept: Mapping[str, Kept]
    everywhere: Sequence[Kept]
    rows: Mapping[str, Sealed]

    def replayed(self, found: Read) -> bool:
        """Tell whether the times of a sample, or its movement, were accepted before."""
        vectors = [part for name, part in found.items() if name in MARKED]
        return any(
            kept.has(vector)
            for vector in vectors
            if isinstance(vector, Vector)
            for kept in self.everywhere
            if kept.profile.layout.signal == vector.layout.signal
        )


class Behaviors:
    """The profiles."""

    def __init__(
        self, accounts: Accounts, models: Models, audit: AuditLog, outbox: Outbox, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._models = models
        self._audit = audit
        self._outbox = outbox
        self._clock = clock

    def parse(self, values: object, at: str) -> Behavior:
        """Return a validated sample; raises BadInput with pointers below `at`."""
        sample = parse(Behavior, values, at)
        self.bounded(sample, at)
        return sample

    def bounded(self, sample: Behavior, at: str) -> None:
        """Refuse a sample that is too large; raises BadInput."""
        if len(sample.model_dump_json()) > LARGEST:
            raise BadInput(Fault(at, "too_long", f"must have at most {LARGEST} bytes"))

    def admit(self, tx: Tx, subject: UUID, sample: Behavior) -> str | None:
        """Return a sample to hold in its flow; None without consent, so that it is dropped."""
        if not self.consented(tx, subject):
            return None
        return sample.model_dump_json(by_alias=True, exclude_none=True)

    def consented(self, tx: Tx, subject: UUID, *, for_share: bool = False) -> bool:
        """Tell whether the subject agreed to it; see `Accounts.consented`."""
        return self._accounts.consented(tx, subject, PURPOSE, for_share=for_share)

    def stored(self, tx: Tx, subject: UUID, *, lock: bool = False) -> Sequence[Sealed]:
        """Return the profiles of a subject as they are stored: one statement."""
        return store.of_subject(tx, subject, lock=lock)

    def open(
        self,
        tx: Tx,
        typist: TypingProfileKey,
        rows: Sequence[Sealed] | None = None,
        *,
        lock: bool = False,
    ) -> Opened:
        """Return the profiles of a typist; `rows` are what is stored, where it was read already.

        Raises:
            CryptoError: One does not open, or this process does not hold the class.
            ValueError: One is not of a known form.
        """
        stored = self.stored(tx, typist.subject, lock=lock) if rows is None else rows
        return _opened(tx, stored, typist)

    def compare(self, found: Read, opened: Opened) -> dict[str, SignalScore]:
        """Return what each part of a sample says, and each usual part that was not sent."""
        parts = compare_all(found, opened.kept, self._models)
        # A touch stays away from the keys it came with; without keys that they do says it all.
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
        """Return what it says that no sample came at all; None where none is usual."""
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
        """Note a login at AAL2 without a sample: from then on it is less unusual."""
        store.missed(tx, subject, classes, EXPECTED)

    def learn(
        self, tx: Tx, typist: TypingProfileKey, sample: Behavior, *, first: bool = False
    ) -> str | None:
        """Teach the profiles a sample; return why it was not taken, None where it was.

        Args:
            tx: A unit of work of a login that reached AAL2, or of an import that is allowed.
            typist: Whose.
            sample: What was typed.
            first: Whether it is only taken while there is no profile yet.

        Raises:
            Conflict: It should have been the first, and another request made a profile meanwhile.
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

    def delete_for(self, tx: Tx, subject: UUID) -> int:
        """Forget a subject's profiles, of a consent or a password that is no more; return how many.

        All of them are of the password: how another is typed says nothing about it.
        """
        return store.drop(tx, subject)

    def drop_older(self, tx: Tx, now: datetime) -> int:
        """Forget profiles that say nothing of today any more; return how many."""
        return store.drop_older(tx, now - KEPT)

    def note_import(
        self, tx: Tx, subject: UUID, actor: str, accepted: int, total: int, *, granted: bool
    ) -> None:
        """Write to the log that samples from elsewhere were learned, and by which right."""
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
        """Forget a subject's profiles at somebody's wish, alarms too; return how many."""
        count = store.drop(tx, subject)
        self._audit.append(tx, "behavior.reset", subject=subject, actor=actor, profiles=count)
        return count

    def learned(self, tx: Tx, subject: UUID) -> int:
        """Return how many samples a subject's largest profile was made of."""
        return max((row.samples for row in store.of_subject(tx, subject)), default=0)

    def _anew(self, tx: Tx, typist: TypingProfileKey) -> Opened:
        rows = store.of_subject(tx, typist.subject, lock=True)
        try:
            return _opened(tx, rows, typist)
        except KeyUnavailable:
            raise
        except (CryptoError, ValueError):
            # What does not open counted as the worst until now; after AAL2 it begins anew, on
            # whatever class of device it is: left there it would speak against every login.
            logs.get().warning("behavior_begun_anew", code="unreadable_profile")
            kept = [row for row in rows if row.place.password != typist.password or _opens(tx, row)]
            store.drop_rows(tx, [row.id for row in rows if row not in kept])
            return _opened(tx, kept, typist)

    def _keep(self, tx: Tx, place: ProfileKey, vector: Vector, opened: Opened) -> bool:
        """Save the next state; False when another request made the first one meanwhile."""
        now, former = self._clock.now(), opened.kept.get(place.signal)
        kept = (former or Kept.empty(vector.layout)).learn(vector)
        if kept.parted and not (former and former.parted):
            self._alarm(tx, place)
        row, samples = opened.rows.get(place.signal), kept.profile.total
        if row is None:
            return store.add(tx, new_id(now), place, now, samples, kept.pack())
        store.save(tx, row.id, place, now, samples, kept.pack())
        return True

    def _alarm(self, tx: Tx, place: ProfileKey) -> None:
        self._audit.append(
            tx,
            "behavior.parted",
            subject=place.subject,
            signal=place.signal,
            device_class=place.device_class,
        )
        self._outbox.put(tx, "alarm.behavior_parted", None, {"subject": str(place.subject)})


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
