"""`lamina outbox` and `lamina webhooks`: undelivered messages, and recipients of events."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import click

from service.cli.base import Span, command, counted, json_option, reading, settings, show, show_rows
from service.domain.errors import BadInput, Fault, NotFound
from service.domain.ids import parse_id

if TYPE_CHECKING:
    from service.app.container import Container
    from service.store.engine import Tx

_OVERLAP: Final = timedelta(hours=24)

_limit = click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
_reveal = click.option("--reveal", is_flag=True, help="Show payloads: addresses and codes.")
_dead = click.option("--dead", is_flag=True, help="All dead messages, up to 1,000.")


@click.group(invoke_without_command=True)
@_limit
@_reveal
@json_option
@click.pass_context
def outbox(context: click.Context, limit: int, *, reveal: bool, as_json: bool) -> None:
    """List, retry or drop undelivered messages.

    Without a subcommand, lists them.

    Example: lamina outbox --limit 10 --json
    """
    if context.invoked_subcommand is None:
        context.invoke(list_messages, limit=limit, reveal=reveal, as_json=as_json)


@outbox.command("list")
@_limit
@_reveal
@json_option
@command
def list_messages(limit: int, *, reveal: bool, as_json: bool) -> None:
    """List undelivered messages: new, waiting, held (no recipient) or dead.

    Example: lamina outbox list --json
    """
    with reading() as desk, desk.store.transaction() as tx:
        rows = desk.outbox.waiting(tx, limit, reveal=reveal)
        if reveal:
            desk.operators.break_glass.alarm(tx, "outbox --reveal")
    show_rows(rows, as_json=as_json, empty="nothing waits")


@outbox.command()
@click.argument("ids", nargs=-1)
@_dead
@json_option
@command
def retry(ids: tuple[str, ...], *, dead: bool, as_json: bool) -> None:
    """Retry messages that are dead or held; expired codes are not sent.

    Example: lamina outbox retry --dead
    """
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction() as tx:
        chosen = _chosen(container, tx, ids, dead=dead)
        count = container.outbox.retry(tx, chosen)
    text = f"{counted(count, 'message')} of {len(chosen)} will be retried"
    show({"retried": count, "asked": len(chosen)}, as_json=as_json, text=text)


@outbox.command()
@click.argument("ids", nargs=-1)
@_dead
@json_option
@command
def drop(ids: tuple[str, ...], *, dead: bool, as_json: bool) -> None:
    """Delete messages without delivering them.

    Example: lamina outbox drop 0192f0c2-7d3e-7a51-9c3e-0f1d2e3c4b5a
    """
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction() as tx:
        count = container.outbox.drop(tx, _chosen(container, tx, ids, dead=dead))
        container.operators.break_glass.alarm(tx, "outbox drop")
    show({"dropped": count}, as_json=as_json, text=f"{counted(count, 'message')} dropped")


@click.group()
def webhooks() -> None:
    """Manage webhooks, which receive events by signed requests."""


@webhooks.command("add")
@click.argument("url")
@click.option(
    "--kinds",
    default="*",
    show_default=True,
    help="Kinds of events, such as authenticator.* and subject.suspended.",
)
@click.option("--client", help="Only events caused by this client, by its id.")
@json_option
@command
def add_webhook(url: str, kinds: str, client: str | None, *, as_json: bool) -> None:
    """Register a webhook and print its signing secret, only once.

    Example: lamina webhooks add https://shop.example/lamina --kinds "authenticator.*"
    """
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction() as tx:
        owner = _id(client, "client") if client else None
        if owner is not None:
            container.clients.show(tx, owner)
        made = container.delivery.webhooks.add(tx, url=url, kinds=kinds, client=owner)
        container.operators.break_glass.alarm(tx, "webhooks add")
    text = f"webhook {made['id']}\nsecret  {made['secret']}   (shown only once)"
    show(made, as_json=as_json, text=text)


@webhooks.command("list")
@json_option
@command
def list_webhooks(*, as_json: bool) -> None:
    """List webhooks.

    Example: lamina webhooks list --json
    """
    with reading() as desk, desk.store.transaction(read=True) as tx:
        rows = desk.webhooks.listed(tx)
    show_rows(rows, as_json=as_json, empty="no webhooks")


@webhooks.command("rotate-secret")
@click.argument("webhook")
@click.option(
    "--overlap",
    type=Span(),
    default=_OVERLAP,
    show_default="24h",
    help="How long the old secret also signs: 15m, 24h, 7d.",
)
@json_option
@command
def rotate_secret(webhook: str, overlap: timedelta, *, as_json: bool) -> None:
    """Replace the secret of a webhook and print it once; both sign during the overlap.

    Example: lamina webhooks rotate-secret 0192f0c2-7d3e-7a51-9c3e-0f1d2e3c4b5a --overlap 7d
    """
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction() as tx:
        made = container.delivery.webhooks.rotate(tx, _id(webhook, "webhook"), overlap)
        container.operators.break_glass.alarm(tx, "webhooks rotate-secret")
    text = f"secret  {made['secret']}   (shown only once)"
    show(made, as_json=as_json, text=text)


@webhooks.command("remove")
@click.argument("webhook")
@json_option
@command
def remove_webhook(webhook: str, *, as_json: bool) -> None:
    """Remove a webhook; its waiting messages are not delivered.

    Example: lamina webhooks remove 0192f0c2-7d3e-7a51-9c3e-0f1d2e3c4b5a
    """
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction() as tx:
        container.delivery.webhooks.remove(tx, _id(webhook, "webhook"))
        container.operators.break_glass.alarm(tx, "webhooks remove")
    show({"removed": webhook}, as_json=as_json, text="removed")


def _chosen(container: "Container", tx: "Tx", ids: tuple[str, ...], *, dead: bool) -> list[UUID]:
    if bool(ids) == dead:
        raise BadInput(Fault("", "choose", "give message ids, or --dead"))
    return container.outbox.dead(tx) if dead else [_id(each, "message") for each in ids]


def _id(text: str, what: str) -> UUID:
    found = parse_id(text)
    if found is None:
        raise NotFound(f"{what}_not_found", f"{text[:40]!r} is not the id of a {what}.")
    return found
