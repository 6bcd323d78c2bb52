"""Who claims an identifier, who has proven it, and the codes that are out to prove it."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, and_, delete, func, select, tuple_

from service.accounts.store import Digests, Subject, SubjectIndex, VerificationCode
from service.store.base import table_of
from service.store.engine import Tx

_INDEX: Final = table_of(SubjectIndex)
_OTHER: Final = _INDEX.alias("other")
_MOST_CLAIMS: Final = 100


def claiming(tx: Tx, field: str, digests: Digests, segments: Collection[str]) -> Sequence[Any]:
    """Return who of some segments claims an identifier (id, client_id, verified), the owner first.

    Of very many claims some are left out, which are nobody's alone in any case.
    """
    verified = func.max(SubjectIndex.verified_at).is_not(None)
    query = (
        select(Subject.id, Subject.client_id, verified.label("verified"))
        .join(SubjectIndex, SubjectIndex.subject_id == Subject.id)
        .where(
            SubjectIndex.field == field,
            tuple_(SubjectIndex.key_version, SubjectIndex.digest).in_(list(digests)),
            Subject.segment.in_(list(segments)),
        )
        .group_by(Subject.id, Subject.client_id)
        .order_by(verified.desc(), Subject.id)
        .limit(_MOST_CLAIMS)
    )
    return tx.execute(query).all()


def verified_fields(tx: Tx, subject: UUID) -> frozenset[str]:
    """Return the kinds of identifier that a subject has proven."""
    mine = (_INDEX.c.subject_id == subject, _INDEX.c.verified_at.is_not(None))
    return frozenset(tx.execute(select(_INDEX.c.field).where(*mine)).scalars())


def claimants(tx: Tx, subject: UUID, field: str) -> list[UUID]:
    """Return who claims the same identifier as a subject, by id, the subject too.

    Of very many claims some are left out, so that nobody can make a proof last for ever.
    """
    query = _same_as(subject, field).with_only_columns(_OTHER.c.subject_id).distinct()
    some = query.order_by(_OTHER.c.subject_id).limit(_MOST_CLAIMS)
    return sorted({subject, *tx.execute(some).scalars()})


def owner(tx: Tx, field: str, digests: Digests) -> UUID | None:
    """Return who has proven an identifier."""
    query = select(_INDEX.c.subject_id).where(
        _INDEX.c.field == field,
        tuple_(_INDEX.c.key_version, _INDEX.c.digest).in_(list(digests)),
        _INDEX.c.verified_at.is_not(None),
    )
    return tx.execute(query).scalars().first()


def outdated(tx: Tx, form: int, limit: int) -> Sequence[Any]:
    """Return identifiers (subject_id, field, verified_at) whose digests are of an older form."""
    query = (
        select(
            _INDEX.c.subject_id, _INDEX.c.field,
            func.max(_INDEX.c.verified_at).label("verified_at"),
        )
        .where(_INDEX.c.form < form)
        .group_by(_INDEX.c.subject_id, _INDEX.c.field)
        .order_by(_INDEX.c.subject_id)
        .limit(limit)
    )  # fmt: skip
    return tx.execute(query).all()


def drop_claim(tx: Tx, subject: UUID, field: str) -> None:
    """Let go of a subject's identifier of one kind, and of the code that was sent to it."""
    tx.execute(delete(_INDEX).where(_INDEX.c.subject_id == subject, _INDEX.c.field == field))
    drop_code(tx, subject, field)


def drop_code(tx: Tx, subject: UUID, field: str) -> None:
    """Delete the code that was sent to an address."""
    mine = (VerificationCode.subject_id == subject, VerificationCode.field == field)
    tx.execute(delete(VerificationCode).where(*mine))


def drop_codes(tx: Tx, now: datetime) -> int:
    """Delete the codes that count no more; return how many."""
    gone = delete(VerificationCode).where(VerificationCode.expires_at <= now)
    return len(tx.execute(gone.returning(VerificationCode.id)).all())


def verification(tx: Tx, subject: UUID, field: str) -> VerificationCode | None:
    """Return the code that was sent for an address."""
    query = select(VerificationCode).where(
        VerificationCode.subject_id == subject, VerificationCode.field == field
    )
    return tx.scalars(query).first()


def _same_as(subject: UUID, field: str) -> Select[Any]:
    same = [_OTHER.c[name] == _INDEX.c[name] for name in ("field", "key_version", "digest")]
    mine = (_INDEX.c.subject_id == subject, _INDEX.c.field == field)
    return select(_INDEX.c.id).join(_OTHER, and_(*same)).where(*mine)
