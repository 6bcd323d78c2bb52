"""Table of webhooks."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import String, func, select
from sqlalchemy.orm import Mapped, mapped_column

from crypto.fields import Owner
from service.domain.ids import service_owner
from service.store.authentic import sound
from service.store.base import Base
from service.store.engine import Tx
from service.store.sealed import encrypted_bytes, encrypted_optional_bytes
from service.store.shapes import Authentic


class Webhook(Authentic, Base):
    """A URL that receives events; its secrets are sealed.

    Write access to the database cannot redirect events: the row carries a MAC.
    """

    __tablename__ = "webhook"
    __members__ = (
        "url",
        "kinds",
        "client_id",
        "created_at",
        "secret",
        "old_secret",
        "old_until",
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(String(512))
    kinds: Mapped[str] = mapped_column(String(512))
    client_id: Mapped[UUID | None]
    """Only events of this client's requests; None for all, and for alarms."""
    created_at: Mapped[datetime]
    old_until: Mapped[datetime | None]
    secret = encrypted_bytes("service", bound=("url",))
    old_secret = encrypted_optional_bytes("service", bound=("url", "old_until"))

    def field_owner(self) -> Owner:
        """Return the service as owner: a webhook belongs to no person."""
        return service_owner("webhooks")


def all_of(tx: Tx) -> list[Webhook]:
    """Return all valid webhooks, oldest first."""
    return sound(tx, select(Webhook).order_by(Webhook.id))


def page(tx: Tx, after: UUID | None, limit: int) -> list[Webhook]:
    """Return a page of valid webhooks with ids above `after`."""
    query = select(Webhook) if after is None else select(Webhook).where(Webhook.id > after)
    return sound(tx, query.order_by(Webhook.id).limit(limit))


def count(tx: Tx) -> int:
    """Return how many webhooks exist."""
    return tx.scalar(select(func.count()).select_from(Webhook)) or 0


def get(tx: Tx, webhook: UUID, *, lock: bool = False) -> Webhook | None:
    """Return a webhook by id; None if unknown."""
    return tx.get(Webhook, webhook, with_for_update=lock or None)
