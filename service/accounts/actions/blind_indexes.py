"""Add digests under a new blind-index key for existing identifiers."""

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

from crypto.errors import CryptoError
from service.accounts.actions.claims import normal_of
from service.accounts.model import NORMAL_FORM, IdentifierType
from service.accounts.store import claims
from service.accounts.store import subjects as store
from service.accounts.store.claims import Claim
from service.domain.clock import Clock
from service.domain.errors import RowRefused
from service.domain.ids import new_id
from service.keys.actions import KeyStore
from service.keys.actions.rotation import RotationPage, bad_row, passes
from service.store.engine import Store, Tx

PAGE: Final = 500


class Indexing:
    """Fills a version of the index from another, and deletes versions that are not in use."""

    def __init__(self, database: Store, key_store: KeyStore, clock: Clock) -> None:
        self._database = database
        self._key_store = key_store
        self._clock = clock

    def left(self, tx: Tx, version: int) -> int:
        """Count the identifiers without a digest of a version."""
        return claims.count_undigested(tx, version)

    def fill_pages(self, version: int) -> Iterator[RotationPage]:
        """Add the missing digests of a version, until a pass finds none."""

        def page(tx: Tx, after: UUID) -> RotationPage:
            return self._fill(tx, after, version)

        yield from passes(self._database, page)

    def drop_pages(self) -> Iterator[RotationPage]:
        """Delete the digests of versions that are no longer in use."""

        def page(tx: Tx, after: UUID) -> RotationPage:
            gone = claims.drop_dead_digests(tx, after, self._key_store.index_versions(), PAGE)
            return RotationPage(moved=len(gone), last=max(gone, default=None))

        yield from passes(self._database, page)

    def _fill(self, tx: Tx, after: UUID, version: int) -> RotationPage:
        seen = claims.undigested(tx, version, after, PAGE)
        index = self._key_store.blind_index(tx, version)
        page = RotationPage(last=_last(seen))
        # The lock prevents a change or a verification between the read and the write.
        held = {row.subject_id for row in seen}
        store.lock_all(tx, held)
        for row in claims.undigested(tx, version, after, PAGE):
            if row.subject_id not in held:
                continue
            try:
                subject = store.get(tx, row.subject_id)
                value = getattr(subject, row.field)
            except (CryptoError, RowRefused) as error:
                page.bad.append(bad_row("subject", row.subject_id, "contact", str(error)))
                continue
            normal = normal_of(IdentifierType(row.field), value) if value else None
            if normal is None:
                # An identifier that can no longer be typed leads to no subject.
                claims.drop_claim(tx, row.subject_id, row.field)
                page.moved += 1
                continue
            values = {
                "id": new_id(self._clock.now()),
                "field": row.field,
                "key_version": version,
                "digest": index.digest("subject", row.field, normal),
                "subject_id": row.subject_id,
                "verified_at": row.verified_at,
                "form": NORMAL_FORM,
            }
            # Two identifiers may now have the same normal form: the second must be verified again.
            unproven = values | {"verified_at": None}
            page.moved += store.add_digest(tx, values) or store.add_digest(tx, unproven)
        return page


def _last(rows: Sequence[Claim]) -> UUID | None:
    return rows[-1].id if rows else None
