"""Tables of policy documents, the policy state, decisions, and risk held against subjects."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NotRequired, TypedDict
from uuid import UUID

import orjson
from sqlalchemy import (
    ForeignKey,
    String,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import FieldContext, Owner
from service.domain.ids import ids_at, service_owner, subject_owner
from service.policy.model.packing import unpack
from service.policy.model.threshold_shift import ShiftJson
from service.store.ahead import PlannedRead
from service.store.authentic import delete_rows, insert_once, record
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import AnyRow, Tx
from service.store.later import later
from service.store.personal_data import Personal, anybody, by_actor, without
from service.store.sealed import (
    encrypted_bytes,
    encrypted_optional_bytes,
    encrypted_text,
    open_value,
    seal_value,
)
from service.store.shapes import Noted, shape_of

_OWNER: Final = service_owner("policies")


def explained(raw: bytes) -> dict[str, object]:
    """Return the facts and reasons of a decision for an export, without the weights of signals."""
    content = unpack(raw)
    facts = content["facts"]
    outcome = content["outcome"]
    return {
        "requested": facts["requested"],
        "enrolled": facts["enrolled"],
        "context": facts["context"],
        "shown": [{"factor": item["factor"], "at": item["at"]} for item in facts["evidence"]],
        "signals": [item[0] for item in facts["assessments"]],
        "band": outcome["band"],
        "layers": outcome["layers"],
        "reasons": [
            {"code": code, "signal": signal, "detail": detail}
            for code, signal, _, detail in outcome["reasons"]
        ],
    }


class PolicyStateContent(TypedDict):
    """The sealed content of the policy state.

    `history` lists former active versions, oldest first. `tighten` is the current threshold shift,
    `agreed` the last one that two operators agreed on.
    """

    active: str
    history: list[str]
    shadow: str | None
    tighten: ShiftJson | None
    agreed: NotRequired[ShiftJson]


class HeldRisk(TypedDict):
    """The sealed content of the risk held against a subject, in nats, 0 or below."""

    llr: float
    codes: list[str]
    policy: str


class NewDecision(TypedDict):
    """The plain columns of a decision."""

    id: UUID
    subject_id: UUID
    at: datetime
    policy: str
    segment: str
    purpose: str
    effect: str
    shadow: str | None
    shadow_change: str | None


class PolicyDocument(Base):
    """A document under its content hash; its encryption prevents changes in the database."""

    __tablename__ = "policy_document"
    __personal__ = Personal(
        purpose="which operator drafted a policy",
        retention="as long as the policy",
        of=by_actor("created_by"),
        shown={"created_by": anybody},
        withheld={"body": "rules of the service, about no person"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(64))
    validated_at: Mapped[datetime | None]
    body = encrypted_text("service", bound=("version",))

    def field_owner(self) -> Owner:
        """Return the reserved owner of policies."""
        return _OWNER


class PolicyState(Noted, Base):
    """The policy state: one row, sealed under its revision, replaced by a guarded update."""

    __tablename__ = "policy_state"
    __members__ = ("changed_at",)
    __revision__ = "revision"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    revision: Mapped[int]
    changed_at: Mapped[datetime]
    state = encrypted_bytes("service", bound=("revision",))

    def field_owner(self) -> Owner:
        """Return the reserved owner of policies."""
        return _OWNER


class PolicyDecision(Base):
    """A decision about a subject that ended its flow or outlives it, with its facts."""

    __tablename__ = "policy_decision"
    __personal__ = Personal(
        purpose="automated decisions about sign-ins, with their reasons",
        retention="as long as the policy says: 180 days",
        withheld={
            "facts.weights": "numbers of each signal: they would show a forger how near he is",
        },
        shown={"facts": explained},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), index=True)
    at: Mapped[datetime]
    policy: Mapped[str] = mapped_column(String(64))
    segment: Mapped[str] = mapped_column(String(64))
    purpose: Mapped[str] = mapped_column(String(16))
    effect: Mapped[str] = mapped_column(String(16))
    shadow: Mapped[str | None] = mapped_column(String(64))
    shadow_change: Mapped[str | None] = mapped_column(String(16))
    # Blank, not missing, after the subject's keys were destroyed.
    facts = encrypted_optional_bytes("factor")

    def field_owner(self) -> Owner:
        """Return the subject of the decision."""
        return subject_owner(self.subject_id)


class SubjectRisk(Noted, Base):
    """Risk held against a subject until a strong factor or an operator clears it."""

    __tablename__ = "subject_risk"
    __members__ = ("subject_id", "since")
    __personal__ = Personal(
        purpose="risk that is held against the person until a strong sign-in clears it",
        retention="until cleared",
        withheld={"risk.llr": "its number would show a forger how near he is"},
        shown={"risk": without("llr")},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(ForeignKey("subject.id"), unique=True)
    since: Mapped[datetime]
    risk = encrypted_optional_bytes("factor")

    def field_owner(self) -> Owner:
        """Return the subject."""
        return subject_owner(self.subject_id)


STATE_ID: Final = UUID(int=1)
_DECISIONS: Final = table_of(PolicyDecision)
_STATES: Final = table_of(PolicyState)
_RISKS: Final = table_of(SubjectRisk)
_INSERT: Final = insert(_DECISIONS)
_RISK: Final = select(_RISKS.c.id, _RISKS.c.risk).where(_RISKS.c.subject_id == bindparam("b_s"))
_STATE: Final = select(_STATES.c.revision, _STATES.c.state).where(_STATES.c.id == STATE_ID)


def documents(
    tx: Tx, before: UUID | None = None, limit: int | None = None
) -> Sequence[PolicyDocument]:
    """Return documents, newest first: all, or a page below an id."""
    query = select(PolicyDocument).order_by(PolicyDocument.id.desc()).limit(limit)
    if before is not None:
        query = query.where(PolicyDocument.id < before)
    return tx.scalars(query).all()


def drop_document(tx: Tx, number: UUID) -> None:
    """Delete a document."""
    tx.execute(delete(PolicyDocument).where(PolicyDocument.id == number))


def count_documents(tx: Tx) -> int:
    """Return the number of documents."""
    return tx.scalar(select(func.count()).select_from(table_of(PolicyDocument))) or 0


def document(tx: Tx, version: str) -> PolicyDocument | None:
    """Return a document by its version."""
    return tx.scalars(select(PolicyDocument).where(PolicyDocument.version == version)).first()


def starting(tx: Tx, prefix: str) -> Sequence[PolicyDocument]:
    """Return at most two documents by a prefix of their version."""
    query = select(PolicyDocument).where(PolicyDocument.version.startswith(prefix))
    return tx.scalars(query.limit(2)).all()


def state(tx: Tx) -> tuple[int, PolicyStateContent] | None:
    """Return the revision and content of the policy state; None in a new database."""
    row = tx.execute(_STATE).first()
    if row is None:
        return None
    opened = open_value(tx, "service", _state_context(row.revision), row.state)
    return row.revision, orjson.loads(opened)


def revision(tx: Tx) -> int | None:
    """Return the revision of the policy state."""
    found: int | None = tx.execute(select(_STATES.c.revision)).scalar()
    return found


def first_state(tx: Tx, content: PolicyStateContent, now: datetime) -> bool:
    """Insert the first state; return False if another process did."""
    values = {"id": STATE_ID, "revision": 1, "changed_at": now, "state": _seal(tx, 1, content)}
    return insert_once(tx, model=PolicyState, values=values)


def replace_state(tx: Tx, old: int, content: PolicyStateContent, now: datetime) -> bool:
    """Replace the state; return False if another request did first."""
    statement = (
        update(_STATES)
        .where(_STATES.c.id == STATE_ID, _STATES.c.revision == old)
        .values(revision=old + 1, changed_at=now, state=_seal(tx, old + 1, content))
        .returning(*shape_of(PolicyState).columns)
    )
    row = tx.execute(statement).first()
    if row is None:
        return False
    record(tx, PolicyState, row)
    return True


def _seal(tx: Tx, number: int, content: PolicyStateContent) -> bytes:
    return seal_value(tx, "service", _state_context(number), orjson.dumps(content))


def _state_context(number: int) -> FieldContext:
    return FieldContext(
        table="policy_state", column="state", owner=_OWNER, row=STATE_ID, extra=str(number).encode()
    )


def add_decision(tx: Tx, values: NewDecision, facts: bytes) -> None:
    """Store a decision with its facts sealed under the subject's key."""
    owner = subject_owner(values["subject_id"])
    context = FieldContext(
        table="policy_decision", column="facts", owner=owner, row=values["id"], extra=b""
    )
    later(tx, _INSERT, {**values, "facts": seal_value(tx, "factor", context, facts)})


