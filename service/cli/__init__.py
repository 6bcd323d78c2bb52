"""The command `lamina`."""

import click

from service.cli import (
    behavior,
    clients,
    database,
    delivery,
    demo,
    doctor,
    face,
    keys,
    operations,
    operators,
    policy,
    profiles,
    serve,
)
from service.telemetry import logs


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option("0.1.0", prog_name="lamina")
def main() -> None:
    """Layered sign-in for services.

    Settings come from the environment (LAMINA_…) or a .env file. Begin with:

    \b
      lamina keys init
      lamina clients create shop --scope flows:write --first-party
      lamina serve
    """  # noqa: D301 - click takes the control character, not its escape
    # Until a command sets the level that the settings name; what is printed is on stdout alone.
    logs.configure("warning")


for group in (
    serve.serve, serve.worker, demo.demo, doctor.doctor, keys.keys, database.database,
    clients.clients, face.face,
    delivery.outbox, delivery.webhooks, operations.subjects, operations.audit, operators.operators,
    policy.policy,
    behavior.behavior,
):  # fmt: skip
    main.add_command(group)
behavior.behavior.add_command(profiles.reset)
