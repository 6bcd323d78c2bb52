"""`lamina behavior reset`: delete the behavioral profiles of a subject."""

import click

from service.cli.base import account_of, command, counted, json_option, settings, show


@click.command()
@click.argument("subject")
@json_option
@command
def reset(subject: str, *, as_json: bool) -> None:
    """Delete the profiles and the alarm of a subject, given by id or identifier.

    Example: lamina behavior reset alice
    """
    from service.app import open_container
    from service.operators.actions import BREAK_GLASS

    container = open_container(settings())
    with container.store.transaction() as tx:
        account = account_of(container.accounts, tx, subject)
        count = container.behaviors.reset(tx, account.id, BREAK_GLASS)
        container.operators.break_glass.alarm(tx, "behavior reset", account.id)
    answer = {"subject": str(account.id), "profiles": count}
    show(answer, as_json=as_json, text=f"{counted(count, 'profile')} forgotten")
