"""The columns that the MAC or digest of a row covers, as declared by its table."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any, ClassVar, Final, cast
from uuid import UUID

from sqlalchemy import JSON, Boolean, Column, Integer, LargeBinary, String, Table, Uuid
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from crypto import rows
from crypto.rows import Form
from service.store.base import Base, UtcDateTime, table_of
from service.store.sealed import SealedType

_FORMS: Final[tuple[tuple[type[Any], Form], ...]] = (
    (Uuid, rows.identity),
    (UtcDateTime, rows.moment),
    (Boolean, rows.truth),
    (Integer, rows.number),
    (String, rows.text),
    (SealedType, rows.binary),
    (LargeBinary, rows.binary),
    (JSON, rows.document),
)


class Authentic:
    """A mixin of tables with a MAC in each row."""

    __members__: ClassVar[tuple[str, ...]]
    """The columns that the MAC covers, in addition to the primary key."""
    __until__: ClassVar[str | None] = None
    """The column with the time after which a row may be missing; None if it never may."""

    mac: Mapped[bytes | None] = mapped_column(LargeBinary(rows.MAC_BYTES))

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy calls it with the class
        """Allow an update only if the row still has the MAC that was read."""
        return {"version_id_col": cls.mac, "version_id_generator": False}


class Noted:
    """A mixin of tables without row MACs, but with changes recorded in the log.

    Their rows change with every attempt, and are sealed or counted by guarded statements.
    """

    __members__: ClassVar[tuple[str, ...]] = ()
    """The columns covered by a digest in the log, in addition to the primary key."""
    __until__: ClassVar[str | None] = None
    __revision__: ClassVar[str | None] = None
    """The column that counts the changes of a row; None if a row never changes."""
    __followed__: ClassVar[bool] = False
    """Whether the row retains its state before the last change, which the log records too."""


Recorded = Authentic | Noted
"""A table with rows recorded in the log."""


@dataclass(frozen=True)
class Shape:
    """The covered columns of a table and their encoding.

    Args:
        model: The mapped class.
    """

    model: type[Recorded]

    @cached_property
    def table(self) -> Table:
        """Return the table."""
        return table_of(cast("type[Base]", self.model))

    @cached_property
    def key(self) -> tuple[str, ...]:
        """Return the names of the primary key columns."""
        return tuple(column.name for column in self.table.primary_key.columns)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the names of the covered columns, in order."""
        return (*self.key, *self.model.__members__)

    @cached_property
    def keyed(self) -> bool:
        """Return whether the rows have a MAC."""
        return issubclass(self.model, Authentic)

    @property
    def followed(self) -> bool:
        """Return whether each record includes the state before the change."""
        return bool(getattr(self.model, "__followed__", False))

    @property
    def keyed_model(self) -> type[Authentic]:
        """Return the mapped class of a table with row MACs."""
        return cast("type[Authentic]", self.model)

    @cached_property
    def columns(self) -> tuple[Column[Any], ...]:
        """Return the covered columns, and the MAC or the revision column."""
        last = "mac" if self.keyed else getattr(self.model, "__revision__", None)
        return tuple(self.table.c[name] for name in (*self.names, *([last] if last else ())))

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """Return the attribute names of the covered columns."""
        sealed = {item.name: item.column for item in vars(self.model).get("__encrypted__", ())}
        return tuple(sealed.get(name, name) for name in self.names)

    @cached_property
    def watched(self) -> frozenset[str]:
        """Return the attributes that change the MAC."""
        return frozenset(self.attributes)

    @cached_property
    def covers_cells(self) -> bool:
        """Return whether a sealed column is covered, so that re-encryption changes the MAC."""
        return self.attributes != self.names

    @cached_property
    def _forms(self) -> tuple[Form, ...]:
        return tuple(_form(self.table.c[name]) for name in self.names)

    @cached_property
    def _place(self) -> bytes:
        return rows.place_of(self.table.name, self.names)

    def message(self, values: Iterable[Any]) -> bytes:
        """Return the message of the MAC from the values of the covered columns."""
        return self._place + b"".join(
            [
                rows.NOTHING if value is None else form(value)
                for form, value in zip(self._forms, values, strict=True)
            ]
        )

    @cached_property
    def of_object(self) -> Callable[[Any], tuple[Any, ...]]:
        """Return a function that reads the covered values of an object."""
        return attrgetter(*self.attributes)

    @cached_property
    def of_row(self) -> Callable[[Any], tuple[Any, ...]]:
        """Return a function that reads the covered values of a row of named columns."""
        return attrgetter(*self.names)

    def name_of(self, values: Sequence[Any]) -> str:
        """Return the key of a row as text."""
        return "|".join(_plain(value) for value in values[: len(self.key)])

    def note_of(self, row: Any) -> tuple[str, int, str, int | None]:
        """Return the log record of a row's current state: key, revision, tag, and expiry."""
        values = self.of_row(row)
        name = self.name_of(values)
        until = self.until_of(values)
        if self.keyed:
            return name, rows.revision_of(row.mac), rows.tag_of(row.mac), until
        column = getattr(self.model, "__revision__", None)
        return name, getattr(row, column) if column else 1, self.digest_of(row), until

    def digest_of(self, row: Any) -> str:
        """Return the start of a digest of a row without a MAC."""
        return rows.plain_tag(self.message(self.of_row(row)))

    def until_of(self, values: Sequence[Any]) -> int | None:
        """Return the time until which a row must exist, in Unix seconds."""
        name = self.model.__until__
        until = values[self.names.index(name)] if name else None
        return int(until.timestamp()) if until else None

    @cached_property
    def may_vanish(self) -> bool:
        """Return whether the deletion of an expired row need not be recorded.

        It must be if a key can be reused: the records of the first row would count against it.
        """
        return bool(self.model.__until__) and len(self.key) == 1


_KNOWN: Final[dict[Any, Shape]] = {}


def shape_of(model: type[Recorded]) -> Shape:
    """Return the shape of a table."""
    found = _KNOWN.get(model)
    if found is None:
        found = _KNOWN[model] = Shape(model)
    return found


def shapes() -> list[Shape]:
    """Return the shapes of all tables recorded in the log, by name."""
    found = {
        shape_of(mapper.class_)
        for mapper in Base.registry.mappers
        if issubclass(mapper.class_, Authentic | Noted)
    }
    return sorted(found, key=lambda shape: shape.table.name)


def noted_shape(table: Table) -> Shape | None:
    """Return the shape of a table recorded in the log, or None."""
    return next((shape for shape in shapes() if shape.table is table), None)


def _form(column: Column[Any]) -> Form:
    return next(form for kind, form in _FORMS if isinstance(column.type, kind))


def _plain(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    return value.hex() if isinstance(value, bytes) else str(value)
