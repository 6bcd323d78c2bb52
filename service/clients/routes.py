"""HTTP of clients: list, replace a secret or keys under two-person control, revoke."""

from datetime import timedelta
from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.clients.actions import Clients, digest_of, key_set
from service.clients.views import ClientList, ClientView, ClientWithSecret
from service.domain import figures
from service.domain.errors import Forbidden
from service.store.engine import Store, Tx
from service.web.approvals import REQUIRED as APPROVAL
from service.web.approvals import UseApproval
from service.web.call import Call
from service.web.operation import delete, get, post

_SCOPE: Final = "clients:admin"
_ONE: Final = "/v1/clients/{client}"
_MOST: Final = 30 * 86_400
Overlap = Annotated[int, Field(ge=0, le=_MOST)]


class SecretRotation(BaseModel):
    """How many seconds the old secret stays valid, and the approval of two operators."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    overlap: Overlap = figures.OVERLAP
    approval: UUID | None = None


class NewKeys(BaseModel):
    """Public keys, how many seconds the old ones stay valid, and the approval."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    jwks: dict[str, object]
    overlap: Overlap = figures.OVERLAP
    approval: UUID | None = None


class ClientRoutes:
    """HTTP views of clients.

    Args:
        consume: Uses an approval of the caller for one act, target and parameters; returns the
            actors who agreed on it.
    """

    def __init__(self, database: Store, clients: Clients, consume: UseApproval) -> None:
        self._database = database
        self._clients = clients
        self._consume = consume

    @get("/v1/clients", scope=_SCOPE, answer=ClientList)
    def list_clients(self, _call: Call) -> ClientList:
        """List the clients."""
        with self._database.transaction(read=True) as tx:
            return {"items": self._clients.listing(tx)}

    @post(
        f"{_ONE}/secret",
        scope=_SCOPE,
        body=SecretRotation,
        idempotent=True,
        secret=True,
        answer=ClientWithSecret,
        problems=APPROVAL,
    )
    def rotate_client_secret(self, call: Call) -> ClientWithSecret:
        """Replace a client's secret, with an approval.

        A new credential needs two operators, as more scopes do.
        """
        wanted = call.read(SecretRotation)
        client = call.id("client", "client")
        overlap = timedelta(seconds=wanted.overlap)
        with self._database.transaction() as tx:
            actor = self._approved(tx, call, wanted, act="clients.secret", target=str(client))
            secret = self._clients.rotate_secret(tx, client, overlap, actor)
            return {**self._clients.show(tx, client), "client_secret": secret}

    @post(
        f"{_ONE}/jwks",
        scope=_SCOPE,
        body=NewKeys,
        idempotent=True,
        answer=ClientView,
        problems=APPROVAL,
    )
    def replace_client_keys(self, call: Call) -> ClientView:
        """Replace a client's public keys, with an approval.

        Exactly the approved keys are set.
        """
        wanted = call.read(NewKeys)
        client = call.id("client", "client")
        overlap = timedelta(seconds=wanted.overlap)
        jwks = key_set(wanted.jwks)
        with self._database.transaction() as tx:
            target = f"{client} {digest_of(jwks)}"
            actor = self._approved(tx, call, wanted, act="clients.jwks", target=target)
            self._clients.replace_jwks(tx, client=client, jwks=jwks, overlap=overlap, actor=actor)
            return self._clients.show(tx, client)

    @delete(_ONE, scope=_SCOPE, status=204)
    def revoke_client(self, call: Call) -> None:
        """Revoke a client, its secrets and its keys."""
        with self._database.transaction() as tx:
            self._clients.revoke(tx, call.id("client", "client"))

    def _approved(
        self, tx: Tx, call: Call, wanted: SecretRotation | NewKeys, *, act: str, target: str
    ) -> str:
        params = {"overlap": str(wanted.overlap)}
        if wanted.approval is None:
            detail = "This needs another operator's approval of this act and target."
            raise Forbidden("approval_required", detail, act=act, target=target, params=params)
        return self._consume(
            tx, call.by, number=wanted.approval, act=act, target=target, params=params
        )
