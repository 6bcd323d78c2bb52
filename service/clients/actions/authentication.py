"""Authenticate clients by a secret or by an assertion (RFC 6749 section 2.3, RFC 7523)."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import ColumnElement

from crypto import opaque
from crypto.errors import AssertionRefused, SignatureInvalid
from service.clients import store
from service.clients.model import SCOPES, Client, overlaps
from service.clients.store import ClientCells, ClientRow
from service.domain.bounds import USUAL, Bounds, Tally, room_in
from service.domain.clock import Clock, unix
from service.domain.errors import TooMany, Unauthorized
from service.domain.ids import parse_id
from service.store.engine import Tx
from service.store.recent import Recent

if TYPE_CHECKING:
    from crypto import assertions

ACTIVE = "active"
_FULL = 60


def refused(detail: str = "The client does not authenticate.") -> Unauthorized:
    """Return the error for a client that could not be authenticated.

    Args:
        detail: A reason that is the same whether or not the client exists.
    """
    return Unauthorized("invalid_client", detail)


def client_of(row: ClientRow | ClientCells) -> Client:
    """Return a client without its secrets."""
    held = frozenset(row.scopes)
    return Client(
        id=row.id,
        name=row.name,
        scopes=held & SCOPES,
        first_party=row.first_party,
        asserts_context=row.asserts_context,
        segments=tuple(row.segments),
        jwks=row.jwks,
        idle=held - SCOPES,
    )


def _active(row: ClientCells | None) -> Client | None:
    return client_of(row) if row and row.status == ACTIVE else None


@dataclass(frozen=True, slots=True)
class _Known:
    """An active client with the digests of its secrets, as its row was read."""

    client: Client
    digest: bytes = field(repr=False)
    old: bytes | None = field(repr=False)
    old_until: datetime | None

    def has(self, secret: str, now: datetime) -> bool:
        """Return whether a secret is that of the client, or a replaced one that is still valid."""
        given = digest_of_secret(secret)
        old = self.old if overlaps(self.old_until, now) else None
        # All are compared, so that timing does not reveal which one matched.
        return sum(opaque.equal(stored, given) for stored in filter(None, (self.digest, old))) > 0


class Authentication:
    """Finds and authenticates clients.

    Args:
        clock: The clock.
        bounds: The limit of stored assertions.
        kept: Seconds for which `recognized` knows a client that `authenticate_secret` found.
    """

    def __init__(self, clock: Clock, bounds: Bounds = USUAL, *, kept: float = 0.0) -> None:
        self._clock = clock
        self._bounds = bounds
        self._tally = Tally()
        self._plain = store.Plain()
        self._recent: Recent[UUID, _Known] = Recent(kept)

    def active(self, tx: Tx, client: UUID) -> Client | None:
        """Return a client that is active; None if unknown or revoked."""
        return _active(self._plain.find(tx, client))

    def active_unless(
        self, condition: ColumnElement[bool]
    ) -> Callable[[Tx, UUID, Mapping[str, object]], Client | None]:
        """Return a function that finds an active client unless a condition holds.

        Args:
            condition: On another table, with named parameters bound at each call; one statement
                answers both questions.
        """
        plain = store.Plain(condition)

        def find(tx: Tx, client: UUID, values: Mapping[str, object]) -> Client | None:
            return _active(plain.find(tx, client, **values))

        return find

    def authenticate_secret(self, tx: Tx, client_id: str, secret: str) -> Client:
        """Authenticate a client by its secret: 256 random bits, for which one digest suffices.

        Raises:
            Unauthorized: Unknown, revoked or wrong; the error does not say which.
        """
        identifier = parse_id(client_id)
        mark = self._recent.mark()
        row = self._plain.find(tx, identifier) if identifier else None
        if identifier is None or row is None:
            opaque.equal(bytes(32), digest_of_secret(secret))
            raise refused()
        known = _Known(client_of(row), *store.digests(tx, row), row.old_secret_until)
        if not known.has(secret, self._clock.now()) or row.status != ACTIVE:
            raise refused()
        if store.untouched(tx):
            self._recent.put(identifier, known, mark)
        return known.client

    def recognized(self, client_id: str, secret: str) -> Client | None:
        """Return a client that authenticated by this secret a moment ago, without the database.

        None for any other, whom `authenticate_secret` refuses or finds.
        """
        identifier = parse_id(client_id)
        known = self._recent.get(identifier) if identifier else None
        return known.client if known and known.has(secret, self._clock.now()) else None

    def forget(self) -> None:
        """Forget all clients that `recognized` knows, since one has changed."""
        self._recent.drop()

    def authenticate_assertion(
        self, tx: Tx, client_id: str, assertion: str, audiences: list[str]
    ) -> Client:
        """Authenticate a client by a `private_key_jwt` assertion, which is valid only once.

        Raises:
            Unauthorized: It is malformed, with the reason; the client is unknown or none of its
                keys signed it, with one and the same answer; or it was used before.
            TooMany: The client has reached the limit of unexpired assertions.
        """
        from crypto import assertions  # noqa: PLC0415 - clients with a secret need none of it

        now = self._clock.now()
        names = [name.removesuffix("/") for name in audiences]
        try:
            said = assertions.read(assertion, client_id=client_id, audience=names, now=unix(now))
        except AssertionRefused as error:
            raise refused(f"client_assertion: {error.reason}.") from None
        identifier = parse_id(said.client_id)
        row = self._plain.find(tx, identifier) if identifier else None
        if row is None or row.status != ACTIVE or not self._made(row, said, now):
            raise refused()
        self._require_room(tx, row.id, now)
        jti = hashlib.sha256(said.jti.encode()).hexdigest()
        expires = datetime.fromtimestamp(said.expires, UTC)
        if not store.use_assertion(tx, client=row.id, jti=jti, expires_at=expires, now=now):
            raise refused("client_assertion: jti was used before.")
        return client_of(row)

    def _require_room(self, tx: Tx, client: UUID, now: datetime) -> None:
        """Refuse a client at its limit of stored assertions; only key holders get this far."""
        most = self._bounds.max_assertions
        if self._tally.full(client, most, now, lambda: store.used(tx, client, most)):
            detail = f"{most} assertions of this client have not expired; use shorter lifetimes."
            first = store.first_end(tx, client)
            # An expired one is deleted by the next maintenance run.
            wait = room_in([first], 1, now) if first and first > now else _FULL
            raise TooMany("too_many_assertions", detail, wait)

    @staticmethod
    def _made(row: ClientCells, said: "assertions.Assertion", now: datetime) -> bool:
        """Tell whether a current or still valid replaced key of a client signed the assertion."""
        from crypto import assertions  # noqa: PLC0415 - only an assertion leads here

        old = row.old_jwks if overlaps(row.old_jwks_until, now) else None
        for jwks in filter(None, (row.jwks, old)):
            try:
                assertions.verify(said, jwks)
            except SignatureInvalid:
                continue
            return True
        return False

    def drop_expired(self, tx: Tx, now: datetime) -> int:
        """Delete a page of assertions that have expired; return how many."""
        return store.drop_assertions(tx, now)


def digest_of_secret(secret: str) -> bytes:
    """Return the digest under which a secret is stored."""
    return opaque.digest(secret, "client-secret")