def decisions(
    tx: Tx, before: UUID | None, since: datetime | None, limit: int
) -> list[PolicyDecision]:
    """Return a page of decisions below an id, newest first."""
    query = select(PolicyDecision).order_by(PolicyDecision.id.desc()).limit(limit)
    if before is not None:
        query = query.where(PolicyDecision.id < before)
    if since is not None:
        query = query.where(PolicyDecision.id >= ids_at(since)[0], PolicyDecision.at >= since)
    return list(tx.scalars(query))


def count_decisions(tx: Tx, since: datetime | None) -> int:
    """Return the number of decisions."""
    query = select(func.count()).select_from(_DECISIONS)
    if since is not None:
        query = query.where(_DECISIONS.c.id >= ids_at(since)[0], _DECISIONS.c.at >= since)
    return int(tx.execute(query).scalar() or 0)


def shadow_counts(tx: Tx, version: str) -> Sequence[AnyRow]:
    """Count decisions and people by segment and by the change in the shadow's decision."""
    columns = (_DECISIONS.c.segment, _DECISIONS.c.shadow_change)
    counts = (
        func.count().label("decisions"),
        func.count(_DECISIONS.c.subject_id.distinct()).label("people"),
    )
    query = select(*columns, *counts).where(_DECISIONS.c.shadow == version)
    return tx.execute(query.group_by(*columns)).all()


