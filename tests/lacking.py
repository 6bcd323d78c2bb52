"""What a test needs and a machine may lack: a skip that says what to mend, a failure in CI."""

import os
from collections import Counter
from collections.abc import Iterable
from typing import NoReturn

import pytest

_LACKS = "this machine has no "
_OTHERS = "skipped: not for their database, or part of a long form (-rs names each)"


def lack(what: str, mend: str) -> str:
    """Return the reason of a skip: what there is not, and what to do about it."""
    return f"{_LACKS}{what}: {mend}"


def lacks(what: str, mend: str, *, optional: bool = False) -> NoReturn:
    """Skip the test that runs, or fail it where `CI` is set.

    Args:
        what: What there is not, as in "PostgreSQL".
        mend: What to do about it.
        optional: Whether CI does without it as well.
    """
    reason = lack(what, mend)
    if os.environ.get("CI") and not optional:
        pytest.fail(f"{reason} (CI must test with it)", pytrace=False)
    pytest.skip(reason)


def told(reasons: Iterable[str]) -> list[str]:
    """Return a line for each thing that is lacking, and one for all other skips."""
    counted = Counter(
        reason if reason.startswith(_LACKS) else ""
        for reason in (one.removeprefix("Skipped: ") for one in reasons)
    )
    others = counted.pop("", 0)
    lines = [f"{count} skipped: {reason}" for reason, count in sorted(counted.items())]
    return [*lines, *([f"{others} {_OTHERS}"] if others else [])]
