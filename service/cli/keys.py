"""`lamina keys`: root keys and the key ring."""

from pathlib import Path

import click

from crypto.providers.file import FileRoot
from service.app import open_house
from service.cli.base import command, json_option, settings, show, show_rows
from service.domain.errors import SetupError


@click.group()
def keys() -> None:
    """Make and look at keys."""


@keys.command()
@json_option
@command
def init(*, as_json: bool) -> None:
    """Make the root keys that LAMINA_ROOT_KEY names, one file per key class.

    Nothing is ever overwritten. Keep a copy where the database backup is not.

    Example: LAMINA_ROOT_KEY=file:keys lamina keys init
    """
    found = settings()
    scheme, _, place = found.root_key.partition(":")
    if scheme != "file" or not place:
        raise SetupError("bad_setting", "LAMINA_ROOT_KEY must be file:DIRECTORY to be made here")
    classes = tuple(name for name in found.key_classes if name not in found.root_key_classes)
    FileRoot.init(Path(place), classes)
    made = {"directory": place, "classes": list(classes)}
    show(made, as_json=as_json, text=f"made {len(classes)} root keys in {place}: back them up")


@keys.command()
@json_option
@command
def status(*, as_json: bool) -> None:
    """Tell whether this process holds a key of every class it is set up for.

    Example: lamina keys status --json
    """
    house = open_house(settings())
    with house.store.transaction(read=True) as tx:
        rows = house.vault.status(tx)
    held = sorted({row["class"] for row in rows if row["held"]})
    missing = sorted(set(house.settings.key_classes) - set(held))
    found = {"held": held, "missing": missing, "signing_keys": len(house.signing.jwks()["keys"])}
    show(found, as_json=as_json, text=f"{len(held)} key classes held, {len(missing)} missing")
    if missing:
        raise SetupError("keys_missing", f"no key of class {', '.join(missing)} is held here")


@keys.command("list")
@json_option
@command
def listing(*, as_json: bool) -> None:
    """List the key-encryption keys: class, version, status.

    Example: lamina keys list
    """
    house = open_house(settings())
    with house.store.transaction(read=True) as tx:
        show_rows(house.vault.status(tx), as_json=as_json, empty="no keys yet")
