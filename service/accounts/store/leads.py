"""Resolve an identifier to a subject in one statement that always returns one row."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, and_, bindparam, exists, func, or_, select

from service.accounts.store.subjects import PLAIN_COLUMNS, Digests, Subject, SubjectIndex
from service.store.authentic import holds, joined_columns, joined_row_holds, refused
from service.store.base import table_of
from service.store.engine import AnyRow, AnySelect, Tx

_SUBJECTS: Final = table_of(Subject)
_INDEX: Final = table_of(SubjectIndex)


def _says(index: FromClause) -> ColumnElement[bool]:
    """Return the condition that an index row claims the queried identifier."""
    return and_(
        index.c.field == bindparam("b_field"),
        # While the index key rotates, a digest may be stored under either of two versions.
        or_(
            and_(
                index.c.key_version == bindparam("b_version"),
                index.c.digest == bindparam("b_digest"),
            ),
            and_(
                index.c.key_version == bindparam("b_other_version"),
                index.c.digest == bindparam("b_other_digest"),
            ),
        ),
    )


_PROOF: Final = _INDEX.alias("proof")
_ONE: Final = _INDEX.alias("one")
_RIVAL: Final = _INDEX.alias("rival")
_CLAIMANT: Final = _SUBJECTS.alias("claimant")
_OWNER: Final = (
    select(_PROOF.c.subject_id)
    .where(_says(_PROOF), _PROOF.c.verified_at.is_not(None))
    .limit(1)
    .scalar_subquery()
)
# Find any claimant, then check for another: two index probes, however many claims exist.
_ANY_CLAIMANT: Final = select(_ONE.c.subject_id).where(_says(_ONE)).limit(1).scalar_subquery()
_ONLY_CLAIMANT: Final = (
    select(_CLAIMANT.c.id)
    .where(
        _CLAIMANT.c.id == _ANY_CLAIMANT,
        _CLAIMANT.c.segment.in_(bindparam("b_segments", expanding=True)),
        ~exists().where(_says(_RIVAL), _RIVAL.c.subject_id != _CLAIMANT.c.id),
    )
    .scalar_subquery()
)
_DECOY: Final = bindparam("b_decoy", type_=_SUBJECTS.c.id.type)


def _resolving(*candidates: ColumnElement[UUID]) -> AnySelect:
    """Return the query for the first existing subject of some candidates, else the decoy."""
    mine = and_(_INDEX.c.subject_id == _SUBJECTS.c.id, _says(_INDEX))
    return (
        PLAIN_COLUMNS.add_columns(*joined_columns(SubjectIndex))
        .select_from(_SUBJECTS.outerjoin(_INDEX, mine))
        .where(_SUBJECTS.c.id == func.coalesce(*candidates, _DECOY))
        # If one version's digest is verified, prefer it.
        .order_by(_INDEX.c.verified_at.is_(None))
        .limit(1)
    )


_BY_PROOF: Final = _resolving(_OWNER)
_BY_CLAIM: Final = _resolving(_OWNER, _ONLY_CLAIMANT)


def resolve(
    tx: Tx, *, field: str, digests: Digests, decoy: UUID, unproven: Collection[str] = ()
) -> AnyRow:
    """Return the subject that an identifier leads to, else the decoy: one row at equal cost.

    The row contains the matching claim in the columns of `lead`; for the decoy they are empty.

    Args:
        tx: A transaction.
        field: The kind of identifier.
        digests: Its digests.
        decoy: The id of the decoy, which stands in for unknown subjects.
        unproven: The segments in which an unverified identifier leads to the only subject, of all
            segments, that claims it.
    """
    (version, digest) = digests[0]
    (other_version, other) = digests[-1]
    values: dict[str, object] = {
        "b_field": field,
        "b_version": version,
        "b_digest": digest,
        "b_other_version": other_version,
        "b_other_digest": other,
        "b_decoy": decoy,
    }
    if unproven:
        values["b_segments"] = list(unproven)
    # The choice of statement depends on the policy, never on whether the subject exists.
    statement = _BY_CLAIM if unproven else _BY_PROOF
    row = tx.execute(statement, values).one()
    if not joined_row_holds(tx, SubjectIndex, row):
        # The claim fails authentication, so it leads to no subject.
        row = tx.execute(statement, {**values, "b_digest": b"", "b_other_digest": b""}).one()
    if not holds(tx, Subject, row):
        raise refused()
    return row
