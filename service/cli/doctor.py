"""`lamina doctor`: what is wrong with this setup, one line a check."""

import click

from service.cli.base import FAILED, command, json_option, settings, show_rows


@click.command()
@json_option
@command
def doctor(*, as_json: bool) -> None:
    """Compare the clock with the database's and with the last entry of the log.

    While they differ no key is destroyed on schedule and nothing is forgotten that was revoked.
    Ends with 1 where they do.

    Example: lamina doctor --json
    """
    from service.app import open_house

    house = open_house(settings())
    with house.store.transaction(read=True) as tx:
        findings = house.jobs.readings.findings(tx) if house.jobs.readings else []
    rows = [
        {"check": f"clock.{item.name}", "ok": item.agrees, "seconds_ahead": item.seconds}
        for item in findings
    ]
    show_rows(rows, as_json=as_json, empty="nothing to compare the clock with")
    if not all(item.agrees for item in findings):
        raise SystemExit(FAILED)
