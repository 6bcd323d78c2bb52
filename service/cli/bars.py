"""Columns of the progress bar of long commands."""

from typing import Final

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    """A column that shows rows per second."""

    def render(self, task: Task) -> Text:
        """Return the rate; empty before the first rows."""
        return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")


COLUMNS: Final = (
    BarColumn(),
    MofNCompleteColumn(),
    _Rate(),
    TimeRemainingColumn(),
    TextColumn(""),
)
