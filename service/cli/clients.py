"""`lamina clients`: API clients (service accounts)."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from uuid import UUID

import click

from service.cli.base import Span, command, counted, json_option, reading, settings, show, show_rows
from service.clients.model import SCOPES, JwkSet, NewClient
from service.domain.errors import BadInput, Conflict, Fault

if TYPE_CHECKING:
    from service.app import Container
    from service.store.engine import Tx

_LARGEST_SET: Final = 64 * 1024


@click.group()
def clients() -> None:
    """Manage API clients."""


@clients.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, help="A scope; may be repeated; 'all' for all.")
@click.option("--first-party", is_flag=True, help="May exchange completion codes for tokens.")
@click.option(
    "--asserts-context", is_flag=True, help="Its ip and device context counts as evidence."
)
@click.option("--segment", "segments", multiple=True, default=("default",), show_default=True)
@click.option(
    "--jwks",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Public keys for private_key_jwt.",
)
@json_option
@command
def create(  # noqa: PLR0913 - one argument per option
    name: str,
    scopes: tuple[str, ...],
    jwks: Path | None,
    segments: tuple[str, ...],
    *,
    first_party: bool,
    asserts_context: bool,
    as_json: bool,
) -> None:
    """Register a client; its secret is shown only once.

    Example: lamina clients create shop --scope flows:write --scope subjects:write --first-party
    """
    from service.operators.actions import BREAK_GLASS

    keys = _key_set(jwks) if jwks else None
    wanted = tuple(SCOPES) if "all" in scopes else scopes
    new = NewClient(
        name=name,
        scopes=wanted,
        first_party=first_party,
        asserts_context=asserts_context,
        segments=segments,
        # Whether it is a key set is checked at the registration.
        jwks=cast(JwkSet | None, keys),
    )
    container = _container()
    with container.store.transaction() as tx:
        client, secret = container.clients.create(tx, new, BREAK_GLASS)
        _break_glass(container, tx, "clients create")
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
    with reading() as desk, desk.store.transaction(read=True) as tx:
        rows = desk.clients.listing(tx)
    short = (
        "client_id",
        "name",
        "status",
        "first_party",
        "created_at",
        "old_secret_until",
        "old_jwks_until",
    )
    brief = [{name: value for name, value in row.items() if name in short} for row in rows]
    show_rows(rows if as_json else brief, as_json=as_json, empty="no clients yet")


@clients.command()
@click.argument("client", type=click.UUID)
@click.option("--name", help="Another name.")
@click.option("--scope", "scopes", multiple=True, help="New set of scopes; may be repeated.")
@click.option("--segment", "segments", multiple=True, help="New set of segments; may be repeated.")
@json_option
@command
def update(
    client: UUID,
    name: str | None,
    scopes: tuple[str, ...],
    segments: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Change name, scopes or segments of a client; values not given stay unchanged.

    Removed scopes end at once, added ones come with its next token. Keys and secret have separate
    commands, and a revoked client cannot be changed.

    Example: lamina clients update 0198f2c0-0000-7000-8000-000000000000 --name shop --scope flows:write
    """  # noqa: E501 - an example stands on one line
    from service.operators.actions import BREAK_GLASS

    if name is None and not scopes and not segments:
        raise BadInput(Fault("", "missing", "give --name, --scope or --segment"))
    container = _container()
    wanted = tuple(SCOPES) if "all" in scopes else scopes
    with container.store.transaction() as tx:
        if container.clients.show(tx, client)["status"] != "active":
            raise Conflict("client_revoked", "This client was revoked; create another.")
        if name is not None:
            container.clients.rename(tx, client, name, BREAK_GLASS)
        if wanted:
            params = {"scopes": " ".join(wanted)}
            container.clients.approve_scopes(tx, str(client), params, BREAK_GLASS)
        if segments:
            container.clients.set_segments(tx, client, segments, BREAK_GLASS)
        _break_glass(container, tx, "clients update")
        found = container.clients.show(tx, client)
    text = f"{found['name']}: {' '.join(found['scopes'])}; {' '.join(found['segments'])}"
    show(found, as_json=as_json, text=text)


