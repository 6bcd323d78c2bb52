"""Codes that verify an address: bound to its normal form and rate-limited."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from crypto import opaque
from service.accounts.actions.claims import Claims, address
from service.accounts.model import IdentifierType
from service.accounts.store import claims
from service.accounts.store.subjects import Subject, VerificationCode
from service.domain.clock import Clock, in_force
from service.domain.codes import read_digits
from service.domain.errors import BadInput, Expired, Fault, NotFound, Throttled, Unavailable
from service.domain.ids import new_id
from service.notifications.actions.outbox import Outbox
from service.store.engine import Tx
from service.throttling.actions import Limits
from service.throttling.model import AttemptLimit

LIFE: Final = timedelta(minutes=10)
LENGTH: Final = 8
_HOUR: Final = 3600
_DAY: Final = timedelta(days=1)
TO_ADDRESS: Final = AttemptLimit(
    name="send:address", most=20, span=_DAY, gaps=(0, 30, 120, 600, _HOUR)
)
"""Per segment: five in the first hour, then one an hour; at most twenty until a day is quiet."""
ANYWHERE: Final = AttemptLimit(name="send:anywhere", most=20, span=_DAY, gaps=(0, 0, 0, 0, _HOUR))
"""Over all segments, silently: a client must not learn about requests of other clients."""
OF_SUBJECT: Final = AttemptLimit(
    name="send:subject", most=40, span=_DAY, gaps=(0, 0, 0, 30, 60, 120, 300, 600, _HOUR)
)
OF_CLIENT: Final = AttemptLimit(
    name="send:client", most=3600, span=timedelta(hours=1), rolling=False
)
GUESSES: Final = AttemptLimit(name="guess", most=5, span=timedelta(hours=1))
"""Per address of a subject, regardless of how many codes were sent."""


class Codes:
    """Sends verification codes to addresses and checks them."""

    def __init__(self, claims: Claims, limits: Limits, outbox: Outbox, clock: Clock) -> None:
        self._claims = claims
        self._limits = limits
        self._outbox = outbox
        self._clock = clock

    def send(self, tx: Tx, row: Subject, field: IdentifierType, client: UUID | None) -> None:
        """Send a code to the address of a locked subject; it replaces earlier codes.

        If another subject has verified the address, that subject is notified instead.
        The response is the same, and no one can know the code, which was not sent.

        Raises:
            NotFound: The subject has no such address.
            Unavailable: No delivery is configured for this kind of address.
            Throttled: Too many codes were sent or guessed recently.
        """
        to = _address(row, field)
        now = self._clock.now()
        if not self._outbox.reaches(to):
            setting = "LAMINA_SMTP_URL" if field is IdentifierType.EMAIL else "LAMINA_SMS_URL"
            detail = f"Delivery to this address is not configured: {setting} is not set."
            raise Unavailable("delivery_not_configured", detail, _HOUR)
        quiet = self._reserve(tx, row, field=field, to=to, client=client)
        claims.drop_code(tx, row.id, field.value)
        code = opaque.digits(LENGTH)
        pending = VerificationCode(
            id=new_id(now), subject_id=row.id, field=field.value, expires_at=now + LIFE
        )
        pending.code = _sealed(code, to)
        tx.add(pending)
        tx.flush()
        owner = self._claims.owner(tx, row, field)
        if owner is None and not quiet:
            self._outbox.put(
                tx,
                kind="identifier.verification",
                subject=row.id,
                payload={"to": to, "code": code},
                life=LIFE,
            )
        elif owner is not None and not quiet:
            self._outbox.put(
                tx,
                kind="identifier.claimed",
                subject=owner,
                payload={"to": to, "field": field.value},
            )

    def check(
        self, tx: Tx, row: Subject, *, field: IdentifierType, typed: str, others: list[UUID]
    ) -> bool:
        """Check a code; the attempt counts if the caller commits, whether or not the code matches.

        Args:
            tx: A transaction in which the subject and the others are locked.
            row: The subject.
            field: The kind of address.
            typed: The code as typed.
            others: The subjects that claim the same address.

        Raises:
            BadInput: The text is not a code; this does not count as an attempt.
            Expired: No code is active, or the attempts are used up.
        """
        code = read_digits(typed, LENGTH)
        if code is None:
            detail = f"must be the {LENGTH} digits that were sent"
            raise BadInput(Fault("/code", "invalid_code", detail))
        to = address(row, field)
        pending = claims.verification(tx, row.id, field.value)
        if to is None or pending is None or not self._fresh(pending):
            raise _expired()
        if self._limits.take(tx, GUESSES, _guessed(row.id, field, to)):
            raise _expired()
        if not opaque.equal(pending.code, _sealed(code, to)):
            return False
        claims.drop_code(tx, row.id, field.value)
        return self._claims.prove(tx, row, field, others)

    def _fresh(self, pending: VerificationCode) -> bool:
        return in_force(pending.expires_at, self._clock.now(), LIFE)

    def _reserve(
        self, tx: Tx, row: Subject, *, field: IdentifierType, to: str, client: UUID | None
    ) -> bool:
        """Count a send; return True if it must look sent but nothing may be delivered."""
        name = f"{field.value}|{to}"
        # A new code grants no new guesses: if those are used up, a code would be useless.
        wait = (
            self._limits.left(tx, GUESSES, _guessed(row.id, field, to))
            or self._limits.take(tx, TO_ADDRESS, f"{row.segment}|{name}")
            or self._limits.take(tx, OF_SUBJECT, str(row.id))
        )
        quiet = not wait and self._limits.take(tx, ANYWHERE, name) > 0
        # The client's counter, shared by all its requests, is locked last.
        wait = wait or (self._limits.take(tx, OF_CLIENT, str(client)) if client else 0)
        if wait:
            detail = "Too many codes were requested or guessed; try again later."
            raise Throttled(wait, "verification_limited", detail)
        return quiet


def _address(row: Subject, field: IdentifierType) -> str:
    to = address(row, field)
    if to is None:
        raise NotFound("identifier_not_found", f"This subject has no {field.value}.")
    return to


def _sealed(code: str, to: str) -> bytes:
    return f"{code}|{to}".encode()


def _guessed(subject: UUID, field: IdentifierType, to: str) -> str:
    return f"{subject}|{field.value}|{to}"


def _expired() -> Expired:
    return Expired("verification_expired", "Ask for a new code.")
