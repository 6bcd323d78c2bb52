"""`lamina policy`: draft, validate, backtest, activate and roll back policies."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.cli.base import json_option, reading, settings, show, show_rows, subject_of
from service.cli.choices import FACTORS
from service.cli.long import refusals
from service.domain.errors import BadInput, SetupError

if TYPE_CHECKING:
    from service.app import Container
    from service.policy.actions.backtest import Backtest
    from service.policy.model.compiler import Whole
    from service.store.engine import Tx

DIFFERENT = 3
_SHOWN = ("version", "name", "status", "created_at", "created_by")
file_argument = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
yes_option = click.option(
    "--yes", is_flag=True, help="Act without a second operator; raises an alarm."
)


@click.group()
def policy() -> None:
    """Draft, validate, backtest and activate policies.

    Exit codes: 0 done, 2 refused (nothing changed), 3 a replay found differences. Changes from the
    host need no second operator; they are written to the audit log and raise an alarm.
    """


@policy.command()
@file_argument
@click.option(
    "--factor",
    "factors",
    multiple=True,
    type=click.Choice(FACTORS),
    help="An available factor; default: all except webauthn.",
)
@json_option
@refusals
def validate(file: Path, factors: tuple[str, ...], *, as_json: bool) -> None:
    """Check a YAML or JSON file: syntax, inheritance, conditions, and that it can be satisfied.

    Needs neither keys nor a database. Prints each fault on a line with its JSON pointer.

    Example: lamina policy validate docs/policies/retail.yaml
    """
    from service.policy.actions.parsing import parse
    from service.policy.model.compiler import compile_document, require_satisfiable, warnings

    registered = frozenset(factors) or frozenset(FACTORS) - {"webauthn"}
    try:
        whole = compile_document(parse(file.read_text("utf-8")))
        require_satisfiable(whole, registered)
    except BadInput as error:
        lines = [f"{fault.pointer or '/'}: {fault.detail}" for fault in error.faults]
        raise SetupError("bad_policy", "\n".join(lines)) from None
    found_warnings = warnings(whole)
    found = {
        "version": whole.version,
        "name": whole.document.name,
        "segments": [*whole.segments],
        "warnings": found_warnings,
    }
    lines = [f"warning: {item['pointer']}: {item['detail']}" for item in found_warnings]
    text = "\n".join([f"{whole.version} {whole.document.name}: valid", *lines])
    show(found, as_json=as_json, text=text)


@policy.command()
@json_option
@refusals
def schema(*, as_json: bool) -> None:  # noqa: ARG001 - every command takes it
    """Print the JSON Schema of a policy document.

    Example: lamina policy schema
    """
    from service.policy.model import document

    show(document.schema(), as_json=True)


@policy.command("list")
@json_option
@refusals
def listing(*, as_json: bool) -> None:
    """List the documents, newest first.

    Example: lamina policy list --json
    """
    with reading() as desk:
        lives = desk.lives
        with desk.store.transaction(read=True) as tx:
            rows = [_shown(row) for row in lives.listing(tx)]
    show_rows(rows, as_json=as_json, empty="no policies yet")


@policy.command("show")
@click.argument("version")
@json_option
@refusals
def show_one(version: str, *, as_json: bool) -> None:  # noqa: ARG001 - every command takes it
    """Show a document, its status, and its results as a shadow.

    Example: lamina policy show 3f9a17c2
    """
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction(read=True) as tx:
        found = container.lives.show(tx, version)
    show(found, as_json=True)


@policy.command()
@file_argument
@json_option
@refusals
def draft(file: Path, *, as_json: bool) -> None:
    """Add a file as a draft; its version is the hash of its content.

    Example: lamina policy draft docs/policies/retail.yaml
    """
    from service.operators.actions import BREAK_GLASS
    from service.policy.actions.parsing import parse

    read = parse(file.read_text("utf-8"))
    with _alarmed("draft") as (container, tx):
        done = container.lives.draft(tx, read, BREAK_GLASS)
        done = container.lives.validate(tx, done["version"], BREAK_GLASS)
    _done(done, as_json=as_json)


@policy.command()
@click.argument("version")
@click.option(
    "--days",
    type=click.IntRange(1, 3660),
    help="How many days back; default: all stored decisions.",
)
@json_option
@refusals
def backtest(version: str, days: int | None, *, as_json: bool) -> None:
    """Repeat stored decisions under another policy: old against new results by segment.

    Example: lamina policy backtest 3f9a17c2 --days 30
    """
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction(read=True) as tx:
        whole = container.lives.whole(tx, version)
    test = _run(container, whole, days)
    rows = test.table.listing()
    if as_json:
        show({"segments": rows, "unopened": test.table.unopened}, as_json=True)
        return
    show_rows(rows, as_json=False, empty="no decisions are stored")
    if test.table.unopened:
        click.echo(f"{test.table.unopened} decisions are of erased subjects", err=True)


@policy.command()
@click.option(
    "--days",
    type=click.IntRange(1, 3660),
    help="How many days back; default: all stored decisions.",
)
@json_option
@refusals
def replay(days: int | None, *, as_json: bool) -> None:
    """Repeat stored decisions under their own policy; exit code 3 if any result differs.

    Example: lamina policy replay --json
    """
    from service.app import open_container

    test = _run(open_container(settings()), None, days)
    same = test.table.decisions - len(test.different)
    found = {
        "reproduced": same,
        "different": test.different[:100],
        "unopened": test.table.unopened,
    }
    text = f"{same} reproduced, {len(test.different)} different, {test.table.unopened} unopened"
    show(found, as_json=as_json, text=text)
    if test.different:
        raise SystemExit(DIFFERENT)


@policy.command()
@click.argument("version")
@click.option("--off", is_flag=True, help="End it.")
@json_option
@refusals
def shadow(version: str, *, off: bool, as_json: bool) -> None:
    """Evaluate a document beside the active one; it never changes a response.

    Example: lamina policy shadow 3f9a17c2
    """
    from service.operators.actions import BREAK_GLASS

    with _alarmed("shadow") as (container, tx):
        done = container.lives.shadow(tx, version, BREAK_GLASS, on=not off)
    _done(done, as_json=as_json)


@policy.command()
@click.argument("version")
@yes_option
@json_option
@refusals
def activate(version: str, *, yes: bool, as_json: bool) -> None:
    """Activate a validated document; every process follows within five seconds.

    Example: lamina policy activate 3f9a17c2 --yes
    """
    from service.operators.actions import BREAK_GLASS

    _confirmed(yes=yes)
    with _alarmed("activate") as (container, tx):
        done = container.lives.activate(tx, version, BREAK_GLASS)
    _done(done, as_json=as_json)


@policy.command()
@click.argument("version")
@yes_option
@json_option
@refusals
def rollback(version: str, *, yes: bool, as_json: bool) -> None:
    """Deactivate the active document and activate the one before it.

    Example: lamina policy rollback 3f9a17c2 --yes
    """
    from service.operators.actions import BREAK_GLASS

    _confirmed(yes=yes)
    with _alarmed("rollback") as (container, tx):
        done = container.lives.rollback(tx, version, BREAK_GLASS)
    _done(done, as_json=as_json)


@policy.command()
@click.argument("nats", type=click.FloatRange(-2, 2))
@click.option(
    "--ramp",
    type=click.IntRange(1, 86_400),
    default=600,
    show_default=True,
    help="Seconds until the shift is complete.",
)
@click.option(
    "--hours",
    type=click.IntRange(1, 720),
    default=24,
    show_default=True,
    help="Hours until the shift ends.",
)
@yes_option
@json_option
@refusals
def tighten(nats: float, ramp: int, hours: int, *, yes: bool, as_json: bool) -> None:
    """Shift every threshold by NATS for a while, stricter if above 0; loosening needs --yes.

    Example: lamina policy tighten 1.0 --hours 12
    """
    from service.operators.actions import BREAK_GLASS

    with _alarmed("tighten") as (container, tx):
        done = container.lives.tighten(
            tx, target=nats, ramp=ramp, life=timedelta(hours=hours), actor=BREAK_GLASS, approved=yes
        )
    show(done, as_json=as_json, text=f"shifting thresholds by {nats:+g} nats for {hours} hours")


@policy.command("clear-risk")
@click.argument("subject")
@json_option
@refusals
def clear_risk(subject: str, *, as_json: bool) -> None:
    """Clear the risk of a subject, given by id or identifier.

    Example: lamina policy clear-risk alice
    """
    from service.operators.actions import BREAK_GLASS

    with _alarmed("clear-risk") as (container, tx):
        found = subject_of(container.accounts, tx, subject)
        container.standing.clear(tx, found, BREAK_GLASS)
    show({"cleared": str(found)}, as_json=as_json, text=f"{found}: cleared")


@contextmanager
def _alarmed(act: str) -> Iterator[tuple["Container", "Tx"]]:
    """Yield a transaction for a policy change from the host, and raise its alarm."""
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction() as tx:
        yield container, tx
        container.operators.break_glass.alarm(tx, f"policy {act}")


def _run(container: "Container", whole: "Whole | None", days: int | None) -> "Backtest":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from service.policy.actions.backtest import Backtest

    since = container.clock.now() - timedelta(days=days) if days else None
    test = Backtest(whole, since)
    with container.store.transaction(read=True) as tx:
        total = test.total(tx)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        while True:
            with container.store.transaction(read=True) as tx:
                done = test.page(tx)
            if not done:
                return test
            bar.advance(task, done)


def _confirmed(*, yes: bool) -> None:
    if not yes:
        detail = (
            "over HTTP two operators decide this; here confirm with --yes, which raises an alarm"
        )
        raise SetupError("not_confirmed", detail)


def _shown(view: Mapping[str, object]) -> dict[str, object]:
    return {name: view[name] for name in _SHOWN}


def _done(view: Mapping[str, object], *, as_json: bool) -> None:
    show(_shown(view), as_json=as_json, text=f"{view['version']} {view['name']}: {view['status']}")
