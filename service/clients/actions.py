"""Create, list, rotate, revoke and authenticate clients (RFC 6749 section 2.3, RFC 7523)."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row

from crypto import opaque
from crypto.canonical import canonical_json
from crypto.errors import AssertionRefused, KeySetInvalid, SignatureInvalid
from service.audit.actions import AuditLog
from service.clients import store
from service.clients.model import (
    LONGEST_NAME,
    LONGEST_OVERLAP,
    SCOPES,
    SECRET_PREFIX,
    UNSERVED,
    Client,
    NewClient,
    overlaps,
)
from service.clients.store import ClientRow
from service.domain.bounds import USUAL, Bounds, Tally, room_in
from service.domain.clock import Clock, rfc3339, unix
from service.domain.errors import BadInput, Fault, NotFound, TooMany, Unauthorized
from service.domain.ids import new_id, parse_id
from service.store.engine import Tx

if TYPE_CHECKING:
    from crypto import assertions

_ACTIVE = "active"
_REVOKED = "revoked"
_FULL = 60


def refused(detail: str = "The client does not authenticate.") -> Unauthorized:
    """Return the answer to a client that does not authenticate.

    Args:
        detail: A reason that is the same whether there is such a client or not.
    """
    return Unauthorized("invalid_client", detail)


def _client(row: ClientRow | Row[Any]) -> Client:
    held = frozenset(row.scopes)
    return Client(
        row.id,
        row.name,
        held & SCOPES,
        row.first_party,
        row.asserts_context,
        tuple(row.segments),
        row.jwks,
        held - SCOPES,
    )


def _active(row: Row[Any] | None) -> Client | None:
    return _client(row) if row and row.status == _ACTIVE else None


def known_scopes(scopes: Collection[str], at: str) -> list[str]:
    """Return scopes in order, each once; raises BadInput for one that cannot be given."""
    wanted = sorted(set(scopes))
    if early := sorted(set(wanted) & UNSERVED):
        verb = "opens" if len(early) == 1 else "open"
        detail = f"{' '.join(early)} {verb} nothing yet: no route takes it; leave it out"
        raise BadInput(Fault(at, "scope_not_served", detail))
    if set(wanted) - SCOPES:
        detail = f"holds an unknown scope; known: {' '.join(sorted(SCOPES))}"
        raise BadInput(Fault(at, "unknown_scope", detail))
    return wanted


def key_set(given: object) -> dict[str, Any]:
    """Return a JWK set as it is stored, without anything private; raises BadInput."""
    from crypto.jwks import public_set  # noqa: PLC0415 - who lists clients waits for no JOSE

    try:
        return public_set(given)
    except KeySetInvalid as error:
        raise BadInput(Fault(f"/jwks{error.pointer}", error.code, error.detail)) from None


def digest_of(jwks: Mapping[str, Any]) -> str:
    """Return the name of a key set, by which two operators agree on it and no other."""
    return hashlib.sha256(canonical_json(jwks)).hexdigest()


def check_overlap(overlap: timedelta) -> None:
    """Refuse an overlap that is negative or too long; raises BadInput."""
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        detail = f"must be 0 to {LONGEST_OVERLAP.days} days"
        raise BadInput(Fault("/overlap", "bad_overlap", detail))


class Clients:
    """Service accounts."""

    def __init__(self, audit: AuditLog, clock: Clock, bounds: Bounds = USUAL) -> None:
        self._audit = audit
        self._clock = clock
        self._bounds = bounds
        self._tally = Tally()
        self._plain = store.Plain()

    def create(self, tx: Tx, new: NewClient, actor: str | None = None) -> tuple[Client, str]:
        """Register a client; return it and its secret, which is shown this once.

        Args:
            tx: A unit of work.
            new: What is said of it.
            actor: Who does it; None for who is calling.

        Raises:
            BadInput: A scope is unknown, the name is empty, or a key is not to be stored.
        """
        wanted = known_scopes(new.scopes, "/scopes")
        name = _named(new.name)
        now, secret = self._clock.now(), opaque.new_token(SECRET_PREFIX)
        row = ClientRow(
            id=new_id(now),
            name=name,
            status=_ACTIVE,
            scopes=wanted,
            first_party=new.first_party,
            asserts_context=new.asserts_context,
            segments=list(new.segments),
            jwks=None if new.jwks is None else key_set(new.jwks),
            created_at=now,
        )
        row.secret = _digest(secret)
        tx.add(row)
        self._audit.append(tx, "client.created", actor=actor, client=str(row.id), scopes=wanted)
        return _client(row), secret

    def check_scopes(self, tx: Tx, target: str, params: Mapping[str, Any]) -> None:
        """Refuse an approval that could not be carried out; raises BadInput with its place."""
        client = parse_id(target)
        if client is None or store.get(tx, client) is None:
            raise BadInput(Fault("/target", "client_not_found", "is no client"))
        known_scopes(str(params.get("scopes", "none")).split(), "/params/scopes")

    def approve_scopes(self, tx: Tx, target: str, params: Mapping[str, Any], actor: str) -> None:
        """Replace what a client may do: less at once, more with its next token."""
        row = self._row(tx, UUID(target))
        wanted = known_scopes(str(params["scopes"]).split(), "/params/scopes")
        before, row.scopes = row.scopes, wanted
        self._audit.append(
            tx, "client.scopes_changed", actor=actor, client=target, before=before, scopes=wanted
        )

    def rename(self, tx: Tx, client: UUID, name: str, actor: str | None = None) -> None:
        """Give a client another name; raises BadInput for an empty one, NotFound."""
        row = self._row(tx, client)
        row.name = _named(name)
        self._note(tx, "client.renamed", row, actor, None)

    def set_segments(
        self, tx: Tx, client: UUID, segments: Collection[str], actor: str | None = None
    ) -> None:
        """Say anew for people of which segments a client acts; raises NotFound."""
        row = self._row(tx, client)
        before, row.segments = row.segments, sorted(set(segments))
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
        """Replace the secret; return the new one, which is shown this once.

        Args:
            tx: A unit of work.
            client: Whose.
            overlap: How long the old one still counts; one that counted until now ends at once.
            actor: Who does it; None for who is calling.

        Raises:
            BadInput: The overlap is too long.
            NotFound: There is no such client.
        """
        check_overlap(overlap)
        row, secret = self._row(tx, client), opaque.new_token(SECRET_PREFIX)
        until = self._clock.now() + overlap if overlap else None
        row.old_secret_until, row.old_secret = until, row.secret if overlap else None
        row.secret = _digest(secret)
        self._note(tx, "client.secret_rotated", row, actor, until)
        return secret

    def replace_jwks(
        self,
        tx: Tx,
        client: UUID,
        jwks: Mapping[str, Any] | None,
        overlap: timedelta = timedelta(),
        actor: str | None = None,
    ) -> None:
        """Replace the public keys of a client, or take them away.

        Args:
            tx: A unit of work.
            client: Whose.
            jwks: A set as `key_set` returns it; None for no keys.
            overlap: How long the old ones still count; others before them end at once.
            actor: Who does it; None for who is calling.

        Raises:
            BadInput: The overlap is too long.
            NotFound: There is no such client.
        """
        check_overlap(overlap)
        row = self._row(tx, client)
        kept = row.jwks if overlap else None
        until = self._clock.now() + overlap if kept else None
        row.old_jwks, row.old_jwks_until = kept, until
        row.jwks = None if jwks is None else dict(jwks)
        self._note(tx, "client.jwks_replaced", row, actor, until)

    def revoke(self, tx: Tx, client: UUID, actor: str | None = None) -> None:
        """End a client, its secrets and its keys: its tokens are refused from now on."""
        row = self._row(tx, client)
        row.status, row.old_secret, row.old_jwks = _REVOKED, None, None
        row.old_secret_until = row.old_jwks_until = None
        self._note(tx, "client.revoked", row, actor, None)

    def show(self, tx: Tx, client: UUID) -> dict[str, Any]:
        """Return a client as `listing` does; raises NotFound."""
        tx.flush()
        return self._view(self._row(tx, client))

    def listing(self, tx: Tx) -> list[dict[str, Any]]:
        """Return every client without its secret, and until when what was replaced counts."""
        return [self._view(row) for row in store.clients(tx)]

    def _view(self, row: ClientRow) -> dict[str, Any]:
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
        """Tell whether there is a client, ended or not."""
        return store.get(tx, client) is not None

    def active(self, tx: Tx, client: UUID) -> Client | None:
        """Return a client that may act now."""
        return _active(self._plain.find(tx, client))

    def active_unless(
        self, condition: ColumnElement[bool]
    ) -> Callable[[Tx, UUID, Mapping[str, Any]], Client | None]:
        """Return what finds a client as `active` does, and none where a condition holds.

        Args:
            condition: Of another table, with named values that come with each call; so one
                statement answers both.
        """
        plain = store.Plain(condition)

        def find(tx: Tx, client: UUID, values: Mapping[str, Any]) -> Client | None:
            return _active(plain.find(tx, client, **values))

        return find

    def authenticate_secret(self, tx: Tx, client_id: str, secret: str) -> Client:
        """Check a client secret: 256 random bits, so that one digest is all it needs.

        Raises:
            Unauthorized: Unknown, revoked or wrong, all alike.
        """
        identifier = parse_id(client_id)
        row = store.get(tx, identifier) if identifier else None
        given = _digest(secret)
        # Each is compared, so that the time does not tell which one it was.
        equal = sum(opaque.equal(stored, given) for stored in self._secrets(row)) > 0
        if row is None or not equal or row.status != _ACTIVE:
            raise refused()
        return _client(row)

    def authenticate_assertion(
        self, tx: Tx, client_id: str, assertion: str, audiences: list[str]
    ) -> Client:
        """Check a `private_key_jwt` assertion; each counts once.

        Raises:
            Unauthorized: It is not as it must be, with the reason; or there is no such client, or
                no key of it made this, all alike; or it was used before.
            TooMany: The client has used as many as are remembered.
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
        if not store.use_assertion(tx, row.id, jti, expires, now):
            raise refused("client_assertion: jti was used before.")
        return _client(row)

    def _require_room(self, tx: Tx, client: UUID, now: datetime) -> None:
        """Refuse a client that would fill the list; whoever has no key of it comes no further."""
        most = self._bounds.max_assertions
        if self._tally.full(client, most, now, lambda: store.used(tx, client, most)):
            detail = f"{most} assertions of this client are not over yet; let them end sooner."
            first = store.first_end(tx, client)
            # One that is over is dropped by the next round of maintenance.
            wait = room_in([first], 1, now) if first and first > now else _FULL
            raise TooMany("too_many_assertions", detail, wait)

    @staticmethod
    def _made(row: ClientRow, said: "assertions.Assertion", now: datetime) -> bool:
        """Tell whether a key of a client, or one that it replaced and that still counts, did it."""
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
        """Return the digests that count: of the secret, and of one that was replaced lately."""
        if row is None:
            return [bytes(32)]
        old = row.old_secret if overlaps(row.old_secret_until, self._clock.now()) else None
        return [row.secret, *([old] if old else [])]

    def _note(
        self, tx: Tx, kind: str, row: ClientRow, actor: str | None, until: datetime | None
    ) -> None:
        data: dict[str, Any] = {"old_until": rfc3339(until)} if until else {}
        self._audit.append(tx, kind, actor=actor, client=str(row.id), **data)

    def drop_expired(self, tx: Tx, now: datetime) -> int:
        """Forget a page of assertions that have expired; return how many."""
        return store.drop_assertions(tx, now)

    def _row(self, tx: Tx, client: UUID) -> ClientRow:
        row = store.get(tx, client, lock=True)
        if row is None:
            raise NotFound("client_not_found", "There is no such client.")
        return row


def _named(name: str) -> str:
    found = name.strip()
    if not 0 < len(found) <= LONGEST_NAME:
        detail = f"name the client, with {LONGEST_NAME} characters at most"
        raise BadInput(Fault("/name", "bad_name" if found else "missing", detail))
    return found


def _until(until: datetime | None, now: datetime) -> str | None:
    return rfc3339(until) if until and overlaps(until, now) else None


def _digest(secret: str) -> bytes:
    return opaque.digest(secret, "client-secret")
