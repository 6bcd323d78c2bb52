"""`lamina operators`: the first operator, who has roles, and taking one away."""

from uuid import UUID

import click

from service.app import open_house
from service.cli.base import json_option, settings, show, show_rows
from service.cli.long import refusals
from service.operators.actions import BREAK_GLASS
from service.operators.model import Role


@click.group()
def operators() -> None:
    """Make the first operator; list and revoke roles."""


@operators.command()
@json_option
@refusals
def bootstrap(*, as_json: bool) -> None:
    """Print a one-time link that makes a signed-in person the first security officer.

    It works while there is no operator, once, within a day; others are granted by two operators.

    Example: lamina operators bootstrap
    """
    house = open_house(settings())
    with house.store.transaction() as tx:
        token = house.operators.bootstrap(tx)
    link = f"{house.settings.issuer}/admin/bootstrap#{token}"
    text = f"{link}\nOr: POST /v1/operators/bootstrap with the token {token}\nNot shown again."
    show({"link": link, "token": token}, as_json=as_json, text=text)


@operators.command("list")
@json_option
@refusals
def listing(*, as_json: bool) -> None:
    """List who has which role.

    Example: lamina operators list --json
    """
    house = open_house(settings())
    with house.store.transaction(read=True) as tx:
        show_rows(house.operators.listing(tx), as_json=as_json, empty="no operators yet")


@operators.command()
@click.argument("subject", type=click.UUID)
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@json_option
@refusals
def revoke(subject: UUID, role: str, *, as_json: bool) -> None:
    """Take a role away at once; raises an alarm.

    Example: lamina operators revoke 0198c0de-0000-7000-8000-000000000000 --role operator
    """
    house = open_house(settings())
    with house.store.transaction() as tx:
        house.operators.revoke(tx, subject, role, BREAK_GLASS)
        house.operators.alarm(tx, "operators revoke")
    show({"revoked": role}, as_json=as_json, text=f"{role} revoked")
