"""`lamina behavior reset`: forget how somebody types, at the host."""

import click

from service.accounts.model import Account
from service.app import open_house
from service.cli.base import command, json_option, settings, show
from service.domain.errors import NotFound
from service.domain.ids import parse_id


@click.command()
@click.argument("subject")
@json_option
@command
def reset(subject: str, *, as_json: bool) -> None:
    """Forget the profiles of a subject, given by id or identifier, and their alarm.

    Example: lamina behavior reset alice
    """
    house = open_house(settings())
    with house.store.transaction() as tx:
        found = parse_id(subject)
        account: Account | None = (
            house.accounts.get(tx, found) if found else house.accounts.find(tx, subject).account
        )
        if account is None:
            raise NotFound("subject_not_found", "No subject can sign in with this identifier.")
        count = house.behaviors.reset(tx, account.id, "cli")
        house.operators.alarm(tx, "behavior reset")
    answer = {"subject": str(account.id), "profiles": count}
    show(answer, as_json=as_json, text=f"{count} profiles forgotten")
