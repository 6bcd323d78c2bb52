"""Create, list, rotate and revoke clients."""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import TypedDict
from uuid import UUID

from crypto import opaque
from crypto.canonical import canonical_json
from crypto.errors import KeySetInvalid
from service.audit.actions.audit_log import AuditLog
from service.clients import store
from service.clients.actions.authentication import (
    ACTIVE,
    Authentication,
    client_of,
    digest_of_secret,
)
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
from service.domain.bounds import USUAL, Bounds
from service.domain.clock import Clock, rfc3339
from service.domain.errors import BadInput, Fault, NotFound
from service.domain.ids import new_id, parse_id
from service.store.engine import Tx

_REVOKED = "revoked"


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


class Clients(Authentication):
    """Service accounts and their credentials.

    Args:
        audit: The audit log.
        clock: The clock.
        bounds: The limit of stored assertions.
        kept: Seconds for which `recognized` knows a client that `authenticate_secret` found.
    """

    def __init__(
        self, audit: AuditLog, clock: Clock, bounds: Bounds = USUAL, *, kept: float = 0.0
    ) -> None:
        super().__init__(clock, bounds, kept=kept)
        self._audit = audit

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
            status=ACTIVE,
            scopes=wanted,
            first_party=new.first_party,
            asserts_context=new.asserts_context,
            segments=list(dict.fromkeys(new.segments)),
            jwks=None if new.jwks is None else key_set(new.jwks),
            created_at=now,
        )
        row.secret = digest_of_secret(secret)
        tx.add(row)
        self._audit.append(tx, "client.created", actor=actor, client=str(row.id), scopes=wanted)
        return client_of(row), secret

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
        row.secret = digest_of_secret(secret)
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

    def _note(
        self, tx: Tx, *, kind: str, row: ClientRow, actor: str | None, until: datetime | None
    ) -> None:
        data: _Overlap = {"old_until": rfc3339(until)} if until else {}
        self._audit.append(tx, kind, actor=actor, client=str(row.id), **data)

    def _row(self, tx: Tx, client: UUID) -> ClientRow:
        row = store.get(tx, client, lock=True)
        if row is None:
            raise NotFound("client_not_found", "There is no such client.")
        return row


def _until(until: datetime | None, now: datetime) -> str | None:
    return rfc3339(until) if until and overlaps(until, now) else None
