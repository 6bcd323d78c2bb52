"""Base of all commands: errors in one line, `--json`, and tables.

Commands import dependencies when they run, so that `--help` is fast.
"""

import atexit
import gc
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Final, NoReturn, ParamSpec
from uuid import UUID

import click

from crypto.errors import CryptoError
from service.domain.errors import LaminaError, NotFound, SetupError
from service.domain.ids import parse_id

if TYPE_CHECKING:
    from service.accounts.actions.accounts import Accounts
    from service.accounts.model import Account
    from service.app.desk import Desk
    from service.settings import Settings
    from service.store.engine import Tx

P = ParamSpec("P")
CANNOT_START: Final = 2
FAILED: Final = 1
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_BETWEEN: Final = "  "
_LISTED: Final = {
    "client_not_found": "clients list",
    "key_not_found": "keys list",
    "policy_not_found": "policy list",
    "role_not_found": "operators list",
    "message_not_found": "outbox list",
    "webhook_not_found": "webhooks list",
}
"""The command that lists objects, by the error code of an object not found."""
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN: Final = re.compile(r"(\d{1,9})([smhd])|0", re.ASCII)


class Span(click.ParamType[timedelta]):
    """A duration as people write it: 90s, 15m, 24h or 7d; 0 for none."""

    name = "span"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return the duration; ends the command if it is invalid."""
        if isinstance(value, timedelta):
            return value
        found = _SPAN.fullmatch(str(value))
        if found is None:
            self.fail("must be a duration such as 90s, 15m, 24h or 7d; 0 for none", param, ctx)
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]] if found[1] else 0)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, as in 1 row and 2 rows."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def subject_of(accounts: "Accounts", tx: "Tx", given: str) -> UUID:
    """Return the subject of an identifier or id; an id is returned unchecked: it may be erased."""
    return parse_id(given) or account_of(accounts, tx, given).id


def account_of(accounts: "Accounts", tx: "Tx", given: str) -> "Account":
    """Return the account of an id or identifier; raises NotFound."""
    known = parse_id(given)
    found: Account | None = accounts.get(tx, known) if known else accounts.find(tx, given).account
    if found is None:
        raise NotFound("subject_not_found", "No subject can sign in with this identifier.")
    return found


@contextmanager
def lab() -> Iterator[None]:
    """Turn a missing `lab` package into a SetupError that says where to find it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "lab":
            raise
        detail = "this command needs lab/, which only a source checkout contains: run it there"
        raise SetupError("lab_missing", detail) from None


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turn expected errors of a command into one line on stderr and an honest exit code."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except SetupError as error:
            _fail(_hinted(error), CANNOT_START)
        except LaminaError as error:
            away = error.code in {"database_away", "database_read_only"}
            _fail(_away(error) if away else _hinted(error), FAILED)
        except CryptoError as error:
            _fail(str(error), FAILED)

    return run


def _away(error: LaminaError) -> str:
    from service.cli.away import explain

    return explain(error, settings().database_url)


def _hinted(error: LaminaError) -> str:
    hint = _LISTED.get(error.code)
    return f"{error.detail.rstrip('.')}; see: lamina {hint}" if hint else error.detail


def _fail(text: str, code: int) -> NoReturn:
    click.echo(f"lamina: {text}", err=True)
    raise SystemExit(code)


def show(value: object, *, as_json: bool, text: str = "") -> None:
    """Print a value as JSON, or else its text."""
    if as_json:
        import orjson

        click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(text)


def show_rows(rows: Sequence[Mapping[str, object]], *, as_json: bool, empty: str) -> None:
    """Print rows as JSON or as a table."""
    if as_json:
        show(list(rows), as_json=True)
        return
    if not rows:
        click.echo(empty)
        return
    for line in _table([list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]):
        click.echo(line)


def _table(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return lines in columns without truncation, so that values can be copied."""
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    return [
        _BETWEEN.join(
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


def _width(text: str) -> int:
    """Return the width of a text in terminal columns."""
    return sum(
        0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in text
    )


def cell(value: object) -> str:
    """Return a value on one line, without signs that a screen obeys."""
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    # A name may contain characters that move the cursor or break the line.
    return (
        ""
        if value is None
        else "".join(
            sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
        )
    )


def prepare(settings: "Settings") -> None:
    """Create the schema of an empty database; any other is not changed."""
    from service.store import migrate
    from service.store.engine import make_engine

    engine = make_engine(settings.database_url)
    try:
        if migrate.is_empty(engine):
            migrate.upgrade(engine)
    finally:
        engine.dispose()


@contextmanager
def reading() -> Iterator["Desk"]:
    """Open the features for a listing command; raises SetupError.

    Garbage collection is off meanwhile: imported modules live until the end of the process, and
    searching them would take an eighth of the time of a list.
    """
    from service.app import open_desk

    collects = gc.isenabled()
    gc.disable()
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    try:
        yield open_desk(settings())
    finally:
        if collects:
            gc.enable()


def settings() -> "Settings":
    """Return the settings; raises SetupError."""
    from service.settings import load

    return load()
