"""Assess network, device and time of a login; learn after AAL2; count failures."""

import hmac
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

from crypto.errors import CryptoError, KeyUnavailable
from service.domain.errors import naming
from service.domain.ids import new_id
from service.risk.model import UNSAID, Assessment, ClientContext, Reason, SignalFacts
from service.signals.login_context import blocklist, findings, model, population, shown, store
from service.signals.login_context.blocklist import Blocks
from service.signals.login_context.features import Level, Observed, observe
from service.signals.login_context.findings import Failures, Finding
from service.signals.login_context.geoip import Places
from service.signals.login_context.history import DIGEST, History, PastLogin, digests, unpack
from service.signals.login_context.model import LOWEST
from service.signals.login_context.population import NO_POPULATION, LoginPopulation
from service.signals.login_context.reasons import detail
from service.signals.login_context.reloading import Watched
from service.store.ahead import PlannedRead
from service.store.engine import Tx
from service.store.erasing import erases
from service.telemetry import logs

KEPT: Final = timedelta(days=400)
"""Time after its last update when a history has no weight."""
COUNTED: Final = timedelta(hours=1)
"""Time for which a failure counts."""
FRESH: Final = timedelta(minutes=5)
"""Maximum age of the population snapshot."""
_PURPOSE: Final = "login-context"
_EVERYBODY: Final = b"everybody"
_MOST_FOLDED: Final = 5000
_LEAST_WEIGHT: Final = 0.5


