"""How deep tests of random input go: everyday runs draw a part, what decides draws all."""

import os

DEEP = bool(os.environ.get("CI") or os.environ.get("LAMINA_TEST_DEEP"))


def depth(full: int, least: int = 1) -> int:
    """Return how many: all with `CI` or `LAMINA_TEST_DEEP`, or else a quarter, but `least`."""
    return full if DEEP else max(full // 4, least)
