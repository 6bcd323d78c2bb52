"""Claims to identifiers, their owners, and pending verification codes."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, or_, select, tuple_

from service.accounts.store.subjects import Digests, Subject, SubjectIndex, VerificationCode
from service.store.authentic import (
    delete_rows,
    forgotten,
    holding,
    holds,
    joined_columns,
    joined_row_holds,
    reading,
)
from service.store.base import table_of
from service.store.dropping import drop_page
from service.store.engine import AnyRow, Tx

_INDEX: Final = table_of(SubjectIndex)
_ROWS: Final = reading(SubjectIndex)
_OTHER: Final = _INDEX.alias("other")
_MOST_CLAIMS: Final = 100
FIRST: Final = (UUID(int=0), "")
"""A position before every identifier, in the order of `outdated`."""


class Claim(NamedTuple):
    """A subject's claim to an identifier, and when it was verified."""

    id: UUID
    subject_id: UUID
    field: str
    verified_at: datetime | None


def claims_of(tx: Tx, rows: Iterable[AnyRow]) -> list[Claim]:
    """Return the claims in index rows; a row that fails authentication counts as unverified."""
    return [
        Claim(
            row.id,
            row.subject_id,
            row.field,
            row.verified_at if holds(tx, SubjectIndex, row) else None,
        )
        for row in rows
    ]


def undigested(tx: Tx, version: int, after: UUID, limit: int) -> list[Claim]:
    """Return the identifiers without a digest of a version."""
    query = reading(SubjectIndex).where(_lacks(version), _INDEX.c.id > after)
    return claims_of(tx, tx.execute(query.order_by(_INDEX.c.id).limit(limit)))


def count_undigested(tx: Tx, version: int) -> int:
    """Count the identifiers without a digest of a version."""
    return tx.execute(select(func.count()).select_from(_INDEX).where(_lacks(version))).scalar_one()


def _lacks(version: int) -> ColumnElement[bool]:
    new = _INDEX.alias()
    same = (new.c.subject_id == _INDEX.c.subject_id, new.c.field == _INDEX.c.field)
    return and_(
        _INDEX.c.key_version != version, ~exists().where(*same, new.c.key_version == version)
    )


def drop_dead_digests(tx: Tx, after: UUID, live: Collection[int], limit: int) -> list[UUID]:
    """Delete a page of digests of versions that are not live; return their ids."""
    page = (
        select(_INDEX.c.id)
        .where(_INDEX.c.key_version.not_in(live), _INDEX.c.id > after)
        .order_by(_INDEX.c.id)
        .limit(limit)
    )
    ids = list(tx.execute(page).scalars())
    forgotten(tx, SubjectIndex, delete(_INDEX).where(_INDEX.c.id.in_(ids)))
    return ids


class Claimant(NamedTuple):
    """A subject that claims an identifier, and whether it is verified."""

    id: UUID
    client_id: UUID
    verified: bool


def claiming(tx: Tx, field: str, digests: Digests, segments: Collection[str]) -> Sequence[Claimant]:
    """Return the subjects of some segments that claim an identifier, the owner first.

    At most 100 claims are read; further ones would identify no single subject anyway.
    """
    proven = SubjectIndex.verified_at.is_not(None)
    query = (
        select(Subject.id, Subject.client_id, *joined_columns(SubjectIndex))
        .join(SubjectIndex, SubjectIndex.subject_id == Subject.id)
        .where(
            SubjectIndex.field == field,
            tuple_(SubjectIndex.key_version, SubjectIndex.digest).in_(list(digests)),
            Subject.segment.in_(list(segments)),
        )
        .order_by(proven.desc(), Subject.id)
        .limit(_MOST_CLAIMS)
    )
    found: dict[UUID, Claimant] = {}
    for row in tx.execute(query):
        # Each version of the index key may have a row for the same subject.
        if joined_row_holds(tx, SubjectIndex, row):
            verified = row.lead_verified_at is not None
            found.setdefault(row.id, Claimant(row.id, row.client_id, verified))
    return list(found.values())