@clients.command()
@click.argument("client", type=click.UUID)
@json_option
@command
def revoke(client: UUID, *, as_json: bool) -> None:
    """Revoke a client; its tokens are refused from now on.

    Example: lamina clients revoke 0198f2c0-0000-7000-8000-000000000000
    """
    from service.operators.actions import BREAK_GLASS

    container = _container()
    with container.store.transaction() as tx:
        container.clients.revoke(tx, client, BREAK_GLASS)
        _break_glass(container, tx, "clients revoke")
    show({"client_id": str(client), "status": "revoked"}, as_json=as_json, text="revoked")


@clients.command("rotate-secret")
@click.argument("client", type=click.UUID)
@click.option(
    "--overlap",
    type=Span(),
    default="0",
    show_default=True,
    help="How long the old secret stays valid: 15m, 24h, 7d.",
)
@json_option
@command
def rotate_secret(client: UUID, overlap: timedelta, *, as_json: bool) -> None:
    """Replace a client's secret; the old one ends at once, or after the overlap.

    Example: lamina clients rotate-secret 0198f2c0-0000-7000-8000-000000000000 --overlap 24h
    """
    from service.operators.actions import BREAK_GLASS

    container = _container()
    with container.store.transaction() as tx:
        secret = container.clients.rotate_secret(tx, client, overlap, BREAK_GLASS)
        _break_glass(container, tx, "clients rotate-secret")
        ends = _ends(container, tx, client)
    found = {"client_id": str(client), "client_secret": secret} | ends
    text = f"client_secret  {secret}\n{_validity(ends['old_secret_until'], 'secret')}"
    show(found, as_json=as_json, text=text)


@clients.command("set-jwks")
@click.argument("client", type=click.UUID)
@click.option(
    "--jwks",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The new public keys, as a JWK set.",
)
@click.option("--remove", is_flag=True, help="Remove the keys instead.")
@click.option(
    "--overlap",
    type=Span(),
    default="0",
    show_default=True,
    help="How long the old keys stay valid: 15m, 24h, 7d.",
)
@json_option
@command
def set_jwks(
    client: UUID, jwks: Path | None, overlap: timedelta, *, remove: bool, as_json: bool
) -> None:
    """Replace a client's public keys; the old ones end at once, or after the overlap.

    Example: lamina clients set-jwks 0198f2c0-0000-7000-8000-000000000000 --jwks new.json --overlap 24h
    """  # noqa: E501 - an example stands on one line
    from service.clients.actions import key_set
    from service.operators.actions import BREAK_GLASS

    if (jwks is None) != remove:
        raise BadInput(Fault("/jwks", "missing", "give either --jwks FILE or --remove"))
    keys = key_set(_key_set(jwks)) if jwks else None
    container = _container()
    with container.store.transaction() as tx:
        container.clients.replace_jwks(
            tx, client=client, jwks=keys, overlap=overlap, actor=BREAK_GLASS
        )
        _break_glass(container, tx, "clients set-jwks")
        ends = _ends(container, tx, client)
    count = len(keys["keys"]) if keys else 0
    text = f"{counted(count, 'key')} registered\n{_validity(ends['old_jwks_until'], 'key set')}"
    show({"client_id": str(client), "keys": count} | ends, as_json=as_json, text=text)


def _container() -> "Container":
    from service.app import open_container

    return open_container(settings())


def _key_set(path: Path) -> object:
    """Return the JSON value of a key file; raises Malformed or BadInput."""
    from service.web import strict_json

    if not path.is_file():
        raise BadInput(Fault("/jwks", "no_file", f"{path.name} is not a regular file"))
    with path.open("rb") as file:
        content = file.read(_LARGEST_SET + 1)
    if len(content) > _LARGEST_SET:
        raise BadInput(Fault("/jwks", "too_large", f"must have at most {_LARGEST_SET} bytes"))
    return strict_json.loads(content)


def _ends(container: "Container", tx: "Tx", client: UUID) -> dict[str, str | None]:
    """Return the end of validity of the replaced secret and keys."""
    row = container.clients.show(tx, client)
    return {name: row[name] for name in ("old_secret_until", "old_jwks_until")}


def _validity(until: str | None, what: str) -> str:
    return (
        f"The old {what} is valid until {until}."
        if until
        else f"The old {what} is no longer valid."
    )


def _break_glass(container: "Container", tx: "Tx", act: str) -> None:
    # Commands on the host bypass approvals, so they are audited as such and raise an alarm.
    container.operators.break_glass.alarm(tx, act)
