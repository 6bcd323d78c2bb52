"""`lamina behavior reset`: forget how somebody types, at the host."""

import click

from service.cli.base import account_of, command, counted, json_option, settings, show


@click.command()
@click.argument("subject")
@json_option
@command
def reset(subject: str, *, as_json: bool) -> None:
    """Forget the profiles of a subject, given by id or identifier, and their alarm.

    Example: lamina behavior reset alice
    """
    from service.app import open_house
    from service.operators.actions import BREAK_GLASS

    house = open_house(settings())
    with house.store.transaction() as tx:
        account = account_of(house.accounts, tx, subject)
        count = house.behaviors.reset(tx, account.id, BREAK_GLASS)
        house.operators.alarm(tx, "behavior reset", account.id)
    answer = {"subject": str(account.id), "profiles": count}
    show(answer, as_json=as_json, text=f"{counted(count, 'profile')} forgotten")
