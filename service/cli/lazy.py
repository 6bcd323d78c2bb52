"""A command group that imports commands on use, and lists their help without importing them."""

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem


class CommandPlace(NamedTuple):
    """The location of a command and its help in the list of commands.

    Args:
        at: `module:attribute`.
        summary: The first sentence of its help.
    """

    at: str
    summary: str


class _Commands(MutableMapping[str, click.Command]):
    """Commands by name; each is imported on first use."""

    def __init__(self, places: Mapping[str, CommandPlace]) -> None:
        self.places = dict(places)
        self._known: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._known:
            module, _, attribute = self.places[name].at.partition(":")
            self._known[name] = getattr(import_module(module), attribute)
        return self._known[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._known[name] = command
        self.places[name] = CommandPlace("", command.get_short_help_str(limit=200))

    def __delitem__(self, name: str) -> None:
        del self.places[name]
        self._known.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


class LazyGroup(click.Group):
    """A group of commands given by their locations."""

    def __init__(self, *, places: Mapping[str, CommandPlace], **options: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(**options)
        self.commands = self._lazy = _Commands(places)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands as any group does, without importing them."""
        names = self.list_commands(ctx)
        limit = formatter.width - 6 - max(len(name) for name in names)
        rows = [(name, self._short(name, limit)) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _short(self, name: str, limit: int) -> str:
        """Return the help of a command, shortened to a number of characters."""
        return click.Command(name, help=self._lazy.places[name].summary).get_short_help_str(limit)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names of commands, without importing them, and options."""
        named = [
            CompletionItem(name, help=self._lazy.places[name].summary)
            for name in self.list_commands(ctx)
            if name.startswith(incomplete)
        ]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]
