"""`lamina subjects` and `lamina audit`: operations on subjects and on the audit log."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.cli.base import (
    FAILED,
    account_of,
    command,
    counted,
    json_option,
    settings,
    show,
    subject_of,
)
from service.domain.clock import rfc3339
from service.domain.errors import BadInput, Fault

if TYPE_CHECKING:
    from service.audit.actions.state import Comparison
    from service.privacy.actions.memory import Verified


@click.group()
def subjects() -> None:
    """Unlock, hold, watch or export a subject; `lamina keys shred` erases one."""


@subjects.command()
@click.argument("subject")
@json_option
@command
def unlock(subject: str, *, as_json: bool) -> None:
    """Clear the failed attempts of a subject, given by id or identifier.

    Example: lamina subjects unlock alice
    """
    from service.app import open_container

    container = open_container(settings())
    with container.store.transaction() as tx:
        account = account_of(container.accounts, tx, subject)
        rows = container.throttling.reset(
            tx, container.throttling.bucket(tx, f"subject:{account.id}")
        )
        container.operators.break_glass.alarm(tx, "subjects unlock", account.id)
    answer = {"subject": str(account.id), "counters": rows}
    show(answer, as_json=as_json, text=f"{counted(rows, 'counter')} cleared")


@subjects.command()
@click.argument("subject")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), required=True, help="The last day.")
@click.option("--reason", required=True, help="The legal basis, such as money-laundering-act.")
@json_option
@command
def hold(subject: str, until: datetime, reason: str, *, as_json: bool) -> None:
    """Refuse all erasures of a subject, given by id or identifier, until a date.

    Example: lamina subjects hold alice --until 2031-12-31 --reason aml
    """
    from service.app import open_container
    from service.operators.actions import BREAK_GLASS

    container = open_container(settings())
    end = until.replace(tzinfo=UTC) + timedelta(days=1)
    with container.store.transaction() as tx:
        found = subject_of(container.accounts, tx, subject)
        container.shredding.hold(tx, found, until=end, reason=reason, actor=BREAK_GLASS)
        container.operators.break_glass.alarm(tx, "subjects hold", found)
    answer = {"subject": str(found), "until": rfc3339(end)}
    show(answer, as_json=as_json, text=f"no erasure before {rfc3339(end)}")


@subjects.command()
@click.argument("subject")
@json_option
@command
def canary(subject: str, *, as_json: bool) -> None:
    """Mark a subject, given by id or identifier, as a canary: opening its fields raises an alarm.

    Example: lamina subjects canary alice
    """
    from service.app import open_container
    from service.operators.actions import BREAK_GLASS

    container = open_container(settings())
    with container.store.transaction() as tx:
        found = account_of(container.accounts, tx, subject).id
        container.accounts.lock(tx, found)
        container.shredding.watch(tx, found, BREAK_GLASS)
        container.operators.break_glass.alarm(tx, "subjects canary", found)
    show({"subject": str(found)}, as_json=as_json, text="opening its fields now raises an alarm")


@subjects.command()
@click.argument("subject")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The new file.")
@json_option
@command
def export(subject: str, out: Path, *, as_json: bool) -> None:
    """Write all personal data of a subject, given by id or identifier, to a new file.

    Example: lamina subjects export alice --out alice.json
    """
    import orjson

    from service.app import open_container
    from service.operators.actions import BREAK_GLASS

    container = open_container(settings())
    with container.store.transaction() as tx:
        account = account_of(container.accounts, tx, subject)
        container.operators.break_glass.alarm(tx, "subjects export", account.id)
    document = container.exports.whole(account.id, BREAK_GLASS)
    content = orjson.dumps(document, option=orjson.OPT_INDENT_2)
    try:
        out.touch(0o600, exist_ok=False)
        out.write_bytes(content)
    except OSError as error:
        raise BadInput(Fault("/out", "not_written", f"{out}: {error.strerror}")) from None
    lost = sum(section["unreadable"] for section in document["sections"])
    rows = sum(len(section["rows"]) for section in document["sections"])
    answer = {"subject": str(account.id), "file": str(out), "rows": rows, "unreadable": lost}
    text = f"{counted(rows, 'row')} written to {out}"
    text += f", {counted(lost, 'field does', 'fields do')} not open" if lost else ""
    show(answer, as_json=as_json, text=text)


@click.group()
def audit() -> None:
    """Verify the audit log."""


@audit.command()
@click.option("--state", is_flag=True, help="Also compare all rows with the log.")
@json_option
@command
def verify(*, state: bool, as_json: bool) -> None:
    """Recompute the whole log, and compare it with all checkpoints of database and ledger.

    Exits with 1 and the first position that differs, if a row differs from the log, or if entries
    have waited for their position for more than 10 seconds.

    Example: lamina audit verify --state --json
    """
    from service.app import open_container

    container = open_container(settings())
    found = container.memory.verify()
    waiting = found.waiting
    broken = found.broken
    answer: dict[str, object] = {
        "leaves": found.leaves,
        "intact": broken is None and not waiting.late,
        "waiting": waiting.count,
        "late": waiting.late,
        "ledger": container.memory.configured,
        "position": broken.position if broken else None,
        "what": broken.what if broken else None,
    }
    text = _summary(found, ledger=container.memory.configured)
    if state and not broken:
        compared = container.comparing.all()
        answer |= {"intact": answer["intact"] and not compared.count, "state": compared.to_json()}
        text = "\n".join([text, *_compared(compared)])
    if as_json or not broken:
        show(answer, as_json=as_json, text=text)
    if broken:
        raise broken
    if not answer["intact"]:
        raise SystemExit(FAILED)


def _compared(found: "Comparison") -> list[str]:
    lines = [f"{item['table']} {item['row']}: {item['what']}" for item in found.found]
    differ = f"{counted(found.count, 'row differs', 'rows differ')} from the log"
    agree = f"{counted(found.rows, 'row agrees', 'rows agree')} with the log"
    return [*lines, differ] if lines else [agree]


@audit.command("accept-ledger")
@click.option("--reason", required=True, help="The explanation, in a few words.")
@json_option
@command
def accept_ledger(reason: str, *, as_json: bool) -> None:
    """Accept the current log and ledger: after a restore, a loss, or an explained change.

    Later verifications report only later changes. On several hosts, run it on each.

    Example: lamina audit accept-ledger --reason "restored the backup of Monday"
    """
    from service.app import open_container
    from service.operators.actions import BREAK_GLASS

    container = open_container(settings())
    with container.store.transaction() as tx:
        container.operators.break_glass.alarm(tx, "audit accept-ledger")
    point = container.memory.accept(BREAK_GLASS, reason)
    show(
        {"position": point.position, "ledger": container.memory.configured},
        as_json=as_json,
        text=f"current log and ledger accepted, {counted(point.position, 'leaf', 'leaves')}",
    )


def _summary(found: "Verified", *, ledger: bool) -> str:
    waiting = found.waiting
    state = "not intact" if waiting.late else "intact"
    text = counted(found.leaves, "leaf", "leaves")
    text += "" if waiting.count else f", {state}"
    if waiting.count:
        seconds = int(waiting.oldest.total_seconds())
        place = counted(waiting.count, "waits for its position", "wait for their positions")
        text += f" in the chain; {place}, {waiting.late} of them "
        text += f"too long (the oldest for {seconds} s): is `lamina worker` running?"
    return text if ledger else f"{text}; no ledger to compare it with (LAMINA_LEDGER)"
