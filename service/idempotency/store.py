"""The table of stored responses."""

from base64 import b64decode, b64encode
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import LargeBinary, String, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from crypto.errors import OpenError
from crypto.fields import FieldContext, Owner
from service.domain.ids import client_owner, subject_owner
from service.store.base import Base, table_of
from service.store.dropping import drop_page
from service.store.engine import Tx, insert_once
from service.store.personal_data import Unlinked
from service.store.sealed import encrypted_optional, open_value, seal_value
from service.web.idempotency import About

_ABOUT: Final = "\x00"
"""Prefix of values sealed under a subject's keys; no body starts with it."""
_GONE: Final = "\x00gone"


class KeptAnswer(Base):
    """The response to a request, or the mark that it is in flight."""

    __tablename__ = "kept_answer"
    __personal__ = Unlinked(
        "to repeat the response to a repeated request",
        "24 hours, 10 minutes where it holds a secret",
        "responses are stored by client and key, not by person; one about a person opens only "
        "with that person's keys, and is erased with them",
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[UUID] = mapped_column(index=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    body_mac: Mapped[bytes] = mapped_column(LargeBinary(32))
    status: Mapped[int | None]
    content_type: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    answer = encrypted_optional("service")

    def field_owner(self) -> Owner:
        """Return the client that owns the response."""
        return client_owner(self.client_id)


def claim(tx: Tx, values: dict[str, object]) -> bool:
    """Claim a key for a request; return False if it is taken."""
    return insert_once(tx, KeptAnswer.metadata.tables["kept_answer"], values)


def find(tx: Tx, name: str) -> KeptAnswer | None:
    """Return the row of a key."""
    return tx.scalars(select(KeptAnswer).where(KeptAnswer.name == name)).first()


def begun(tx: Tx, name: str) -> datetime | None:
    """Return when the claim of a key lapses, before it is answered."""
    rows = table_of(KeptAnswer)
    return tx.execute(select(rows.c.expires_at).where(rows.c.name == name)).scalar()


def keep(tx: Tx, kept: KeptAnswer, body: bytes | None, about: About | None) -> None:
    """Store a body, additionally sealed under its subject's keys; None if that was erased."""
    if body is None:
        kept.answer = _GONE
        return
    if about is None:
        kept.answer = body.decode()
        return
    for key_class in about.classes:
        body = seal_value(tx, key_class, _place(kept, about.subject), body)
    head = f"{_ABOUT}{about.subject} {','.join(about.classes)} "
    kept.answer = head + b64encode(body).decode()


def body(tx: Tx, kept: KeptAnswer) -> bytes | None:
    """Return the stored body; None if it was erased."""
    text = kept.answer or ""
    if text == _GONE:
        return None
    if not text.startswith(_ABOUT):
        return text.encode()
    subject, classes, sealed = text.removeprefix(_ABOUT).split(" ")
    found = b64decode(sealed)
    try:
        for key_class in reversed(classes.split(",")):
            found = open_value(tx, key_class, _place(kept, UUID(subject)), found)
    except OpenError:
        return None
    return found


def _place(kept: KeptAnswer, subject: UUID) -> FieldContext:
    return FieldContext(
        table="kept_answer", column="about", owner=subject_owner(subject), row=kept.id
    )


def count(tx: Tx, client: UUID, most: int) -> int:
    """Return the number of a client's keys, counted up to a maximum."""
    table = table_of(KeptAnswer)
    found = select(table.c.id).where(table.c.client_id == client).limit(most).subquery()
    return tx.scalar(select(func.count()).select_from(found)) or 0


def first_end(tx: Tx, client: UUID) -> datetime | None:
    """Return when the first of a client's keys expires."""
    table = table_of(KeptAnswer)
    query = select(func.min(table.c.expires_at)).where(table.c.client_id == client)
    found: datetime | None = tx.scalar(query)
    return found


def drop(tx: Tx, name: str) -> None:
    """Release a key."""
    tx.execute(delete(KeptAnswer).where(KeptAnswer.name == name))


def drop_expired(tx: Tx, now: datetime) -> int:
    """Delete a page of expired responses; return how many."""
    table = table_of(KeptAnswer)
    return drop_page(tx, table, table.c.expires_at <= now)
