"""`lamina clients`: service accounts."""

from pathlib import Path
from uuid import UUID

import click
import orjson

from service.app import House, open_house
from service.cli.base import command, json_option, settings, show, show_rows
from service.clients.model import SCOPES, NewClient
from service.store.engine import Tx


@click.group()
def clients() -> None:
    """Manage the services that may call."""


@clients.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, help="A scope; may be repeated; 'all' for all.")
@click.option("--first-party", is_flag=True, help="May exchange completion codes for tokens.")
@click.option("--asserts-context", is_flag=True, help="Its ip and device count as evidence.")
@click.option("--segment", "segments", multiple=True, default=("default",), show_default=True)
@click.option("--jwks", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Public keys for private_key_jwt.")  # fmt: skip
@json_option
@command
def create(  # noqa: PLR0913 - one argument per option
    name: str, scopes: tuple[str, ...], jwks: Path | None, segments: tuple[str, ...], *,
    first_party: bool, asserts_context: bool, as_json: bool,
) -> None:  # fmt: skip
    """Register a client; its secret is shown this once.

    Example: lamina clients create shop --scope flows:write --scope subjects:write --first-party
    """
    keys = orjson.loads(jwks.read_bytes()) if jwks else None
    wanted = tuple(SCOPES) if "all" in scopes else scopes
    new = NewClient(name, wanted, first_party, asserts_context, segments, keys)
    house = _house()
    with house.store.transaction() as tx:
        client, secret = house.clients.create(tx, new)
        _break_glass(house, tx, "clients create")
    found = {"client_id": str(client.id), "client_secret": secret}
    text = f"client_id      {client.id}\nclient_secret  {secret}\nThe secret is not shown again."
    show(found, as_json=as_json, text=text)


@clients.command("list")
@json_option
@command
def listing(*, as_json: bool) -> None:
    """List the clients.

    Example: lamina clients list --json
    """
    house = _house()
    with house.store.transaction(read=True) as tx:
        rows = house.clients.listing(tx)
    short = ("client_id", "name", "status", "first_party", "created_at")
    brief = [{name: row[name] for name in short} for row in rows]
    show_rows(rows if as_json else brief, as_json=as_json, empty="no clients yet")


@clients.command()
@click.argument("client", type=click.UUID)
@json_option
@command
def revoke(client: UUID, *, as_json: bool) -> None:
    """End a client; its tokens are refused from now on.

    Example: lamina clients revoke 0198f2c0-0000-7000-8000-000000000000
    """
    house = _house()
    with house.store.transaction() as tx:
        house.clients.revoke(tx, client)
        _break_glass(house, tx, "clients revoke")
    show({"client_id": str(client), "status": "revoked"}, as_json=as_json, text="revoked")


@clients.command("rotate-secret")
@click.argument("client", type=click.UUID)
@json_option
@command
def rotate_secret(client: UUID, *, as_json: bool) -> None:
    """Replace a client's secret; the old one ends at once.

    Example: lamina clients rotate-secret 0198f2c0-0000-7000-8000-000000000000
    """
    house = _house()
    with house.store.transaction() as tx:
        secret = house.clients.rotate_secret(tx, client)
        _break_glass(house, tx, "clients rotate-secret")
    found = {"client_id": str(client), "client_secret": secret}
    show(found, as_json=as_json, text=f"client_secret  {secret}")


def _house() -> House:
    return open_house(settings())


def _break_glass(house: House, tx: Tx, act: str) -> None:
    # Who works on the host passes every approval: that leaves a mark of its own.
    house.audit.append(tx, "break_glass", actor="cli", act=act)
