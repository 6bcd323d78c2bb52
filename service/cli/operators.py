"""`lamina operators`: the first operators, who has roles, and giving or taking one."""

from uuid import UUID

import click

from service.app import House, open_house
from service.cli.base import account_of, json_option, settings, show, show_rows
from service.cli.long import refusals
from service.domain.errors import NotFound
from service.operators.actions import BREAK_GLASS
from service.operators.model import MOST_FIRST, QUORUM, Role
from service.store.engine import Tx

_ROLES = click.Choice([role.value for role in Role])


@click.group()
def operators() -> None:
    """Make the first operators; list, grant and revoke roles."""


@operators.command()
@click.option("--operators", "seats", type=click.IntRange(QUORUM, MOST_FIRST), default=QUORUM,
              show_default=True, help="How many: each gets a link of their own.")  # fmt: skip
@click.option("--reopen", is_flag=True, help="End the links given out before and begin again.")
@json_option
@refusals
def bootstrap(seats: int, *, reopen: bool, as_json: bool) -> None:
    """Print one-time links, each of which makes a signed-in person a security officer.

    It takes two to agree on anything, so two or three are made. Each link works once, within a day,
    for a person of its own; others are granted by two operators. Raises an alarm.

    Example: lamina operators bootstrap --operators 3
    """
    house = open_house(settings())
    with house.store.transaction() as tx:
        tokens = house.operators.bootstrap(tx, seats, reopen=reopen)
    found = [
        {"link": f"{house.settings.issuer}/admin/bootstrap#{it}", "token": it} for it in tokens
    ]
    lines = "\n".join(item["link"] for item in found)
    text = f"{lines}\nGive each to another person. Or: POST /v1/operators/bootstrap with the token"
    answer = {**found[0], "operators": found}
    show(answer, as_json=as_json, text=f"{text} after the #.\nNot shown again.")


@operators.command("list")
@json_option
@refusals
def listing(*, as_json: bool) -> None:
    """List who has which role; says on stderr what too few can agree on.

    Example: lamina operators list --json
    """
    house = open_house(settings())
    with house.store.transaction(read=True) as tx:
        rows, short = house.operators.listing(tx), house.operators.short(tx)
    show_rows(rows, as_json=as_json, empty="no operators yet: lamina operators bootstrap")
    for item in short if rows else ():
        text = f"lamina: {item['able']} can agree on what needs {item['scope']}, it takes {QUORUM}"
        click.echo(f"{text}: lamina operators grant SUBJECT ROLE", err=True)


@operators.command()
@click.argument("subject")
@click.argument("role", type=_ROLES)
@json_option
@refusals
def grant(subject: str, role: str, *, as_json: bool) -> None:
    """Give a role to a subject, by id or identifier, past the two-person rule; raises an alarm.

    Example: lamina operators grant alice security_officer
    """
    house = open_house(settings())
    with house.store.transaction() as tx:
        found = account_of(house.accounts, tx, subject).id
        house.operators.grant(tx, found, Role(role))
    show({"subject": str(found), "granted": role}, as_json=as_json, text=f"{role} granted")


@operators.command()
@click.argument("subject", type=click.UUID)
@click.option("--role", type=_ROLES, help="Only this one; else every role.")
@json_option
@refusals
def revoke(subject: UUID, role: str | None, *, as_json: bool) -> None:
    """Take roles away at once, and what was asked for by them; raises an alarm.

    Example: lamina operators revoke 0198c0de-0000-7000-8000-000000000000 --role operator
    """
    house = open_house(settings())
    with house.store.transaction() as tx:
        names = [role] if role else _held(house, tx, subject)
        for name in names:
            house.operators.revoke(tx, subject, name, BREAK_GLASS)
        house.operators.alarm(tx, "operators revoke")
    gone = ", ".join(names)
    show({"revoked": role or names}, as_json=as_json, text=f"{gone} revoked")


def _held(house: House, tx: Tx, subject: UUID) -> list[str]:
    rows = house.operators.listing(tx)
    names = [str(row["role"]) for row in rows if row["subject"] == str(subject)]
    if not names:
        raise NotFound("role_not_found", "This subject has no role.")
    return names
