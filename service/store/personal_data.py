"""Personal data in each table: declared in the table's class, and read for an export.

A class declares `__personal__ = Personal(...)` if its rows are found by a subject, and
`__personal__ = Unlinked(...)` if they may be about people but cannot be found by one. A sealed or
binary column is exported only if `shown` says how, so a new one is withheld by default.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import LargeBinary, Select, select
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import ColumnElement
from typing_extensions import TypedDict

from crypto.errors import CryptoError
from service.domain.clock import rfc3339
from service.store.base import Base, table_of
from service.store.engine import Tx
from service.store.shapes import Authentic

Columns = ReadOnlyColumnCollection[str, Any]


@dataclass(frozen=True, slots=True)
class Whose:
    """The person to search rows of.

    Args:
        subject: The subject.
        bucket: The keyed digest under which the person's attempts are counted.
    """

    subject: UUID
    bucket: str = field(repr=False)

    @property
    def actor(self) -> str:
        """Return the actor name of this person as an operator."""
        return f"operator:{self.subject}"


Of = Callable[[Columns, Whose], ColumnElement[bool]]
Shown = Callable[[Any], Any]


def by_subject(columns: Columns, whose: Whose) -> ColumnElement[bool]:
    """Find rows by `subject_id`."""
    found: ColumnElement[bool] = columns.subject_id == whose.subject
    return found


def through(name: str) -> Of:
    """Find rows by a foreign key to a table with the subject."""

    def of(columns: Columns, whose: Whose) -> ColumnElement[bool]:
        (key,) = columns[name].foreign_keys
        owned = select(key.column).where(key.column.table.c.subject_id == whose.subject)
        found: ColumnElement[bool] = columns[name].in_(owned)
        return found

    return of


def by_actor(name: str) -> Of:
    """Find the actions of this person as an operator, alone or as one of two."""

    def of(columns: Columns, whose: Whose) -> ColumnElement[bool]:
        found: ColumnElement[bool] = columns[name].contains(whose.actor)
        return found

    return of


def plainly(value: object) -> object:
    """Return a value unchanged."""
    return value


def as_json(value: str | bytes) -> object:
    """Parse JSON text."""
    return orjson.loads(value)


def without(*names: str) -> Shown:
    """Return a parser of JSON text that removes members of these names at any depth."""

    def shown(value: str | bytes) -> object:
        return _without(orjson.loads(value), frozenset(names))

    return shown


def anybody(actor: str | None) -> str | None:
    """Return an actor without the operator's identity, which is personal data of another person."""
    return "operator" if actor and actor.startswith("operator:") else actor


@dataclass(kw_only=True, frozen=True, slots=True)
class Personal:
    """Personal data in a table.

    Args:
        purpose: The purpose of processing.
        retention: How long the data is stored.
        of: The condition under which a row is about the person.
        withheld: Columns or members that are not exported, with the reason.
        shown: How a column is exported; a sealed or binary one without an entry is not.
    """

    purpose: str
    retention: str
    of: Of = by_subject
    withheld: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[str, Shown] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unlinked:
    """Data in a table that may be about people but cannot be found by the person.

    Args:
        why: Why it cannot be found.
    """

    purpose: str
    retention: str
    why: str


class WithheldField(TypedDict):
    """A field that an export leaves out, and why."""

    field: str
    reason: str


class TableExport(TypedDict):
    """The rows of a table about a person; `unreadable` counts fields that do not open."""

    name: str
    purpose: str
    retention: str
    rows: list[dict[str, object]]
    withheld: list[WithheldField]
    unreadable: int


class UnlinkedTable(TypedDict):
    """A table that may be about people but cannot be found by one."""

    name: str
    purpose: str
    retention: str
    why: str


@dataclass(frozen=True, slots=True)
class PersonalTable:
    """A table with its declaration."""

    model: type[Base]
    declared: Personal

    @property
    def name(self) -> str:
        """Return the name of the table."""
        return table_of(self.model).name

    @property
    def hidden(self) -> frozenset[str]:
        """Return the sealed and binary columns, which are exported only if declared."""
        sealed = {item.name for item in vars(self.model).get("__encrypted__", ())}
        columns = table_of(self.model).columns
        return frozenset(sealed | {item.name for item in columns if _binary(item.type)})

    @property
    def given(self) -> Sequence[str]:
        """Return the exported columns, in the order of the table."""
        names = map(str, table_of(self.model).columns.keys())
        undeclared = self.hidden - self.declared.shown.keys()
        return [name for name in names if name not in self.withheld and name not in undeclared]

    @property
    def withheld(self) -> Mapping[str, str]:
        """Return the columns that are withheld, with the reasons."""
        if not issubclass(self.model, Authentic):
            return self.declared.withheld
        return {**self.declared.withheld, "mac": "a keyed digest of the row, which is given here"}

    def section(self, tx: Tx, whose: Whose) -> TableExport:
        """Return the export of the rows about a person, with the withheld fields."""
        declared = self.declared
        lost = 0
        rows = []
        for row in tx.scalars(self._query(whose)):
            values, closed = self._row(row)
            rows.append(values)
            lost += closed
        return {
            "name": self.name,
            "purpose": declared.purpose,
            "retention": declared.retention,
            "rows": rows,
            "withheld": [{"field": name, "reason": why} for name, why in self.withheld.items()]
            if rows
            else [],
            "unreadable": lost,
        }

    def _query(self, whose: Whose) -> Select[Any]:
        table = table_of(self.model)
        query = select(self.model).where(self.declared.of(table.columns, whose))
        return query.order_by(*table.primary_key.columns)

    def _row(self, row: Base) -> tuple[dict[str, object], int]:
        values: dict[str, object] = {}
        lost = 0
        for name in self.given:
            try:
                value = getattr(row, name)
                values[name] = _plain(_shown(self.declared, name, value))
            except CryptoError:
                # The key was destroyed, or this process does not hold its class.
                lost += 1
        return values, lost


def held() -> Sequence[PersonalTable]:
    """Return all tables with data about a person, by name."""
    found = [
        PersonalTable(model, entry) for model, entry in _declared() if isinstance(entry, Personal)
    ]
    return sorted(found, key=lambda item: item.name)


def unlinked() -> Sequence[UnlinkedTable]:
    """Return the tables that may be about people but cannot be found by one."""
    return sorted(
        (
            {
                "name": table_of(model).name,
                "purpose": entry.purpose,
                "retention": entry.retention,
                "why": entry.why,
            }
            for model, entry in _declared()
            if isinstance(entry, Unlinked)
        ),
        key=lambda item: item["name"],
    )


def _declared() -> Iterator[tuple[type[Base], Personal | Unlinked]]:
    for mapper in Base.registry.mappers:
        entry = vars(mapper.class_).get("__personal__")
        if entry is not None:
            yield mapper.class_, entry


_BINARY: Final = (bytes, memoryview)


def _binary(kind: object) -> bool:
    return isinstance(getattr(kind, "impl", kind), LargeBinary)


def _shown(declared: Personal, name: str, value: object) -> object:
    return None if value is None else declared.shown.get(name, plainly)(value)


def _plain(value: Any) -> Any:  # noqa: ANN401 - a value of any column
    """Convert a value to its JSON form; raises TypeError for bytes."""
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, _BINARY):
        raise TypeError("bytes are never given as they are")
    return value


def _without(value: Any, names: frozenset[str]) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {key: _without(item, names) for key, item in value.items() if key not in names}
    if isinstance(value, list):
        return [_without(item, names) for item in value]
    return value
