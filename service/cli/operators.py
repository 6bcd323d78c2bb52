"""`lamina operators`: bootstrap operators, list roles, grant or revoke one."""

from typing import TYPE_CHECKING
from uuid import UUID

import click

from service.cli.base import account_of, json_option, reading, settings, show, show_rows, subject_of
from service.cli.long import refusals
from service.domain.errors import NotFound
from service.operators.model import MOST_FIRST, QUORUM, Role

if TYPE_CHECKING:
    from service.app import Container
    from service.store.engine import Tx

_BOOTSTRAP = "/v1/operators/bootstrap"
_ROLES = click.Choice([role.value for role in Role])


@click.group()
def operators() -> None:
    """Bootstrap operators; list, grant and revoke roles."""


@operators.command()
@click.option(
    "--operators",
    "seats",
    type=click.IntRange(QUORUM, MOST_FIRST),
    default=QUORUM,
    show_default=True,
    help="How many; each gets a separate token.",
)
@click.option("--reopen", is_flag=True, help="Void earlier tokens and start again.")
@json_option
@refusals
def bootstrap(seats: int, *, reopen: bool, as_json: bool) -> None:
    """Print one-time tokens; each makes a signed-in person a security officer.

    Acts need two operators, so two or three tokens are made. Each works once, within a day, for a
    different person; two operators grant further roles. Raises an alarm.

    Example: lamina operators bootstrap --operators 3
    """
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction() as tx:
        tokens = container.operators.break_glass.bootstrap(tx, seats, reopen=reopen)
    place = f"{container.settings.issuer}{_BOOTSTRAP}"
    answer = {"post": place, "token": tokens[0], "operators": [{"token": it} for it in tokens]}
    body = '{"token": "lboot_…", "access_token": "…"}'
    advice = f"Give each to a different person, who signs in; a client sends:\nPOST {place} {body}"
    text = "\n".join([*tokens, advice, "Each works once, within a day. Not shown again."])
    show(answer, as_json=as_json, text=text)


@operators.command("list")
@json_option
@refusals
def listing(*, as_json: bool) -> None:
    """List operators and their roles; warns on stderr about acts that too few can approve.

    Example: lamina operators list --json
    """
    with reading() as desk, desk.store.transaction(read=True) as tx:
        rows = desk.operators.roles.listing(tx)
        short = desk.operators.roles.short(tx)
    show_rows(rows, as_json=as_json, empty="no operators yet: lamina operators bootstrap")
    for item in short if rows else ():
        text = f"lamina: {item['able']} of {QUORUM} needed operators have {item['scope']}"
        click.echo(f"{text}: lamina operators grant SUBJECT ROLE", err=True)


@operators.command()
@click.argument("subject")
@click.argument("role", type=_ROLES)
@json_option
@refusals
def grant(subject: str, role: str, *, as_json: bool) -> None:
    """Grant a role to a subject, by id or identifier, without a second operator; raises an alarm.

    Example: lamina operators grant alice security_officer
    """
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction() as tx:
        found = account_of(container.accounts, tx, subject).id
        container.operators.break_glass.grant(tx, found, Role(role))
    show({"subject": str(found), "granted": role}, as_json=as_json, text=f"{role} granted")


@operators.command()
@click.argument("subject")
@click.option("--role", type=_ROLES, help="Only this role; default: all roles.")
@json_option
@refusals
def revoke(subject: str, role: str | None, *, as_json: bool) -> None:
    """Revoke roles of a subject, by id or identifier, and void its requests; raises an alarm.

    Example: lamina operators revoke alice --role operator
    """
    from service.app import open_container
    from service.operators.actions import BREAK_GLASS

    container = open_container(settings())
    with container.store.transaction() as tx:
        found = subject_of(container.accounts, tx, subject)
        names = [role] if role else _held(container, tx, found)
        for name in names:
            container.operators.roles.revoke(tx, found, name, BREAK_GLASS)
        container.operators.break_glass.alarm(tx, "operators revoke", found)
    gone = ", ".join(names)
    show({"revoked": role or names}, as_json=as_json, text=f"{gone} revoked")


def _held(container: "Container", tx: "Tx", subject: UUID) -> list[str]:
    rows = container.operators.roles.listing(tx)
    names = [str(row["role"]) for row in rows if row["subject"] == str(subject)]
    if not names:
        raise NotFound("role_not_found", "This subject has no role.")
    return names
