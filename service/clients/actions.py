"""Create, list, rotate, revoke and authenticate clients (RFC 6749 section 2.3, RFC 7523)."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypedDict
from uuid import UUID

from sqlalchemy import ColumnElement

from crypto import opaque
from crypto.canonical import canonical_json
from crypto.errors import AssertionRefused, KeySetInvalid, SignatureInvalid
from service.audit.actions.audit_log import AuditLog
from service.clients import store
from service.clients.model import (
    SCOPES,
    SECRET_PREFIX,
    Client,
    JwkSet,
    NewClient,
    check_overlap,
    checked_name,
    known_scopes,
    overlaps,
)
from service.clients.store import ClientRow
from service.clients.views import ClientView
from service.domain.bounds import USUAL, Bounds, Tally, room_in
from service.domain.clock import Clock, rfc3339, unix
from service.domain.errors import BadInput, Fault, NotFound, TooMany, Unauthorized
from service.domain.ids import new_id, parse_id
from service.store.engine import AnyRow, Tx

if TYPE_CHECKING:
    from crypto import assertions

_ACTIVE = "active"
_REVOKED = "revoked"
_FULL = 60


def refused(detail: str = "The client does not authenticate.") -> Unauthorized:
    """Return the error for a client that could not be authenticated.

    Args:
        detail: A reason that is the same whether or not the client exists.
    """
    return Unauthorized("invalid_client", detail)


def _client(row: ClientRow | AnyRow) -> Client:
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


def _active(row: AnyRow | None) -> Client | None:
    return _client(row) if row and row.status == _ACTIVE else None


def key_set(given: object) -> JwkSet:
    """Return a JWK set as it is stored, public members only; raises BadInput."""
    from crypto.jwks import public_set  # noqa: PLC0415 - listing clients must not load JOSE

    try:
        return public_set(given)
    except KeySetInvalid as error:
        raise BadInput(Fault(f"/jwks{error.pointer}", error.code, error.detail)) from None


def digest_of(jwks: JwkSet) -> str:
    """Return the digest of a key set, by which two operators approve exactly this set."""
    return hashlib.sha256(canonical_json(jwks)).hexdigest()


class _Overlap(TypedDict, total=False):
    """When a replaced credential ends."""

    old_until: str


class Clients:
    """Service accounts and their credentials."""

    def __init__(self, audit: AuditLog, clock: Clock, bounds: Bounds = USUAL) -> None:
        self._audit = audit
        self._clock = clock
        self._bounds = bounds
        self._tally = Tally()
        self._plain = store.Plain()

    def create(self, tx: Tx, new: NewClient, actor: str | None = None) -> tuple[Client, str]:
        """Register a client; return it and its secret, which is shown only once.

        Args:
            tx: A transaction.
            new: The attributes of the client.
            actor: Who registers it; None for the current caller.

        Raises:
            BadInput: A scope is unknown, the name is empty, or a key is not acceptable.
        """
        wanted = known_scopes(new.scopes, "/scopes")
        name = checked_name(new.name)
        now = self._clock.now()
        secret = opaque.new_token(SECRET_PREFIX)
        row = ClientRow(
            id=new_id(now),
            name=name,
            status=_ACTIVE,
            scopes=wanted,
            first_party=new.first_party,
            asserts_context=new.asserts_context,
            segments=list(dict.fromkeys(new.segments)),
            jwks=None if new.jwks is None else key_set(new.jwks),
            created_at=now,
        )
        row.secret = _digest(secret)
        tx.add(row)
        self._audit.append(tx, "client.created", actor=actor, client=str(row.id), scopes=wanted)
        return _client(row), secret

    def check_scopes(self, tx: Tx, target: str, params: Mapping[str, object]) -> None:
        """Refuse a request for scopes that could not be carried out; raises BadInput."""
        client = parse_id(target)
        if client is None or store.get(tx, client) is None:
            raise BadInput(Fault("/target", "client_not_found", "is not a client"))
        known_scopes(str(params.get("scopes", "none")).split(), "/params/scopes")

    def approve_scopes(self, tx: Tx, target: str, params: Mapping[str, object], actor: str) -> None:
        """Replace the scopes of a client: fewer at once, more with its next token."""
        row = self._row(tx, UUID(target))
        wanted = known_scopes(str(params["scopes"]).split(), "/params/scopes")
        before = row.scopes
        row.scopes = wanted
        self._audit.append(
            tx, "client.scopes_changed", actor=actor, client=target, before=before, scopes=wanted
        )

    def rename(self, tx: Tx, client: UUID, name: str, actor: str | None = None) -> None:
        """Rename a client; raises BadInput for an empty name, or NotFound."""
        row = self._row(tx, client)
        row.name = checked_name(name)
        self._note(tx, kind="client.renamed", row=row, actor=actor, until=None)

    def set_segments(
        self, tx: Tx, client: UUID, segments: Collection[str], actor: str | None = None
    ) -> None:
        """Replace the segments of a client; raises NotFound."""
        row = self._row(tx, client)
        before = row.segments
        row.segments = sorted(set(segments))
        self._audit.append(
            tx,
            "client.segments_changed",
            actor=actor,
            client=str(row.id),
            before=before,
            segments=row.segments,
        )

    def rotate_secret(
        self, tx: Tx, client: UUID, overlap: timedelta = timedelta(), actor: str | None = None
    ) -> str:
        """Replace the secret of a client; return the new one, which is shown only once.

        Args:
            tx: A transaction.
            client: The client.
            overlap: How long the replaced secret stays valid; an older one ends at once.
            actor: Who rotates it; None for the current caller.

        Raises:
            BadInput: The overlap is too long.
            NotFound: No such client exists.
        """
        check_overlap(overlap)
        row = self._row(tx, client)
        secret = opaque.new_token(SECRET_PREFIX)
        until = self._clock.now() + overlap if overlap else None
        row.old_secret_until = until
        row.old_secret = row.secret if overlap else None
        row.secret = _digest(secret)
        self._note(tx, kind="client.secret_rotated", row=row, actor=actor, until=until)
        return secret

    def replace_jwks(
        self,
        tx: Tx,
        *,
        client: UUID,
        jwks: JwkSet | None,
        overlap: timedelta = timedelta(),
        actor: str | None = None,
    ) -> None:
        """Replace the public keys of a client, or remove them.

        Args:
            tx: A transaction.
            client: The client.
            jwks: A set as `key_set` returns it; None for no keys.
            overlap: How long the replaced keys stay valid; older ones end at once.
            actor: Who replaces them; None for the current caller.

        Raises:
            BadInput: The overlap is too long.
            NotFound: No such client exists.
        """
        check_overlap(overlap)
        row = self._row(tx, client)
        kept = row.jwks if overlap else None
        until = self._clock.now() + overlap if kept else None
        row.old_jwks = kept
        row.old_jwks_until = until
        row.jwks = jwks
        self._note(tx, kind="client.jwks_replaced", row=row, actor=actor, until=until)

    def revoke(self, tx: Tx, client: UUID, actor: str | None = None) -> None:
        """Revoke a client with its secrets and keys; its tokens are refused from now on."""
        row = self._row(tx, client)
        row.status = _REVOKED
        row.old_secret = None
        row.old_jwks = None
        row.old_secret_until = row.old_jwks_until = None
        self._note(tx, kind="client.revoked", row=row, actor=actor, until=None)

    def show(self, tx: Tx, client: UUID) -> ClientView:
        """Return the view of a client, as in `listing`; raises NotFound."""
        tx.flush()
        return self._view(self._row(tx, client))

    def listing(self, tx: Tx) -> list[ClientView]:
        """Return all clients without their secrets, with the end of each overlap."""
        return [self._view(row) for row in store.clients(tx)]

    def _view(self, row: ClientRow) -> ClientView:
        now = self._clock.now()
        return {
            "client_id": str(row.id),
            "name": row.name,
            "status": row.status,
            "scopes": sorted(set(row.scopes) & SCOPES),
            "idle_scopes": sorted(set(row.scopes) - SCOPES),
            "first_party": row.first_party,
            "asserts_context": row.asserts_context,
            "segments": row.segments,
            "created_at": rfc3339(row.created_at),
            "keys": len(row.jwks["keys"]) if row.jwks else 0,
            "old_secret_until": _until(row.old_secret_until, now),
            "old_jwks_until": _until(row.old_jwks_until, now),
        }

    def registered(self, tx: Tx, client: UUID) -> bool:
        """Tell whether a client exists, revoked or not."""
        return store.get(tx, client) is not None

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
        row = store.get(tx, identifier) if identifier else None
        given = _digest(secret)
        # All are compared, so that timing does not reveal which one matched.
        equal = sum(opaque.equal(stored, given) for stored in self._secrets(row)) > 0
        if row is None or not equal or row.status != _ACTIVE:
            raise refused()
        return _client(row)

    def authenticate_assertion(
        self, tx: Tx, client_id: str, assertion: str, audiences: list[str]
    ) -> Client:
        """Authenticate a client by a `private_key_jwt` assertion, which is valid only once.

        Raises:
            Unauthorized: It is malformed, with the reason; the client is unknown or none of its
                keys signed it, with one and the same answer; or it was used before.
            TooMany: The client has reached the limit of unexpired assertions.
        """
        from crypto import assertions  # noqa: PLC0415 - as above

        now = self._clock.now()
        names = [name.removesuffix("/") for name in audiences]
        try:
            said = assertions.read(assertion, client_id=client_id, audience=names, now=unix(now))
        except AssertionRefused as error:
            raise refused(f"client_assertion: {error.reason}.") from None
        identifier = parse_id(said.client_id)
        row = store.get(tx, identifier) if identifier else None
        if row is None or row.status != _ACTIVE or not self._made(row, said, now):
            raise refused()
        self._require_room(tx, row.id, now)
        jti = hashlib.sha256(said.jti.encode()).hexdigest()
        expires = datetime.fromtimestamp(said.expires, UTC)
        if not store.use_assertion(tx, client=row.id, jti=jti, expires_at=expires, now=now):
            raise refused("client_assertion: jti was used before.")
        return _client(row)

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
    def _made(row: ClientRow, said: "assertions.Assertion", now: datetime) -> bool:
        """Tell whether a current or still valid replaced key of a client signed the assertion."""
        from crypto import assertions  # noqa: PLC0415 - as above

        old = row.old_jwks if overlaps(row.old_jwks_until, now) else None
        for jwks in filter(None, (row.jwks, old)):
            try:
                assertions.verify(said, jwks)
            except SignatureInvalid:
                continue
            return True
        return False

    def _secrets(self, row: ClientRow | None) -> list[bytes]:
        """Return the digests of the secret, and of a replaced one that is still valid."""
        if row is None:
            return [bytes(32)]
        old = row.old_secret if overlaps(row.old_secret_until, self._clock.now()) else None
        return [row.secret, *([old] if old else [])]

    def _note(
        self, tx: Tx, *, kind: str, row: ClientRow, actor: str | None, until: datetime | None
    ) -> None:
        data: _Overlap = {"old_until": rfc3339(until)} if until else {}
        self._audit.append(tx, kind, actor=actor, client=str(row.id), **data)

    def drop_expired(self, tx: Tx, now: datetime) -> int:
        """Delete a page of assertions that have expired; return how many."""
        return store.drop_assertions(tx, now)

    def _row(self, tx: Tx, client: UUID) -> ClientRow:
        row = store.get(tx, client, lock=True)
        if row is None:
            raise NotFound("client_not_found", "There is no such client.")
        return row


def _until(until: datetime | None, now: datetime) -> str | None:
    return rfc3339(until) if until and overlaps(until, now) else None


def _digest(secret: str) -> bytes:
    return opaque.digest(secret, "client-secret")
