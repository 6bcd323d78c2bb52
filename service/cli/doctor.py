"""`lamina doctor`: check the deployment, one line per check."""

from typing import TYPE_CHECKING

import click

from service.cli.base import FAILED, command, counted, json_option, settings, show

if TYPE_CHECKING:
    from service.cli.results import CheckResult

_WORDS = {True: "ok", False: "finding", None: "unknown"}


@click.command()
@json_option
@command
def doctor(*, as_json: bool) -> None:
    """Check database, schema, keys, ledger, worker, clocks, Redis and disks.

    Prints a line per check: each problem with its remedy, and exits with 1 if there is any. Checks
    that are impossible from here are reported as unknown, with the reason. While clocks differ, no
    key is destroyed on schedule and no record of a revocation is deleted.

    Example: lamina doctor --json
    """
    from service.cli.checks import look

    found = list(look(settings()))
    show([item.to_json() for item in found], as_json=as_json, text="\n".join(map(_line, found)))
    findings = sum(item.ok is False for item in found)
    if findings:
        click.echo(f"lamina: {counted(findings, 'finding')}", err=True)
        raise SystemExit(FAILED)


def _line(item: "CheckResult") -> str:
    mend = f"; mend: {item.mend}" if item.mend else ""
    return f"{_WORDS[item.ok]:<8} {item.check:<16} {item.state}{mend}"
