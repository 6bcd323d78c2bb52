"""Structured logs, one JSON object per line, with a closed list of fields."""

import logging
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Final, Protocol

import orjson

if TYPE_CHECKING:
    from structlog.typing import Processor

# Fields not listed here are dropped, so that nothing else can leak.
FIELDS: Final = frozenset(
    {
        "event",
        "level",
        "timestamp",
        "trace_id",
        "method",
        "route",
        "status",
        "ms",
        "code",
        "client",
        "factor",
        "file",
        "outcome",
        "job",
        "rows",
        "error",
        "bind",
        "workers",
        "version",
        "position",
        "table",
        "row",
        "setting",
        "channel",
        "kind",
        "reason",
        "message",
        "attempts",
        "final",
    }
)
_LONGEST: Final = 200
_later: list[str] = []
"""The level to configure with the first line, if set."""


class Logger(Protocol):
    """Logs an event, with members that are among FIELDS."""

    def debug(self, event: str, **members: object) -> None:
        """Log at this level."""

    def info(self, event: str, **members: object) -> None:
        """Log at this level."""

    def warning(self, event: str, **members: object) -> None:
        """Log at this level."""

    def error(self, event: str, **members: object) -> None:
        """Log at this level."""


_made: list[Logger] = []
"""The logger, once it is configured."""


class _Stderr:
    """Writes lines to stderr, since stdout is for output."""

    def msg(self, line: str) -> None:
        """Write a line at once, to the stream of now, as tests and commands replace it."""
        stream = sys.stderr
        stream.write(f"{line}\n")
        stream.flush()

    debug = info = warning = error = msg


def _closed(_logger: object, _name: str, event: MutableMapping[str, object]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for name, value in event.items():
        if name not in FIELDS:
            continue
        plain = isinstance(value, int | float | bool) or value is None
        kept[name] = value if plain else str(value)[:_LONGEST]
    return kept


def _render(_logger: object, _name: str, event: MutableMapping[str, object]) -> str:
    return orjson.dumps(dict(event)).decode()


def configure(level: str) -> None:
    """Configure logging of the process; other libraries log warnings by name and level only."""
    import structlog  # noqa: PLC0415 - most commands log nothing, and need not wait for it

    _later.clear()
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _closed,
        _render,
    ]
    wrapper = structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()])
    structlog.configure(
        processors=processors,
        wrapper_class=wrapper,
        logger_factory=lambda *_args: _Stderr(),
        cache_logger_on_first_use=False,
    )
    # One logger for all lines: the proxy of structlog makes one for each, at the cost of the line.
    _made[:] = [structlog.wrap_logger(_Stderr(), processors, wrapper).bind()]


def configure_later(level: str) -> None:
    """Configure logging when the first line is logged."""
    _later[:] = [level]


def get() -> Logger:
    """Return the logger."""
    for level in tuple(_later):
        configure(level)
    if _made:
        return _made[0]
    import structlog  # noqa: PLC0415 - as above

    found: Logger = structlog.get_logger()
    return found


def kind(error: Exception) -> dict[str, str | None]:
    """Return the loggable parts of an error: its type and code; its text may hold anything."""
    return {"error": type(error).__name__, "code": getattr(error, "code", None)}
