"""Create, list, rotate, revoke and authenticate clients (RFC 6749 section 2.3, RFC 7523)."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row

from crypto import opaque
from crypto.errors import SignatureInvalid
from crypto.signing import verify_client_assertion
from service.audit.actions import AuditLog
from service.clients import store
from service.clients.model import SCOPES, SECRET_PREFIX, Client, NewClient
from service.clients.store import ClientRow
from service.domain.clock import Clock, rfc3339, unix
from service.domain.errors import BadInput, Fault, NotFound, Unauthorized
from service.domain.ids import new_id, parse_id
from service.store.engine import Tx

_ACTIVE = "active"
_REVOKED = "revoked"


def refused() -> Unauthorized:
    """Return the one answer to every client that does not authenticate."""
    return Unauthorized("invalid_client", "The client does not authenticate.")


def _client(row: ClientRow | Row[Any]) -> Client:
    return Client(
        row.id, row.name, frozenset(row.scopes), row.first_party, row.asserts_context,
        tuple(row.segments), row.jwks,
    )  # fmt: skip


def known_scopes(scopes: Collection[str], at: str) -> list[str]:
    """Return scopes in order, each once; raises BadInput for one that there is not."""
    wanted = sorted(set(scopes))
    if unknown := sorted(set(wanted) - SCOPES):
        detail = f"unknown scope {unknown[0]}; known: {' '.join(sorted(SCOPES))}"
        raise BadInput(Fault(at, "unknown_scope", detail))
    return wanted


class Clients:
    """Service accounts."""

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock

    def create(self, tx: Tx, new: NewClient) -> tuple[Client, str]:
        """Register a client; return it and its secret, which is shown this once.

        Raises:
            BadInput: A scope is unknown or the name is empty.
        """
        wanted = known_scopes(new.scopes, "/scopes")
        if not new.name.strip():
            raise BadInput(Fault("/name", "missing", "name the client"))
        now, secret = self._clock.now(), opaque.new_token(SECRET_PREFIX)
        row = ClientRow(
            id=new_id(now), name=new.name.strip(), status=_ACTIVE, scopes=wanted,
            first_party=new.first_party, asserts_context=new.asserts_context,
            segments=list(new.segments), jwks=new.jwks, created_at=now,
        )  # fmt: skip
        row.secret = _digest(secret)
        tx.add(row)
        self._audit.append(tx, "client.created", actor=str(row.id), scopes=wanted)
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

    def rotate_secret(self, tx: Tx, client: UUID) -> str:
        """Replace the secret; the old one ends at once."""
        row, secret = self._row(tx, client), opaque.new_token(SECRET_PREFIX)
        row.secret = _digest(secret)
        self._audit.append(tx, "client.secret_rotated", actor=str(client))
        return secret

    def revoke(self, tx: Tx, client: UUID) -> None:
        """End a client: its tokens are refused from now on."""
        self._row(tx, client).status = _REVOKED
        self._audit.append(tx, "client.revoked", actor=str(client))

    def listing(self, tx: Tx) -> list[dict[str, Any]]:
        """Return every client without its secret."""
        return [
            {
                "client_id": str(row.id),
                "name": row.name,
                "status": row.status,
                "scopes": row.scopes,
                "first_party": row.first_party,
                "asserts_context": row.asserts_context,
                "segments": row.segments,
                "created_at": rfc3339(row.created_at),
            }
            for row in store.clients(tx)
        ]

    def active(self, tx: Tx, client: UUID) -> Client | None:
        """Return a client that may act now."""
        row = store.plain(tx, client)
        return _client(row) if row and row.status == _ACTIVE else None

    def active_unless(
        self, condition: ColumnElement[bool]
    ) -> Callable[[Tx, UUID, Mapping[str, Any]], Client | None]:
        """Return what finds a client as `active` does, and none where a condition holds.

        Args:
            condition: Of another table, with named values that come with each call; so one
                statement answers both.
        """
        statement = store.plain_unless(condition)

        def find(tx: Tx, client: UUID, values: Mapping[str, Any]) -> Client | None:
            row = tx.execute(statement, {**values, "b_id": client}).first()
            return _client(row) if row and row.status == _ACTIVE else None

        return find

    def authenticate_secret(self, tx: Tx, client_id: str, secret: str) -> Client:
        """Check a client secret: 256 random bits, so that one digest is all it needs.

        Raises:
            Unauthorized: Unknown, revoked or wrong, all alike.
        """
        identifier = parse_id(client_id)
        row = store.get(tx, identifier) if identifier else None
        stored = row.secret if row else bytes(32)
        equal = opaque.equal(stored, _digest(secret))
        if row is None or not equal or row.status != _ACTIVE:
            raise refused()
        return _client(row)

    def authenticate_assertion(
        self, tx: Tx, client_id: str, assertion: str, audiences: list[str]
    ) -> Client:
        """Check a `private_key_jwt` assertion; each counts once.

        Raises:
            Unauthorized: Unknown client, no registered key, a bad or a used assertion.
        """
        identifier = parse_id(client_id)
        client = self.active(tx, identifier) if identifier else None
        if client is None or client.jwks is None:
            raise refused()
        now = self._clock.now()
        try:
            claims = verify_client_assertion(
                assertion, client.jwks, client_id=client_id, audience=audiences, now=unix(now)
            )
        except SignatureInvalid:
            raise refused() from None
        store.drop_assertions(tx, now)
        jti = hashlib.sha256(str(claims["jti"]).encode()).hexdigest()
        if not store.use_assertion(tx, client.id, jti, datetime.fromtimestamp(claims["exp"], UTC)):
            raise refused()
        return client

    def _row(self, tx: Tx, client: UUID) -> ClientRow:
        row = store.get(tx, client)
        if row is None:
            raise NotFound("client_not_found", "There is no such client.")
        return row


def _digest(secret: str) -> bytes:
    return opaque.digest(secret, "client-secret")
