"""The command `lamina`."""

from typing import Final

import click

from service.cli.lazy import CommandPlace, LazyGroup

_PLACES: Final = {
    "audit": CommandPlace("service.cli.subjects:audit", "Look after the log."),
    "behavior": CommandPlace(
        "service.cli.behavior:behavior", "Train and measure behavioral models."
    ),
    "clients": CommandPlace("service.cli.clients:clients", "Manage the services that may call."),
    "completion": CommandPlace(
        "service.cli.completion:completion", "Print what completes commands in a shell."
    ),
    "config": CommandPlace(
        "service.cli.config:config",
        "Print each setting with its value, its origin and its meaning; secrets are masked.",
    ),
    "db": CommandPlace("service.cli.database:database", "Look at and change the schema."),
    "demo": CommandPlace(
        "service.cli.demo:demo",
        "Make keys and a database, start the service, and sign a person in through every layer.",
    ),
    "doctor": CommandPlace(
        "service.cli.doctor:doctor",
        "Look at database, schema, keys, ledger, worker, clocks, Redis and disks, a line for each.",
    ),
    "face": CommandPlace("service.cli.face:face", "Look after the face engine."),
    "keys": CommandPlace("service.cli.keys:keys", "Make, look at, rotate, prove and destroy keys."),
    "operators": CommandPlace(
        "service.cli.operators:operators",
        "Make the first operators; list, grant and revoke roles.",
    ),
    "outbox": CommandPlace(
        "service.cli.delivery:outbox",
        "List, retry or drop the events and notices that were not delivered.",
    ),
    "policy": CommandPlace(
        "service.cli.policy:policy", "Write, check, compare, try and put in force policies."
    ),
    "serve": CommandPlace(
        "service.cli.serve:serve", "Serve the API until SIGTERM; requests at hand are finished."
    ),
    "subjects": CommandPlace(
        "service.cli.subjects:subjects",
        "Unlock, export, hold or watch a subject; `lamina keys shred` erases one.",
    ),
    "webhooks": CommandPlace(
        "service.cli.delivery:webhooks",
        "Register where other services hear of events, by signed requests.",
    ),
    "worker": CommandPlace(
        "service.cli.serve:worker",
        "Do the background work until SIGTERM (inside `serve` on SQLite, a process otherwise).",
    ),
}
"""Each with the first sentence of its help, so that `lamina --help` imports none of them."""


@click.group(
    cls=LazyGroup, places=_PLACES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option("0.1.0", prog_name="lamina")
def main() -> None:
    """Layered sign-in for services.

    Settings come from the environment (LAMINA_…) or a .env file. Begin with:

    \b
      lamina keys init
      lamina clients create shop --scope flows:write --first-party
      lamina serve
    """  # noqa: D301 - click takes the control character, not its escape
    from service.telemetry import logs

    # Until a command sets the level that the settings name; what is printed is on stdout alone.
    logs.configure_later("warning")
