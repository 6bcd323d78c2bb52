"""`lamina config`: each setting with its value, origin and meaning."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from service.cli.base import cell, command, json_option, show

if TYPE_CHECKING:
    from service.settings import Settings

_HIDDEN: Final = "***"
_SECRETS: Final = frozenset({"sms_secret"})
_HOST_ONLY: Final = frozenset({"sms_url"})
"""Of an address that gateways give out, the path can be what lets a caller in."""
_INLINE: Final = re.compile(
    r"\b((?:secret|pin|pin-value|password|passphrase)=)(?!file:|fd:).+", re.IGNORECASE
)
"""A secret in the setting itself: its end is not known, so the rest of the setting is hidden."""
_CLASSES: Final = "root_key_classes"
_HEAD: Final = """# Settings

Each is a variable of the environment or a line of `.env` in the directory that a command is started
in; the environment wins. An unknown `LAMINA_` name or a bad value stops the start with one line.
`lamina config` prints every setting with its value and where it comes from, passwords masked
(`--json` for programs).

This page is made by `make settings-docs`; the words stand in `service/cli/settings.toml`.
"""
_BOUNDS: Final = "What happens beyond each bound: [retention.md](retention.md#bounds)."


@click.command()
@click.option("--markdown", is_flag=True, help="Print the page docs/settings.md: no values.")
@json_option
@command
def config(*, markdown: bool, as_json: bool) -> None:
    """Print each setting with its value, its origin and its meaning; secrets are masked.

    The origin is `default`, `environment` or `.env`, and the environment wins.

    Example: lamina config --json
    """
    if markdown:
        click.echo(page(), nl=False)
        return
    from service.settings import load, origins

    rows = list(_rows(load(), origins()))
    show(rows, as_json=as_json, text="\n".join(map(_text, rows)))


def _rows(settings: "Settings", origins: Mapping[str, str]) -> Iterator[dict[str, str]]:
    told = (item for part in meanings().values() for item in part.items())
    for name, meaning in told:
        if name == _CLASSES:
            for key_class, place in sorted(settings.root_key_classes.items()):
                yield _row(f"root_key_{key_class}", place, origins, meaning)
        else:
            yield _row(name, getattr(settings, name), origins, meaning)


def _row(name: str, value: object, origins: Mapping[str, str], meaning: str) -> dict[str, str]:
    return {
        "setting": _variable(name),
        "value": masked(name, written(value)),
        "origin": origins.get(name, "default"),
        "meaning": re.sub(r"\[([^]]+)\]\([^)]*\)", r"docs/\1", meaning).replace("`", ""),
    }


def _text(row: Mapping[str, str]) -> str:
    return f"{row['setting']}={cell(row['value'])}  ({row['origin']})\n    {row['meaning']}"


def meanings() -> dict[str, dict[str, str]]:
    """Return what each setting is for, by the part that it belongs to."""
    return tomllib.loads(Path(__file__).with_name("settings.toml").read_text("utf-8"))


def _variable(name: str) -> str:
    return f"LAMINA_{name.upper()}"


def written(value: object) -> str:
    """Return a value as the environment would say it; empty where nothing is set."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def masked(name: str, value: str) -> str:
    """Return a value without what lets anybody in.

    Of an address are left out the user, the password and the query; more is hidden rather than
    less where its signs are ambiguous.
    """
    if name in _SECRETS:
        return _HIDDEN if value else ""
    scheme, parted, rest = value.partition("://")
    if parted and not scheme.startswith("sqlite"):
        value = f"{scheme}://{_address(name, rest)}"
    return _INLINE.sub(rf"\1{_HIDDEN}", value)


def _address(name: str, rest: str) -> str:
    before, at, place = rest.rpartition("@")
    if "?" in before or "#" in before:
        return _HIDDEN  # the sign may be part of a password, in the query or before the host
    place, query, _ = place.partition("?")
    place, fragment, _ = place.partition("#")
    if name in _HOST_ONLY:
        host, path, _ = place.partition("/")
        place = f"{host}/{_HIDDEN}" if path else host
    return (_HIDDEN + at if at else "") + place + (f"?{_HIDDEN}" if query or fragment else "")


def page() -> str:
    """Return docs/settings.md: each setting with its default and meaning."""
    from service.settings import Settings

    fields = dict(Settings.model_fields)
    parts = [_HEAD]
    for title, part in meanings().items():
        lines = [f"\n## {title}\n"]
        lines += [_BOUNDS, ""] if title == "Bounds" else []
        lines += ["| setting | default | |", "|---|---|---|"]
        for name, meaning in part.items():
            shown = written(fields[name].get_default(call_default_factory=True))
            variable = "LAMINA_ROOT_KEY_<CLASS>" if name == _CLASSES else _variable(name)
            default = f"`{shown}`" if shown and name != _CLASSES else "none"
            lines.append(f"| `{variable}` | {default} | {meaning} |")
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)