class LoginContextSignal:
    """The signal `login_context`.

    Args:
        purpose_key: Returns the key of the digests.
        geoip: Databases in MaxMind's format; without any, prefixes stand for networks.
        bad_networks: A file of CIDR blocks known to be bad.

    Raises:
        SetupError: A file cannot be read; the detail names it.
    """

    name = "login_context"
    worst = LOWEST

    def __init__(
        self,
        purpose_key: Callable[[Tx, str], bytes],
        geoip: Sequence[Path] = (),
        bad_networks: Path | None = None,
    ) -> None:
        self._purpose_key = purpose_key
        with naming("LAMINA_GEOIP_DB"):
            self._places = Places(geoip)
        with naming("LAMINA_BAD_NETWORKS"):
            self._bad = Watched[Blocks](bad_networks, blocklist.read) if bad_networks else None
        self._population = NO_POPULATION
        self._read_at: datetime | None = None

    def assess(self, tx: Tx, facts: SignalFacts) -> Assessment:
        """Score the login against the subject's earlier logins."""
        seen = self._observe(facts)
        key = self._purpose_key(tx, _PURPOSE)
        try:
            found = store.history(tx, facts.subject)
        except CryptoError:
            return self._unreadable()
        history = unpack(found[1]) if found else None
        login = _login(key, facts, seen)
        everybody = self._everybody(tx, facts.now)
        shares = everybody.counts.shares(digests(key, _EVERYBODY, seen.values))
        score = model.score(history, login, everybody.counts, shares)
        against = self._against(tx, key=key, facts=facts, seen=seen, login=login, history=history)
        total = score.total + sum(finding.nats for finding in against)
        parts = [(part.code, part.nats) for part in score.contributions]
        parts += [(finding.code, finding.nats) for finding in against]
        parts += [("address_unreadable", 0.0)] if seen.unreadable else []
        return Assessment(
            signal=self.name,
            llr=model.soft_clip(total),
            reasons=tuple(self._reason(*part) for part in parts),
            enough_history=score.enough,
            hard=any(finding.hard for finding in against),
        )

    def ahead(self, tx: Tx, facts: SignalFacts) -> Sequence[PlannedRead]:
        """Return what `assess` reads."""
        key = self._purpose_key(tx, _PURPOSE)
        return (
            store.history_ahead(facts.subject),
            _failures(key, facts, self._observe(facts)),
        )

    def learn(self, tx: Tx, facts: SignalFacts) -> None:
        """Add a login that reached AAL2 to its subject's history; the subject is locked."""
        seen = self._observe(facts)
        key = self._purpose_key(tx, _PURPOSE)
        login = _login(key, facts, seen)
        try:
            history = self._learned(tx, facts, login) or self._learned(tx, facts, login)
        except KeyUnavailable:
            logs.get().warning("login_context_not_learned", code="key_unavailable")
            return
        if history is not None and history[1]:
            joined = population.joined(digests(key, _EVERYBODY, seen.values))
            store.note_seen(tx, new_id(facts.now), facts.now, joined)

    def failed(self, tx: Tx, facts: SignalFacts) -> None:
        """Count a failure by keyed digests; also for the decoy, so that both cost the same."""
        key = self._purpose_key(tx, _PURPOSE)
        seen = self._observe(facts)
        values = {
            "id": new_id(facts.now),
            "at": facts.now,
            "known_device": facts.known_device,
            "subject_digest": _of_subject(key, facts.subject),
            "network_digest": _of_network(key, seen),
        }
        store.add_failure(tx, values)

    def origin(self, said: ClientContext, now: datetime) -> shown.LoginOrigin | None:
        """Return what a session keeps of where it began, as `shown.origin` does."""
        return shown.origin(said, partial(self._places.locate, now=now))

    @erases("behavior", tables=("login_context_history",))
    def delete_for(self, tx: Tx, subject: UUID) -> int:
        """Delete a subject's history and failures; return the number of histories."""
        store.forget_failures(tx, _of_subject(self._purpose_key(tx, _PURPOSE), subject))
        return store.drop(tx, subject)

    def drop_older(self, tx: Tx, now: datetime) -> int:
        """Delete histories without weight; return how many."""
        return store.drop_older(tx, now - KEPT)

    def fold(self, tx: Tx, now: datetime) -> int:
        """Update the population counts; return the number of logins included.

        Logins and failures only insert rows, which never wait. Only this task, which runs once at a
        time, changes the counts.
        """
        logins = store.take_seen(tx, _MOST_FOLDED)
        each = population.weight(now)
        if logins:
            store.fold(tx, population.folded(logins, each))
            store.prune(tx, _LEAST_WEIGHT * each)
        present = population.window_of(now)
        store.set_tallies(
            tx,
            [
                (start, store.failed_between(tx, start, start + population.WINDOW))
                for start in (present - population.WINDOW, present)
            ],
        )
        store.drop_tallies(tx, now - population.COMPARED - 2 * population.WINDOW)
        return len(logins)

    def drop_failures(self, tx: Tx, now: datetime) -> int:
        """Delete a page of failures that no longer count; return how many."""
        return store.drop_failures(tx, now - COUNTED)

    def _observe(self, facts: SignalFacts) -> Observed:
        # A context from a client that may not assert it counts as unknown.
        context = facts.client_context if facts.client_context.asserted else UNSAID
        locate = partial(self._places.locate, now=facts.now)
        return observe(
            context.ip,
            agent_text=context.user_agent,
            languages=context.accept_language,
            now=facts.now,
            locate=locate,
        )

    def _learned(self, tx: Tx, facts: SignalFacts, login: PastLogin) -> tuple[History, bool] | None:
        """Store the next history; return None if another request created the first meanwhile."""
        row, history = self._former(tx, facts.subject)
        history.learn(login)
        due = history.due(login.at)
        packed = history.pack()
        if row is not None:
            store.save(tx, row, subject=facts.subject, now=facts.now, content=packed)
        elif not store.add(
            tx, new_id(facts.now), subject=facts.subject, now=facts.now, content=packed
        ):
            return None
        return history, due

    def _former(self, tx: Tx, subject: UUID) -> tuple[UUID | None, History]:
        try:
            found = store.history(tx, subject)
            return (found[0], unpack(found[1])) if found else (None, History())
        except KeyUnavailable:
            raise
        except (CryptoError, ValueError):
            # A history that does not open counted as the worst; after AAL2 a new one starts.
            logs.get().warning("login_context_begun_anew", code="unreadable_history")
            return store.row_of(tx, subject), History()

    def _everybody(self, tx: Tx, now: datetime) -> LoginPopulation:
        if self._read_at is None or now - self._read_at >= FRESH:
            self._read_at = now
            self._population = LoginPopulation(
                population.snapshot(store.population(tx), now),
                population.surge(store.tallies(tx), now),
            )
        return self._population

    def _against(
        self,
        tx: Tx,
        *,
        key: bytes,
        facts: SignalFacts,
        seen: Observed,
        login: PastLogin,
        history: History | None,
    ) -> list[Finding]:
        subject, network = store.failures(tx, _failures(key, facts, seen))
        failures = Failures(subject, network, self._population.surge)
        found = findings.failing(failures, known_device=facts.known_device)
        if self._bad and blocklist.holds(self._bad.get(facts.now), seen.address):
            found.append(Finding("listed_network", findings.HARD, hard=True))
        travel = findings.travel(history, login) if history else None
        return [*found, travel] if travel else found

    def _reason(self, code: str, nats: float) -> Reason:
        return Reason(code, self.name, round(nats, 3), detail(code))

    def _unreadable(self) -> Assessment:
        reason = self._reason("history_unreadable", self.worst)
        return Assessment(signal=self.name, llr=self.worst, reasons=(reason,))


def _login(key: bytes, facts: SignalFacts, seen: Observed) -> PastLogin:
    return PastLogin(
        at=int(facts.now.timestamp()),
        hour=seen.hour,
        known_device=facts.known_device,
        digests=digests(key, facts.subject.bytes, seen.values),
        version=seen.version,
        place=seen.place,
    )


def _failures(key: bytes, facts: SignalFacts, seen: Observed) -> PlannedRead:
    strangers = bool(seen.address) and not facts.known_device
    return store.failures_ahead(
        _of_subject(key, facts.subject),
        _of_network(key, seen) if strangers else b"",
        facts.now - COUNTED,
        known_only=facts.known_device,
    )


def _of_subject(key: bytes, subject: UUID) -> bytes:
    return hmac.digest(key, b"failed-subject" + subject.bytes, "sha256")[:DIGEST]


def _of_network(key: bytes, seen: Observed) -> bytes:
    prefix = seen.values.get(Level.PREFIX, b"")
    return hmac.digest(key, b"failed-network" + prefix, "sha256")[:DIGEST]
