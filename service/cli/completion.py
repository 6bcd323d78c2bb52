"""`lamina completion`: completion scripts for shells."""

import click
from click.shell_completion import get_completion_class

from service.cli.base import command
from service.domain.errors import SetupError

_NAME = "lamina"
_VARIABLE = "_LAMINA_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@command
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    Example: lamina completion bash > ~/.local/share/bash-completion/completions/lamina

    Example: lamina completion zsh > "${fpath[1]}/_lamina"

    Example: lamina completion fish > ~/.config/fish/completions/lamina.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise SetupError("no_completion", f"no completion script for {shell}")
    # Always the installed name, even if the program was called by another.
    click.echo(found(_root(), {}, _NAME, _VARIABLE).source())


def _root() -> click.Command:
    return click.get_current_context().find_root().command
