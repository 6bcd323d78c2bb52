"""All encrypted columns of all tables, for rotation and verification."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Table, Uuid, and_, func, literal, or_, select
from sqlalchemy.sql.elements import ColumnElement

from crypto.fields import Owner
from service.store.base import Base, table_of
from service.store.sealed import Encrypted
from service.store.shapes import Authentic, shape_of

AnyField = Encrypted[Any]
"""An encrypted column of any type."""


@dataclass(frozen=True)
class SealedTable:
    """A table with encrypted columns.

    Args:
        model: The mapped class.
        fields: Its encrypted columns.
    """

    model: type[Base]
    fields: tuple[AnyField, ...]

    @cached_property
    def table(self) -> Table:
        """Return the table."""
        return table_of(self.model)

    @property
    def name(self) -> str:
        """Return the name of the table."""
        return self.table.name

    def owner(self, row: Any) -> Owner:  # noqa: ANN401 - a row of named columns
        """Return the key owner of a row."""
        owner: Owner = self.model.field_owner(row)  # type: ignore[attr-defined]  # every sealed row has it
        return owner

    def rows(self) -> Select[Any]:
        """Select all columns, ordered by id."""
        return select(self.table).order_by(self.table.c.id)

    @cached_property
    def covered(self) -> frozenset[str]:
        """Return the columns that a MAC over a sealed cell needs; empty if no MAC covers one."""
        if not issubclass(self.model, Authentic) or not shape_of(self.model).covers_cells:
            return frozenset()
        return frozenset(column.name for column in shape_of(self.model).columns)

    def cells(self, key_class: str) -> Select[Any]:
        """Select the cells of a class with their associated data, ordered by id."""
        columns = self.table.c
        fields = self.of_class(key_class)
        wanted = {column.name for column in columns if isinstance(column.type, Uuid)}
        wanted |= self.covered
        for field in fields:
            wanted |= {field.name, *field.bound, *([field.varies.column] if field.varies else [])}
        return select(*(columns[name] for name in sorted(wanted))).order_by(columns.id)

    def older(self, field: AnyField, generation: int) -> ColumnElement[bool]:
        """Return the condition that a cell is sealed under an older generation.

        The generation is bytes 3 and 4 of the stored value, so the database can filter by it.
        """
        column = self.table.c[field.name]
        return func.substr(column, 3, 2) < literal(generation.to_bytes(2, "big"))

    def classes(self) -> frozenset[str]:
        """Return the key classes that cells of the table may have."""
        return frozenset().union(*(field.classes() for field in self.fields))

    def of_class(self, key_class: str) -> tuple[AnyField, ...]:
        """Return the columns that may hold values of a key class."""
        return tuple(field for field in self.fields if field.may_be(key_class))

    def stale(self, key_class: str, generation: int) -> ColumnElement[bool]:
        """Return the condition that a row has a cell of a class that must be re-encrypted."""
        return or_(*self._stale(key_class, generation))

    def _stale(self, key_class: str, generation: int) -> Iterator[ColumnElement[bool]]:
        for field in self.of_class(key_class):
            yield and_(self.older(field, generation), *self.is_class(field, key_class))

    def is_class(self, field: AnyField, key_class: str) -> tuple[ColumnElement[bool], ...]:
        """Return the conditions under which a cell of this column has a key class."""
        varies = field.varies
        if varies is None:
            return ()
        column = self.table.c[varies.column]
        special = varies.special
        if varies.default == key_class:
            return (column.not_in([value for value, name in special.items() if name != key_class]),)
        return (column.in_([value for value, name in special.items() if name == key_class]),)

    def subject_column(self) -> ColumnElement[UUID] | None:
        """Return the column with the subject that owns the rows, if there is one."""
        columns = self.table.c
        owner: ColumnElement[UUID] | None = columns.get("subject_id")
        if owner is None and self.name == "subject":
            owner = columns.id
        return owner


def sealed_tables() -> Sequence[SealedTable]:
    """Return all tables with encrypted columns, by name."""
    return sorted(_tables(), key=lambda table: table.name)


def _tables() -> Iterator[SealedTable]:
    for mapper in Base.registry.mappers:
        fields = vars(mapper.class_).get("__encrypted__")
        if fields:
            yield SealedTable(mapper.class_, tuple(fields))
