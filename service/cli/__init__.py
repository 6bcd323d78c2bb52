"""The command `lamina`."""

from typing import Final

import click

from service.cli.lazy import CommandPlace, LazyGroup
from service.domain.version import VERSION

_PLACES: Final = {
    "audit": CommandPlace("service.cli.subjects:audit", "Verify the audit log."),
    "behavior": CommandPlace(
        "service.cli.behavior:behavior", "Train and measure behavioral models."
    ),
    "clients": CommandPlace("service.cli.clients:clients", "Manage API clients."),
    "completion": CommandPlace(
        "service.cli.completion:completion", "Print the completion script of a shell."
    ),
    "config": CommandPlace(
        "service.cli.config:config",
        "Print each setting with its value, its origin and its meaning; secrets are masked.",
    ),
    "db": CommandPlace("service.cli.database:database", "Show or upgrade the database schema."),
    "demo": CommandPlace(
        "service.cli.demo:demo",
        "Create keys and a database, start the service, and sign in with every kind of factor.",
    ),
    "doctor": CommandPlace(
        "service.cli.doctor:doctor",
        "Check database, schema, keys, ledger, worker, clocks, Redis and disks.",
    ),
    "face": CommandPlace("service.cli.face:face", "Manage and evaluate the face engine."),
    "keys": CommandPlace("service.cli.keys:keys", "Create, list, rotate, verify and destroy keys."),
    "maintenance": CommandPlace(
        "service.cli.maintenance:maintenance",
        "Show rows and bytes of each table, bytes a login, overdue rows and unused indexes.",
    ),
    "operators": CommandPlace(
        "service.cli.operators:operators",
        "Bootstrap operators; list, grant and revoke roles.",
    ),
    "outbox": CommandPlace(
        "service.cli.delivery:outbox",
        "List, retry or drop undelivered messages.",
    ),
    "policy": CommandPlace(
        "service.cli.policy:policy", "Draft, validate, backtest and activate policies."
    ),
    "serve": CommandPlace(
        "service.cli.serve:serve", "Serve the API until SIGTERM, then finish open requests."
    ),
    "subjects": CommandPlace(
        "service.cli.subjects:subjects",
        "Unlock, hold, watch or export a subject; `lamina keys shred` erases one.",
    ),
    "webhooks": CommandPlace(
        "service.cli.delivery:webhooks",
        "Manage webhooks, which receive events by signed requests.",
    ),
    "worker": CommandPlace(
        "service.cli.serve:worker",
        "Run background work until SIGTERM (on SQLite, `serve` does it).",
    ),
}
"""Commands with the first sentence of their help, so that `lamina --help` imports none."""


@click.group(
    cls=LazyGroup, places=_PLACES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(VERSION, prog_name="lamina")
def main() -> None:
    """Layered sign-in for services.

    Settings come from the environment (LAMINA_…) or a .env file. Begin with:

    \b
      lamina keys init
      lamina clients create shop --scope flows:write --first-party
      lamina serve
    """  # noqa: D301 - click takes the control character, not its escape
    from service.telemetry import logs

    # Until a command applies the log level of the settings; stdout carries only command output.
    logs.configure_later("warning")
