"""The table of flows; the state is sealed and every save is guarded by its revision."""

from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

import orjson
from sqlalchemy import LargeBinary, delete
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from crypto.fields import Owner
from service.domain.errors import Conflict
from service.domain.ids import service_owner
from service.login.model import Flow, from_json, to_json
from service.store.base import Base
from service.store.engine import Tx
from service.store.sealed import encrypted_text

_HELD: Final = "lamina_flow"


class FlowRow(Base):
    """One flow; nobody who can write to the table can advance it."""

    __tablename__ = "flow"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[UUID]
    token_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    revision: Mapped[int] = mapped_column()
    expires_at: Mapped[datetime]
    state = encrypted_text("service", bound=("client_id", "revision"))

    __mapper_args__ = {"version_id_col": revision, "version_id_generator": False}  # noqa: RUF012 - SQLAlchemy reads it from the class

    def field_owner(self) -> Owner:
        """Return the reserved owner of flows: their key is at hand in every process."""
        return service_owner("flows")


def add(tx: Tx, flow: Flow, token_digest: bytes) -> None:
    """Save a new flow."""
    row = FlowRow(
        id=flow.id, client_id=flow.terms.client, token_digest=token_digest,
        revision=flow.revision, expires_at=flow.expires_at,
    )  # fmt: skip
    row.state = orjson.dumps(to_json(flow)).decode()
    tx.add(row)
    tx.flush()


def find(tx: Tx, flow_id: UUID) -> tuple[Flow, UUID, bytes] | None:
    """Return a flow, its client and the digest of its token."""
    row = tx.get(FlowRow, flow_id)
    if row is None:
        return None
    # A session forgets rows that nobody holds: this one is saved in the same unit of work.
    tx.info[_HELD] = row
    flow = from_json(row.id, row.revision, orjson.loads(row.state))
    return flow, row.client_id, row.token_digest


def save(tx: Tx, flow: Flow) -> Flow:
    """Save the next revision of a flow and return it.

    Raises:
        Conflict: Another request has moved the flow on in the meantime.
    """
    row = tx.get(FlowRow, flow.id)
    if row is None or row.revision != flow.revision:
        raise moved()
    row.revision, row.expires_at = flow.revision + 1, flow.expires_at
    row.state = orjson.dumps(to_json(flow)).decode()
    try:
        tx.flush()
    except StaleDataError:
        raise moved() from None
    return replace(flow, revision=row.revision)


def drop_ended(tx: Tx, before: datetime) -> int:
    """Forget flows that ended before a time; return how many."""
    gone = delete(FlowRow).where(FlowRow.expires_at <= before).returning(FlowRow.id)
    return len(tx.execute(gone).all())


def moved() -> Conflict:
    """Return the refusal of a request that came second."""
    return Conflict("flow_moved", "Another request has moved this flow on; read it again.")
