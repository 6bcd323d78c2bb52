"""How deep tests go: an everyday run draws a part of many like cases, what decides draws all."""

import os
import zlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

DEEP = bool(os.environ.get("CI") or os.environ.get("LAMINA_TEST_DEEP"))
PART = 4
MANY = 8
"""Cases of one test with a database from which on an everyday run of all draws a part of them."""


def depth(full: int, least: int = 1) -> int:
    """Return how many: all with `CI` or `LAMINA_TEST_DEEP`, or else a quarter, but `least`."""
    return full if DEEP else max(full // PART, least)


def everyday(named: Iterable[str]) -> bool:
    """Tell whether a run draws a part: neither `CI` nor a file or test was named."""
    return not DEEP and not any(".py" in each for each in named)


def drawn(name: str) -> bool:
    """Tell whether something is in the part that an everyday run draws, the same in each run."""
    return zlib.crc32(name.encode()) % PART == 0


def thinned(items: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return the tests that an everyday run keeps, and those that it leaves out.

    Of a test with a database of its own and many cases it keeps every fourth, whatever the order.
    """
    cases = defaultdict(list)
    for item in items:
        if "url" in item.fixturenames and hasattr(item, "callspec"):
            name = item.nodeid.partition("[")[0]
            cases[name, item.callspec.params.get("url")].append(item.nodeid)
    many = [sorted(each) for each in cases.values() if len(each) >= MANY]
    out = {name for each in many for at, name in enumerate(each) if at % PART}
    return [it for it in items if it.nodeid not in out], [it for it in items if it.nodeid in out]
