"""`lamina keys`: create, list, rotate, retire, verify and destroy keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Unpack

import click

from service.cli.base import (
    command,
    counted,
    json_option,
    reading,
    settings,
    show,
    show_rows,
    subject_of,
)
from service.cli.choices import SUBJECT_CLASSES, TIERS
from service.cli.long import UNPROVEN, LongOptions, long_options, refusals, run_long
from service.cli.rotating import rotate
from service.domain.errors import SetupError

class_option = click.option("--class", "key_class", help="Only this key class.")
tier_option = click.option(
    "--tier", type=click.Choice(TIERS), default="kek", show_default=True, help="Which keys."
)


@click.group()
def keys() -> None:
    """Create, list, rotate, verify and destroy keys.

    Exit codes: 0 done, 2 refused (nothing changed), 3 done except for the rows listed, 4 a value
    cannot be opened.
    """


@keys.command()
@click.option("--if-absent", is_flag=True, help="Do nothing if the directory exists.")
@json_option
@command
def init(*, if_absent: bool, as_json: bool) -> None:
    """Create the root keys that LAMINA_ROOT_KEY names, one file per key class.

    Never overwrites a file. Keep a copy apart from the database backups.

    Example: LAMINA_ROOT_KEY=file:keys lamina keys init
    """
    from crypto.providers.file import FileRoot

    found = settings()
    scheme, _, place = found.root_key.partition(":")
    if scheme != "file" or not place:
        raise SetupError("bad_setting", "LAMINA_ROOT_KEY: must be file:DIRECTORY to create keys")
    if if_absent and Path(place).is_dir():
        show({"directory": place, "classes": []}, as_json=as_json, text=f"{place} is there")
        return
    classes = tuple(name for name in found.key_classes if name not in found.root_key_classes)
    FileRoot.init(Path(place), classes)
    made = {"directory": place, "classes": list(classes)}
    show(made, as_json=as_json, text=f"created {len(classes)} root keys in {place}: back them up")


@keys.command()
@json_option
@command
def status(*, as_json: bool) -> None:
    """Show the keys of this process, the live instances, and incomplete key operations.

    Example: lamina keys status --json
    """
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction(read=True) as tx:
        found = container.key_admin.overview(tx)
        open_points = container.key_admin.findings(tx)
    held = sorted({row["class"] for row in found["keks"] if row["held"]})
    missing = sorted(set(container.settings.key_classes) - set(held))
    shown = {**found, "held": held, "missing": missing, "findings": open_points}
    alive = sum(item["alive"] for item in found["instances"])
    text = f"{counted(len(held), 'key class', 'key classes')} held, {len(missing)} missing; "
    text += counted(alive, "instance serves", "instances serve")
    if open_points:
        text += f"; {len(open_points)} findings; see: lamina keys doctor"
    show(shown, as_json=as_json, text=text)
    if missing:
        raise SetupError("keys_missing", f"this process lacks keys of class {', '.join(missing)}")


@keys.command("list")
@json_option
@command
def listing(*, as_json: bool) -> None:
    """List the key-encryption keys: class, version, status, root, and whether they are loaded.

    Example: lamina keys list
    """
    with reading() as desk, desk.store.transaction(read=True) as tx:
        show_rows(desk.key_store.status(tx), as_json=as_json, empty="no keys yet")


@keys.command()
@json_option
@refusals
def doctor(*, as_json: bool) -> None:
    """Report problems and incomplete operations of keys, log and ledger, each with its remedy.

    Example: lamina keys doctor
    """
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction(read=True) as tx:
        found = container.key_admin.findings(tx) + container.memory.findings(tx)
    show_rows(found, as_json=as_json, empty="no problems found")


@keys.command()
@tier_option
@class_option
@json_option
@refusals
def generate(tier: str, key_class: str | None, *, as_json: bool) -> None:
    """Create pending keys; nothing uses them until `promote`.

    Example: lamina keys generate --tier kek --class factor
    """
    _steps("generate", tier, key_class, as_json=as_json)


@keys.command()
@tier_option
@class_option
@json_option
@refusals
def promote(tier: str, key_class: str | None, *, as_json: bool) -> None:
    """Activate pending keys, once every live instance has loaded them.

    Example: lamina keys promote --tier signing
    """
    _steps("promote", tier, key_class, as_json=as_json)


@keys.command()
@tier_option
@class_option
@json_option
@refusals
def retire(tier: str, key_class: str | None, *, as_json: bool) -> None:
    """Retire replaced keys; refuses while anything refers to them.

    Example: lamina keys retire --tier data --class contact
    """
    _steps("retire", tier, key_class, as_json=as_json)


@keys.command()
@click.option("--tier", type=click.Choice(["root", "kek"]), default="kek", show_default=True)
@class_option
@long_options
@refusals
def rewrap(tier: str, key_class: str | None, **how: Unpack[LongOptions]) -> None:
    """Rewrap KEKs under the newest root, or data keys under the newest KEK; no field changes.

    Example: lamina keys rewrap --tier kek --class contact --max-rate 5000
    """
    run_long("rewrap", tier, key_class, **how)


@keys.command()
@class_option
@long_options
@refusals
def reencrypt(key_class: str | None, **how: Unpack[LongOptions]) -> None:
    """Give every owner a new data key and re-encrypt every field.

    Example: lamina keys reencrypt --class contact --dry-run
    """
    run_long("reencrypt", None, key_class, **how)


@keys.command()
@long_options
@refusals
def reindex(**how: Unpack[LongOptions]) -> None:
    """Write digests under the newest blind-index key, and delete those of dropped keys.

    Example: lamina keys reindex
    """
    run_long("reindex", None, None, **how)


@keys.command()
@long_options
@refusals
def verify(**how: Unpack[LongOptions]) -> None:
    """Open every sealed value and print a signed report; exit code 4 if one cannot be opened.

    Example: lamina keys verify --json
    """
    run_long("verify", None, None, failure=UNPROVEN, **how)


@keys.command()
@click.option("--tier", type=click.Choice(["kek", "root"]), default="kek", show_default=True)
@click.option("--class", "key_class", required=True, help="The key class.")
@click.option("--version", type=click.IntRange(1), required=True, help="A retired version.")
@click.option("--grace-days", type=click.IntRange(1, 365), default=7, show_default=True)
@click.option("--yes", is_flag=True, help="Confirm: data under this key is lost forever.")
@json_option
@refusals
def destroy(
    tier: str, key_class: str, version: int, grace_days: int, *, yes: bool, as_json: bool
) -> None:
    """Schedule a retired KEK for destruction, or destroy an old root at once; raises an alarm.

    Example: lamina keys destroy --class factor --version 1 --yes
    """
    from service.app import open_container
    from service.operators.actions import BREAK_GLASS

    if not yes:
        raise SetupError("not_confirmed", "confirm with --yes: data under this key is lost forever")
    container = open_container(settings())
    with container.store.transaction() as tx:
        container.operators.break_glass.alarm(tx, "keys destroy")
        if tier == "root":
            gone = container.key_admin.destroy_root(tx, key_class, version, BREAK_GLASS)
            done: Mapping[str, object] = {"destroyed": gone}
        else:
            done = container.key_admin.destroy(
                tx, key_class=key_class, version=version, days=grace_days, actor=BREAK_GLASS
            )
    show(done, as_json=as_json, text="\n".join(f"{name}: {value}" for name, value in done.items()))


@keys.command()
@click.argument("place", type=click.Path(path_type=Path))
@json_option
@refusals
def recipient(place: Path, *, as_json: bool) -> None:
    """Create the key pair of a recovery recipient: PLACE holds the private key; keep it offline.

    The public key is written beside it as PLACE.pub.

    Example: lamina keys recipient recovery.key
    """
    from crypto.providers.records import write_private
    from crypto.recovery import create_recipient, recipient_id

    private, public = create_recipient()
    write_private(place, f"{private}\n".encode())
    write_private(place.with_name(f"{place.name}.pub"), f"{public}\n".encode())
    show(
        {"public": public, "id": recipient_id(public)},
        as_json=as_json,
        text=f"recipient {recipient_id(public)}: keep {place.name} offline; give {place.name}.pub",
    )


@keys.command("export-recovery")
@click.option("--recipient", "line", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to write.")
@click.option("--days", type=click.IntRange(1, 3660), default=365, show_default=True)
@json_option
@refusals
def export_recovery(line: Path, out: Path, days: int, *, as_json: bool) -> None:
    """Seal every loaded KEK for a recipient; erase horizons count the export until it expires.

    Example: lamina keys export-recovery --recipient recovery.key.pub --out export.json
    """
    from crypto.providers.records import write_private
    from service.app import open_container
    from service.operators.actions import BREAK_GLASS

    container = open_container(settings())
    with container.store.transaction() as tx:
        content = container.keys.recovery.export(tx, line.read_text("utf-8"), days, BREAK_GLASS)
        container.operators.break_glass.alarm(tx, "keys export-recovery")
        write_private(out, content)
    show({"file": str(out)}, as_json=as_json, text=f"{out}: destroy it within {days} days")


@keys.command()
@click.argument("export", type=click.Path(exists=True, path_type=Path))
@click.option("--private", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--expired", is_flag=True, help="Accept an expired export.")
@json_option
@refusals
def recover(export: Path, private: Path, *, expired: bool, as_json: bool) -> None:
    """Rewrap the KEKs of an export under new roots of this deployment, if the old ones are lost.

    Create new roots first (`lamina keys init`), stop every instance, and verify afterwards.

    Example: lamina keys recover export.json --private recovery.key
    """
    from crypto.providers.records import read_private
    from service.app import open_recovery
    from service.operators.actions import BREAK_GLASS

    store, recovery = open_recovery(settings())
    secret = read_private(private).decode()
    with store.transaction() as tx:
        content = export.read_bytes()
        done = recovery.recover(tx, secret, content, BREAK_GLASS, expired=expired)
    show(
        done,
        as_json=as_json,
        text=f"{counted(done['keys'], 'key')} recovered; run: lamina keys verify",
    )


@keys.command()
@click.argument("subject")
@click.option("--class", "key_class", type=click.Choice(SUBJECT_CLASSES), help="Only this class.")
@click.option("--yes", is_flag=True, help="Confirm: an erasure cannot be undone.")
@json_option
@refusals
def shred(subject: str, key_class: str | None, *, yes: bool, as_json: bool) -> None:
    """Erase a subject, given by id or identifier, or one class of its data: destroy its data keys.

    Example: lamina keys shred alice --class biometric --yes
    """
    from service.app import open_container
    from service.operators.actions import BREAK_GLASS

    if not yes:
        raise SetupError("not_confirmed", "confirm with --yes: an erasure cannot be undone")
    container = open_container(settings())
    with container.store.transaction(read=True) as tx:
        found = subject_of(container.accounts, tx, subject)
    done = container.erasure.erase(found, BREAK_GLASS, key_class).to_json()
    with container.store.transaction() as tx:
        container.operators.break_glass.alarm(tx, "keys shred", found)
    text = f"{counted(done['data_keys_destroyed'], 'data key')} destroyed; erase horizon "
    show(done, as_json=as_json, text=f"{text}{done['erase_horizon']}\n{done['certificate']}")


def _steps(verb: str, tier: str, key_class: str | None, *, as_json: bool) -> None:
    from service.app import open_container
    from service.operators.actions import BREAK_GLASS

    container = open_container(settings())
    with container.store.transaction() as tx:
        names: list[str] = getattr(container.key_admin, verb)(tx, tier, key_class, BREAK_GLASS)
        container.operators.break_glass.alarm(tx, f"keys {verb}")
    show({"keys": names}, as_json=as_json, text="\n".join(names) or "nothing to do")


keys.add_command(rotate)