def verified_fields(tx: Tx, subject: UUID) -> frozenset[str]:
    """Return the kinds of identifier that a subject has verified."""
    mine = (_INDEX.c.subject_id == subject, _INDEX.c.verified_at.is_not(None))
    return frozenset(row.field for row in holding(tx, SubjectIndex, _ROWS.where(*mine), {}))


def verified_since(tx: Tx, subject: UUID, field: str) -> datetime | None:
    """Return when a subject verified an identifier; None if it has not."""
    query = _ROWS.where(
        _INDEX.c.subject_id == subject, _INDEX.c.field == field, _INDEX.c.verified_at.is_not(None)
    )
    rows = holding(tx, SubjectIndex, query, {})
    return max((row.verified_at for row in rows), default=None)


def claimants(tx: Tx, subject: UUID, field: str) -> list[UUID]:
    """Return the subjects that claim the same identifier, including this one, by id.

    At most 100 claims are read, so that many claims cannot prolong a verification without bound.
    """
    query = _same_as(subject, field).with_only_columns(_OTHER.c.subject_id).distinct()
    some = query.order_by(_OTHER.c.subject_id).limit(_MOST_CLAIMS)
    return sorted({subject, *tx.execute(some).scalars()})


def owner(tx: Tx, field: str, digests: Digests) -> UUID | None:
    """Return the subject that has verified an identifier, if any."""
    query = _ROWS.where(
        _INDEX.c.field == field,
        tuple_(_INDEX.c.key_version, _INDEX.c.digest).in_(list(digests)),
        _INDEX.c.verified_at.is_not(None),
    )
    return next((row.subject_id for row in holding(tx, SubjectIndex, query, {})), None)


def outdated(tx: Tx, form: int, after: tuple[UUID, str], limit: int) -> Sequence[Claim]:
    """Return a page of identifiers with digests of an older form, by subject and field."""
    subject, field = after
    order = (_INDEX.c.subject_id, _INDEX.c.field, _INDEX.c.verified_at.desc())
    query = (
        _ROWS.where(
            _INDEX.c.form < form,
            or_(
                _INDEX.c.subject_id > subject,
                and_(_INDEX.c.subject_id == subject, _INDEX.c.field > field),
            ),
        )
        .order_by(*order)
        .limit(limit)
    )
    found: dict[tuple[UUID, str], Claim] = {}
    for claim in claims_of(tx, tx.execute(query)):
        key = (claim.subject_id, claim.field)
        if key not in found or claim.verified_at:
            found[key] = claim
    return list(found.values())


def drop_claim(tx: Tx, subject: UUID, field: str) -> None:
    """Delete a subject's claim to an identifier, and the code that was sent to it."""
    delete_rows(tx, SubjectIndex, _INDEX.c.subject_id == subject, _INDEX.c.field == field)
    drop_code(tx, subject, field)


def drop_code(tx: Tx, subject: UUID, field: str) -> None:
    """Delete the code that was sent to an address."""
    mine = (VerificationCode.subject_id == subject, VerificationCode.field == field)
    delete_rows(tx, VerificationCode, *mine)


def drop_codes(tx: Tx, now: datetime) -> int:
    """Delete a page of expired codes; return how many."""
    codes = table_of(VerificationCode)
    return drop_page(tx, codes, codes.c.expires_at <= now)


def verification(tx: Tx, subject: UUID, field: str) -> VerificationCode | None:
    """Return the code that was sent to an address."""
    query = select(VerificationCode).where(
        VerificationCode.subject_id == subject, VerificationCode.field == field
    )
    return tx.scalars(query).first()


def _same_as(subject: UUID, field: str) -> Select[UUID]:
    same = [_OTHER.c[name] == _INDEX.c[name] for name in ("field", "key_version", "digest")]
    mine = (_INDEX.c.subject_id == subject, _INDEX.c.field == field)
    return select(_INDEX.c.id).join(_OTHER, and_(*same)).where(*mine)
