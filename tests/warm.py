"""What libraries work out once per process: kept for every service that a process of tests opens.

A service that runs for days compiles each statement once, and a thousand services in a process of
tests compile each a thousand times. What is kept follows from the code alone, never from a row.
"""

import functools
from collections.abc import Callable
from typing import Any

import segno
from sqlalchemy import Connection, Engine, event
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

_Builder = Callable[..., tuple[str, str]]


class _Statements(LRUCache[Any, Any]):
    """Compiled statements, for all engines whose dialects compile alike.

    SQLAlchemy looks them up by the dialect of the engine, of which each engine has one.
    """

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        return super().get(_alike(key), default)

    def __setitem__(self, key: tuple[Any, ...], value: Any) -> None:
        super().__setitem__(_alike(key), value)


def _alike(key: tuple[Any, ...]) -> tuple[Any, ...]:
    dialect, *rest = key
    return (type(dialect), dialect.server_version_info, *rest)


@functools.cache
def keep() -> None:
    """From here on, let services of this process share what does not depend on their rows."""
    statements = _Statements(4000)

    @event.listens_for(Engine, "engine_connect")
    def share(connection: Connection) -> None:
        connection.execution_options(compiled_cache=statements)

    # Most of what it takes to make an app is the code by which werkzeug would build URLs.
    builders: dict[tuple[Any, ...], _Builder] = {}
    build = Rule._compile_builder

    def kept(rule: Rule, *unknown: bool) -> _Builder:
        if rule.defaults:
            return build(rule, *unknown)
        key = (rule.rule, unknown, *rule._trace)
        if key not in builders:
            builders[key] = build(rule, *unknown)
        return builders[key]

    Rule._compile_builder = kept  # type: ignore[method-assign]
    # Whatever the mask, a QR code reads the same; to find the best one all eight are tried.
    segno.make = functools.partial(segno.make, mask=0)