def drop_decisions(tx: Tx, before: datetime) -> int:
    """Delete a page of decisions made before a time; return how many."""
    # An id begins with the time of its decision: no index by time is needed.
    return drop_page(tx, _DECISIONS, _DECISIONS.c.id <= ids_at(before)[1], _DECISIONS.c.at < before)


def forget_decisions(tx: Tx, subject: UUID) -> int:
    """Delete all decisions about a subject; return how many."""
    gone = delete(_DECISIONS).where(_DECISIONS.c.subject_id == subject)
    return len(tx.execute(gone.returning(_DECISIONS.c.id)).all())


def risk_ahead(subject: UUID) -> PlannedRead:
    """Return what `risk` reads."""
    return PlannedRead(_RISK, {"b_s": subject})


def risk(tx: Tx, subject: UUID) -> HeldRisk | None:
    """Return the risk held against a subject."""
    row = tx.execute(_RISK, {"b_s": subject}).first()
    if row is None or row.risk is None:
        return None
    opened = open_value(tx, "factor", _risk_context(subject, row.id), row.risk)
    found: HeldRisk = orjson.loads(opened)
    return found


def hold_risk(tx: Tx, *, number: UUID, subject: UUID, content: HeldRisk, now: datetime) -> None:
    """Store the risk of a subject, replacing the previous one."""
    drop_risk(tx, subject)
    sealed = seal_value(tx, "factor", _risk_context(subject, number), orjson.dumps(content))
    values = {"id": number, "subject_id": subject, "since": now, "risk": sealed}
    insert_once(tx, model=SubjectRisk, values=values)


def drop_risk(tx: Tx, subject: UUID) -> bool:
    """Delete the risk of a subject; return False if there was none."""
    return delete_rows(tx, SubjectRisk, _RISKS.c.subject_id == subject) > 0


def _risk_context(subject: UUID, number: UUID) -> FieldContext:
    return FieldContext(
        table="subject_risk", column="risk", owner=subject_owner(subject), row=number, extra=b""
    )
