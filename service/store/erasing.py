"""The registry of erasure: what each feature deletes with a subject, or with a class of its data.

A feature marks its methods: `@erases("contact", tables=("outbox",))` for what is deleted with one
class of data, `@erases(EVERYTHING, …)` for what ends only with the subject, `@ends_after_restore`
for what a restored backup may have revived. The composition adds each feature to the registry.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar
from uuid import UUID

from service.store.engine import Tx

EVERYTHING: Final = "everything"
"""Stands for a complete erasure where a class of data could be named."""
Erase = Callable[[Tx, UUID], object]
EndAll = Callable[[Tx], object]
_Erases = TypeVar("_Erases", bound=Callable[..., object])
_MARK: Final = "__erases__"
_RESTORED: Final = "__ends_after_restore__"


class ErasureTurn(IntEnum):
    """When an action runs; actions of one turn run in the order in which features were added."""

    FIRST = 0
    """Before the others: needs the subject's rows as they were."""
    USUAL = 1
    LAST = 2
    """After the others, which no longer find the subject then."""


@dataclass(kw_only=True, frozen=True, slots=True)
class ErasureMark:
    """The declaration of a method that deletes data of a subject.

    Args:
        classes: The classes of data with which it runs; EVERYTHING for a complete erasure.
        tables: The tables whose rows it deletes, ends or empties.
        turn: When it runs among the actions of the same class.
    """

    classes: tuple[str, ...]
    tables: tuple[str, ...]
    turn: ErasureTurn


def erases(
    *classes: str, tables: Sequence[str], turn: ErasureTurn = ErasureTurn.USUAL
) -> Callable[[_Erases], _Erases]:
    """Mark a method `(tx, subject)` that deletes with classes of data; see `ErasureMark`."""
    mark = ErasureMark(classes=classes, tables=tuple(tables), turn=turn)

    def marked(method: _Erases) -> _Erases:
        setattr(method, _MARK, mark)
        return method

    return marked


def ends_after_restore(method: _Erases) -> _Erases:
    """Mark a method `(tx)` that ends for all subjects what a restored backup may revive."""
    setattr(method, _RESTORED, True)
    return method


class ErasureRegistry:
    """The marked methods of all features."""

    def __init__(self) -> None:
        self._actions: dict[str, list[tuple[ErasureTurn, Erase]]] = defaultdict(list)
        self._restored: list[EndAll] = []
        self._tables: set[str] = set()

    def add(self, *features: object) -> None:
        """Add the marked methods of features; raises TypeError for a feature without one."""
        for feature in features:
            found = [name for name, method in vars(type(feature)).items() if _is_marked(method)]
            if not found:
                raise TypeError(f"{type(feature).__name__} has no method that erases")
            for name in found:
                self._add(getattr(feature, name))

    def _add(self, method: Callable[..., object]) -> None:
        mark: ErasureMark | None = getattr(method, _MARK, None)
        if mark is None:
            self._restored.append(method)
            return
        self._tables |= set(mark.tables)
        for name in mark.classes:
            self._actions[name].append((mark.turn, method))
            self._actions[name].sort(key=lambda item: item[0])

    @property
    def tables(self) -> frozenset[str]:
        """Return the tables that the actions reach."""
        return frozenset(self._tables)

    def actions(self, classes: Collection[str], *, whole: bool) -> Iterator[Erase]:
        """Yield the actions of an erasure in order: by class, then those of a complete one."""
        for name in (*sorted(classes), *([EVERYTHING] if whole else [])):
            yield from (action for _, action in self._actions[name])

    def after_restore(self) -> Sequence[EndAll]:
        """Return the actions that end for all subjects what a restored backup may revive."""
        return tuple(self._restored)


def _is_marked(method: object) -> bool:
    return hasattr(method, _MARK) or hasattr(method, _RESTORED)
