"""Tables of roles, approvals and one-time bootstrap tokens."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    LargeBinary,
    String,
    UniqueConstraint,
    and_,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.domain.clock import SKEW
from service.operators.model import APPROVAL_LIFE, BOOTSTRAP_LIFE
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import Tx, insert_once
from service.store.personal import Personal, anybody


class OperatorRole(Base):
    """One role of one subject."""

    __tablename__ = "operator_role"
    __personal__ = Personal(
        "what the person may do as an operator", "until revoked", shown={"granted_by": anybody}
    )

    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(32), primary_key=True)
    granted_at: Mapped[datetime]
    granted_by: Mapped[str] = mapped_column(String(128))


class Approval(Base):
    """An act that one operator asked for and another may approve, once, within a day."""

    __tablename__ = "approval"
    __personal__ = Personal(
        "acts that take two people, asked for, decided or suffered by the person",
        "400 days after the day in which it is decided; the log, always",
        of=lambda columns, whose: or_(
            columns.requested_by == whose.actor, columns.decided_by == whose.actor,
            columns.target == str(whose.subject),
        ),
        shown={"requested_by": anybody, "decided_by": anybody},
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(primary_key=True)
    act: Mapped[str] = mapped_column(String(32))
    target: Mapped[str] = mapped_column(String(128))
    params: Mapped[dict[str, Any]]
    reason: Mapped[str] = mapped_column(String(256))
    status: Mapped[str] = mapped_column(String(16))
    requested_by: Mapped[str] = mapped_column(String(64))
    decided_by: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class BootstrapToken(Base):
    """What makes one of the first operators, once; a round of them is given out together."""

    __tablename__ = "bootstrap_token"
    __table_args__ = (UniqueConstraint("round", "seat"),)

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    round: Mapped[int]
    seat: Mapped[int]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


_ROLES: Final = table_of(OperatorRole)
_APPROVALS: Final = table_of(Approval)
_TOKENS: Final = table_of(BootstrapToken)


def roles(tx: Tx, subject: UUID) -> frozenset[str]:
    """Return the roles of a subject."""
    query = select(_ROLES.c.role).where(_ROLES.c.subject_id == subject)
    return frozenset(tx.execute(query).scalars())


def listing(tx: Tx) -> Sequence[Any]:
    """Return every role that somebody has."""
    return tx.execute(select(_ROLES).order_by(_ROLES.c.granted_at)).all()


def page(tx: Tx, after: UUID | None, limit: int) -> Sequence[Any]:
    """Return the roles of a page of operators, by subject beyond one."""
    subjects = select(_ROLES.c.subject_id).distinct().order_by(_ROLES.c.subject_id).limit(limit)
    if after is not None:
        subjects = subjects.where(_ROLES.c.subject_id > after)
    query = select(_ROLES).where(_ROLES.c.subject_id.in_(subjects))
    return tx.execute(query.order_by(_ROLES.c.subject_id, _ROLES.c.role)).all()


def lock_roles(tx: Tx) -> None:
    """Let what changes or relies on roles queue up: in one order, after the subject (ADR 6)."""
    query = select(_ROLES.c.role).order_by(_ROLES.c.subject_id, _ROLES.c.role)
    tx.execute(query.with_for_update()).all()


def grant(tx: Tx, subject: UUID, role: str, now: datetime, by: str) -> bool:
    """Give a role; False when the subject has it."""
    values = {"subject_id": subject, "role": role, "granted_at": now, "granted_by": by}
    return insert_once(tx, _ROLES, values)


def revoke(tx: Tx, subject: UUID, role: str) -> bool:
    """Take a role; False when the subject does not have it."""
    gone = delete(_ROLES).where(_ROLES.c.subject_id == subject, _ROLES.c.role == role)
    return tx.execute(gone.returning(_ROLES.c.role)).first() is not None


def approval(tx: Tx, number: UUID) -> Approval | None:
    """Return an approval."""
    return tx.get(Approval, number, populate_existing=True)


def undecided(tx: Tx, actor: str, now: datetime) -> int:
    """Return how many acts somebody asked for that nobody has decided yet."""
    mine = (_APPROVALS.c.requested_by == actor, _APPROVALS.c.status == "pending",
            _APPROVALS.c.expires_at > now)  # fmt: skip
    return tx.scalar(select(func.count()).select_from(_APPROVALS).where(*mine)) or 0


def approvals(tx: Tx, now: datetime, before: UUID | None, limit: int) -> list[Approval]:
    """Return a page of the approvals that are open or were decided lately, newest first."""
    query = select(Approval).where(Approval.expires_at > now).order_by(Approval.id.desc())
    if before is not None:
        query = query.where(Approval.id < before)
    return list(tx.scalars(query.limit(limit)))


def _valid(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return that an approval is not over, and was not asked for in the future."""
    ends = _APPROVALS.c.expires_at
    return ends > now, ends <= now + APPROVAL_LIFE + SKEW


