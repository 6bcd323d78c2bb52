"""Base of long commands: options, progress bar, workers, and a stop after any page."""

import signal
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import TYPE_CHECKING, Final, ParamSpec, TypedDict
from uuid import UUID

import click

from service.cli.base import command, counted, json_option, settings, show
from service.domain.errors import BadInput, Conflict, NotFound, SetupError

if TYPE_CHECKING:
    from rich.progress import Progress

    from service.app import Container
    from service.jobs.actions.work import JobRate
    from service.key_admin.actions import KeyAdmin
    from service.web.jobs import JobView

P = ParamSpec("P")
REFUSED: Final = 2
PARTIAL: Final = 3
UNPROVEN: Final = 4
_OPTIONS: Final = (
    click.option("--dry-run", is_flag=True, help="Count the rows, but change nothing."),
    click.option("--max-rate", type=click.FloatRange(0), default=0.0, help="Rows per second."),
    click.option(
        "--max-latency",
        type=click.FloatRange(0),
        default=0.0,
        help="Milliseconds per page; the job pauses as long as a page takes more.",
    ),
    click.option("--workers", type=click.IntRange(1, 64), default=1, help="Processes."),
    json_option,
)


def long_options(function: Callable[P, None]) -> Callable[P, None]:
    """Add the options of all long commands."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def refusals(function: Callable[P, None]) -> Callable[P, None]:
    """Exit with code 2 and one line if the state or an argument does not allow the command."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except (Conflict, NotFound, BadInput) as error:
            raise SetupError(error.code, error.detail) from None

    return command(run)


class LongOptions(TypedDict):
    """The common options of long commands."""

    dry_run: bool
    max_rate: float
    max_latency: float
    workers: int
    as_json: bool


def run_long(  # noqa: PLR0913 - one argument per option
    kind: str,
    tier: str | None,
    key_class: str | None,
    *,
    dry_run: bool,
    max_rate: float,
    max_latency: float,
    workers: int,
    as_json: bool,
    failure: int = PARTIAL,
) -> None:
    """Run a long job in this process and its workers; exit with 3 or 4 if rows were left."""
    from service.app import open_container
    from service.jobs.actions.work import JobRate
    from service.operators.actions import BREAK_GLASS

    found = settings()
    if workers > 1 and found.sqlite:
        raise SetupError("one_writer", "SQLite allows one writer: --workers 1")
    container = open_container(found)
    params = container.key_admin.params(kind, tier, key_class)
    if dry_run:
        total = container.key_admin.jobs.work(kind, params).total()
        show({"rows": total}, as_json=as_json, text=f"{counted(total, 'row')} would be processed")
        return
    with container.store.transaction() as tx:
        number = container.key_admin.jobs.plan(tx, kind, params, BREAK_GLASS)
        container.operators.break_glass.alarm(tx, f"keys {kind}")
    pace = JobRate(max_rate / workers if max_rate else 0.0, max_latency)
    _stop_at_page_end(container.key_admin)
    view = _run(container, number, pace, workers)
    show(view, as_json=as_json, text=_sentence(view))
    if view["status"] != "done":
        raise SystemExit(REFUSED if "error" in view["report"] else failure)


def _run(container: "Container", number: UUID, pace: "JobRate", workers: int) -> "JobView":
    import multiprocessing

    from service.jobs.actions.work import Progress as Done

    context = multiprocessing.get_context("spawn")
    helpers = [context.Process(target=_help, args=(number, pace)) for _ in range(workers - 1)]
    for helper in helpers:
        helper.start()
    try:
        with _bar() as bar:
            task = bar.add_task("", total=None)

            def watch(done: Done) -> None:
                bar.update(task, completed=done.done, total=max(done.total, done.done))

            return container.key_admin.jobs.run(number, pace=pace, watch=watch)
    finally:
        for helper in helpers:
            helper.join()


def _help(number: UUID, pace: "JobRate") -> None:
    from service.app import open_container

    container = open_container(settings())
    _stop_at_page_end(container.key_admin)
    container.key_admin.jobs.run(number, pace=pace, helper=True)


def _stop_at_page_end(key_admin: "KeyAdmin") -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        key_admin.jobs.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def _bar() -> "Progress":
    from rich.console import Console
    from rich.progress import Progress

    from service.cli.bars import COLUMNS

    return Progress(*COLUMNS, console=Console(stderr=True), transient=True)


def _sentence(view: "JobView") -> str:
    report = view["report"]
    text = f"{view['kind']} {view['status']}: {counted(view['done'], 'row')}"
    if "detail" in report:
        return f"{text}; {report['detail']}"
    bad = report["bad"]
    lines = [
        f"  {line['table']} {line['row']} ({line['key']}): {line['reason']}"
        for line in (bad if isinstance(bad, list) else ())
    ]
    if report["failed"]:
        text += f", {report['failed']} failed"
    signed = [str(report["signed"])] if "signed" in report else []
    return "\n".join([text, *lines, *signed])
