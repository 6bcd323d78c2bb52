"""A table that the statement of another feature reads together with its own rows."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, FromClause


@dataclass(frozen=True, slots=True)
class Part:
    """What a feature adds to a statement of another; it reads the cells that come back itself.

    Args:
        columns: The columns, the key of the table first.
        table: The table.
        on: Which of its rows belong to a row of the other feature.
    """

    columns: tuple[ColumnElement[object], ...]
    table: FromClause
    on: ColumnElement[bool]
