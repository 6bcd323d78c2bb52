"""Tables of roles, approvals and one-time bootstrap tokens."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import (
    JSON,
    ForeignKey,
    LargeBinary,
    String,
    UniqueConstraint,
    and_,
    bindparam,
    func,
    or_,
    select,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.domain.clock import SKEW
from service.operators.model import APPROVAL_LIFE, BOOTSTRAP_LIFE
from service.store.authentic import (
    change,
    delete_rows,
    holding,
    insert_once,
    one,
    reading,
    sound,
)
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import AnyRow, Tx
from service.store.personal_data import Personal, anybody
from service.store.shapes import Authentic


class OperatorRole(Authentic, Base):
    """A role of a subject."""

    __tablename__ = "operator_role"
    __members__ = ("granted_at", "granted_by")
    __personal__ = Personal(
        purpose="what the person may do as an operator",
        retention="until revoked",
        shown={"granted_by": anybody},
    )

    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(32), primary_key=True)
    granted_at: Mapped[datetime]
    granted_by: Mapped[str] = mapped_column(String(128))


class Approval(Authentic, Base):
    """A requested act that a second operator may approve, once, within a day."""

    __tablename__ = "approval"
    __members__ = (
        "act",
        "target",
        "params",
        "reason",
        "status",
        "requested_by",
        "decided_by",
        "created_at",
        "expires_at",
        "used_at",
    )
    __personal__ = Personal(
        purpose="acts that take two people, asked for, decided or suffered by the person",
        retention="400 days after the day in which it is decided; the log, always",
        of=lambda columns, whose: or_(
            columns.requested_by == whose.actor,
            columns.decided_by == whose.actor,
            columns.target == str(whose.subject),
        ),
        shown={"requested_by": anybody, "decided_by": anybody},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    act: Mapped[str] = mapped_column(String(32))
    target: Mapped[str] = mapped_column(String(128))
    params: Mapped[dict[str, str]] = mapped_column(JSON())
    reason: Mapped[str] = mapped_column(String(256))
    status: Mapped[str] = mapped_column(String(16))
    requested_by: Mapped[str] = mapped_column(String(64))
    decided_by: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class BootstrapToken(Authentic, Base):
    """A one-time token that makes a first operator; a round of tokens is issued together."""

    __tablename__ = "bootstrap_token"
    __members__ = ("round", "seat", "expires_at", "used_at")
    __until__ = "expires_at"
    __table_args__ = (UniqueConstraint("round", "seat"),)

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    round: Mapped[int]
    seat: Mapped[int]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


_ROLES: Final = table_of(OperatorRole)
_APPROVALS: Final = table_of(Approval)
_OF_SUBJECT: Final = reading(OperatorRole).where(_ROLES.c.subject_id == bindparam("b_subject"))
_ALL: Final = reading(OperatorRole).order_by(_ROLES.c.granted_at)
_TOKENS: Final = table_of(BootstrapToken)
_ACTS: Final = reading(Approval).order_by(_APPROVALS.c.id).with_for_update()
_FOR_CHANGE: Final = _ACTS.where(_APPROVALS.c.id == bindparam("b_id"))
_BOOTSTRAP: Final = reading(BootstrapToken).order_by(_TOKENS.c.digest).with_for_update()
_TOKEN: Final = _BOOTSTRAP.where(_TOKENS.c.digest == bindparam("b_digest"))


def roles(tx: Tx, subject: UUID) -> frozenset[str]:
    """Return the roles of a subject."""
    rows = holding(tx, OperatorRole, _OF_SUBJECT, {"b_subject": subject})
    return frozenset(row.role for row in rows)


def listing(tx: Tx) -> Sequence[AnyRow]:
    """Return all roles of all operators, by time of grant."""
    return holding(tx, OperatorRole, _ALL, {})


def page(tx: Tx, after: UUID | None, limit: int) -> Sequence[AnyRow]:
    """Return the roles of a page of operators with ids above `after`, by subject."""
    subjects = select(_ROLES.c.subject_id).distinct().order_by(_ROLES.c.subject_id).limit(limit)
    if after is not None:
        subjects = subjects.where(_ROLES.c.subject_id > after)
    query = reading(OperatorRole).where(_ROLES.c.subject_id.in_(subjects))
    return holding(tx, OperatorRole, query.order_by(_ROLES.c.subject_id, _ROLES.c.role), {})


def lock_roles(tx: Tx) -> None:
    """Lock all roles, to serialize changes and uses of them; lock the subject first (ADR 6)."""
    query = select(_ROLES.c.role).order_by(_ROLES.c.subject_id, _ROLES.c.role)
    tx.execute(query.with_for_update()).all()


def grant(tx: Tx, subject: UUID, *, role: str, now: datetime, by: str) -> bool:
    """Grant a role; False if the subject has it already."""
    values = {"subject_id": subject, "role": role, "granted_at": now, "granted_by": by}
    return insert_once(tx, model=OperatorRole, values=values)


def revoke(tx: Tx, subject: UUID, role: str) -> bool:
    """Revoke a role; False if the subject does not have it."""
    which = (_ROLES.c.subject_id == subject, _ROLES.c.role == role)
    return delete_rows(tx, OperatorRole, *which) > 0


def approval(tx: Tx, number: UUID) -> Approval | None:
    """Return an approval, read again from the database; None if unknown."""
    return tx.get(Approval, number, populate_existing=True)


def undecided(tx: Tx, actor: str, now: datetime) -> Sequence[datetime]:
    """Return when an actor's undecided requests expire, soonest first."""
    mine = (
        _APPROVALS.c.requested_by == actor,
        _APPROVALS.c.status == "pending",
        _APPROVALS.c.expires_at > now,
    )
    query = select(_APPROVALS.c.expires_at).where(*mine).order_by(_APPROVALS.c.expires_at)
    return tx.scalars(query).all()