def decide(tx: Tx, number: UUID, status: str, by: str, now: datetime) -> bool:
    """Decide a pending approval; False when it was decided, has expired, or is one's own."""
    statement = (
        update(_APPROVALS)
        .where(
            _APPROVALS.c.id == number, _APPROVALS.c.status == "pending",
            *_valid(now), _APPROVALS.c.requested_by != by,
        )
        .values(status=status, decided_by=by)
        .returning(_APPROVALS.c.id)
    )  # fmt: skip
    return tx.execute(statement).first() is not None


def use(tx: Tx, number: UUID, now: datetime) -> bool:
    """Use an approval that was given; False when it was used before or has expired."""
    statement = (
        update(_APPROVALS)
        .where(
            _APPROVALS.c.id == number, _APPROVALS.c.status == "approved", *_valid(now),
        )
        .values(status="used", used_at=now)
        .returning(_APPROVALS.c.id)
    )  # fmt: skip
    return tx.execute(statement).first() is not None


def void(tx: Tx, who: str, acts: Sequence[str]) -> Sequence[Any]:
    """End the open approvals of some acts that somebody asked for or gave; return id and act."""
    given = and_(_APPROVALS.c.status == "approved", _APPROVALS.c.decided_by == who)
    statement = (
        update(_APPROVALS)
        .where(
            _APPROVALS.c.status.in_(("pending", "approved")), _APPROVALS.c.act.in_(acts),
            or_(_APPROVALS.c.requested_by == who, given),
        )
        .values(status="void")
        .returning(_APPROVALS.c.id, _APPROVALS.c.act)
    )  # fmt: skip
    return tx.execute(statement).all()


def last_round(tx: Tx) -> int:
    """Return the number of the newest round of bootstrap tokens, 0 before the first."""
    return tx.execute(select(func.max(_TOKENS.c.round))).scalar() or 0


def add_token(tx: Tx, values: Mapping[str, Any]) -> bool:
    """Add a token; False when another process fills that seat of that round."""
    return insert_once(tx, _TOKENS, values)


def close_tokens(tx: Tx, now: datetime) -> None:
    """End every token that was not used."""
    unused = update(_TOKENS).where(_TOKENS.c.used_at.is_(None), _TOKENS.c.expires_at > now)
    tx.execute(unused.values(expires_at=now))


def drop_old(tx: Tx, approvals: datetime, tokens: datetime) -> int:
    """Forget a page of approvals, and one of tokens, that had expired at a time."""
    count = drop_page(tx, _APPROVALS, _APPROVALS.c.expires_at <= approvals)
    return count + drop_page(tx, _TOKENS, _TOKENS.c.expires_at <= tokens)


def use_token(tx: Tx, digest: bytes, now: datetime) -> bool:
    """Use a bootstrap token; False when there is no such one, or it was used or has expired."""
    statement = (
        update(_TOKENS)
        .where(
            _TOKENS.c.digest == digest,
            _TOKENS.c.used_at.is_(None),
            _TOKENS.c.expires_at > now,
            _TOKENS.c.expires_at <= now + BOOTSTRAP_LIFE + SKEW,
        )
        .values(used_at=now)
        .returning(_TOKENS.c.digest)
    )
    return tx.execute(statement).first() is not None