def approvals(tx: Tx, now: datetime, before: UUID | None, limit: int) -> list[Approval]:
    """Return a page of approvals that have not expired, decided or not, newest first."""
    query = select(Approval).where(Approval.expires_at > now).order_by(Approval.id.desc())
    if before is not None:
        query = query.where(Approval.id < before)
    return sound(tx, query.limit(limit))


def _is_valid(row: AnyRow, now: datetime) -> bool:
    """Tell whether an approval has not expired and was not requested in the future."""
    ends: datetime = row.expires_at
    return now < ends <= now + APPROVAL_LIFE + SKEW


def decide(tx: Tx, *, number: UUID, status: str, by: str, now: datetime) -> bool:
    """Decide a pending approval; False if it was decided, has expired, or is the decider's own."""
    row = one(tx, Approval, _FOR_CHANGE, {"b_id": number})
    if row is None or row.status != "pending" or row.requested_by == by:
        return False
    return _is_valid(row, now) and change(tx, Approval, row, status=status, decided_by=by)


def use(tx: Tx, number: UUID, now: datetime) -> bool:
    """Use an approval; False if it is not approved, was used before, or has expired."""
    row = one(tx, Approval, _FOR_CHANGE, {"b_id": number})
    if row is None or row.status != "approved" or not _is_valid(row, now):
        return False
    return change(tx, Approval, row, status="used", used_at=now)


def stop(tx: Tx, number: UUID) -> bool:
    """Mark a used approval as stopped; False if it was not used."""
    row = one(tx, Approval, _FOR_CHANGE, {"b_id": number})
    return row is not None and row.status == "used" and change(tx, Approval, row, status="stopped")


def void(tx: Tx, who: str, acts: Sequence[str]) -> Sequence[AnyRow]:
    """Void an actor's open requests and approvals of some acts; return their rows."""
    given = and_(_APPROVALS.c.status == "approved", _APPROVALS.c.decided_by == who)
    query = _ACTS.where(
        _APPROVALS.c.status.in_(("pending", "approved")),
        _APPROVALS.c.act.in_(acts),
        or_(_APPROVALS.c.requested_by == who, given),
    )
    rows = holding(tx, Approval, query, {})
    return [row for row in rows if change(tx, Approval, row, status="void")]


def last_round(tx: Tx) -> int:
    """Return the number of the newest round of bootstrap tokens, 0 before the first."""
    return tx.execute(select(func.max(_TOKENS.c.round))).scalar() or 0


def add_token(tx: Tx, values: Mapping[str, object]) -> bool:
    """Add a token; False if another process has filled that seat of that round."""
    return insert_once(tx, model=BootstrapToken, values=values)


def close_tokens(tx: Tx, now: datetime) -> None:
    """Expire every unused token."""
    unused = _BOOTSTRAP.where(_TOKENS.c.used_at.is_(None), _TOKENS.c.expires_at > now)
    for row in holding(tx, BootstrapToken, unused, {}):
        change(tx, BootstrapToken, row, expires_at=now)


def drop_old(tx: Tx, approvals: datetime, tokens: datetime) -> int:
    """Delete a page of approvals and one of tokens that expired before given times."""
    count = drop_page(tx, _APPROVALS, _APPROVALS.c.expires_at <= approvals)
    return count + drop_page(tx, _TOKENS, _TOKENS.c.expires_at <= tokens)


def use_token(tx: Tx, digest: bytes, now: datetime) -> bool:
    """Use a bootstrap token; False if it is unknown, used or expired."""
    row = one(tx, BootstrapToken, _TOKEN, {"b_digest": digest})
    if row is None or row.used_at is not None:
        return False
    # A later expiry was set by a wrong clock.
    valid = now < row.expires_at <= now + BOOTSTRAP_LIFE + SKEW
    return valid and change(tx, BootstrapToken, row, used_at=now)
