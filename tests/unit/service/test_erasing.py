"""The registry of erasure: which actions run, in which order."""

from dataclasses import dataclass, field
from uuid import UUID

import pytest

from service.store.erasing import (
    EVERYTHING,
    ErasureRegistry,
    ErasureTurn,
    ends_after_restore,
    erases,
)

SUBJECT = UUID(int=1)


@dataclass
class Names:
    done: list = field(default_factory=list)

    @erases("contact", tables=("name",))
    def drop_names(self, tx, subject):
        self.done.append(("names", subject))

    @erases(EVERYTHING, tables=("person",), turn=ErasureTurn.LAST)
    def mark(self, tx, subject):
        self.done.append(("mark", subject))


@dataclass
class Letters:
    done: list

    @erases("contact", "behavior", tables=("letter",))
    def drop_letters(self, tx, subject):
        self.done.append(("letters", subject))

    @erases(EVERYTHING, tables=("role",), turn=ErasureTurn.FIRST)
    def end_roles(self, tx, subject):
        self.done.append(("roles", subject))

    @ends_after_restore
    def forget(self, tx):
        self.done.append("forgotten")


@pytest.fixture
def names():
    return Names()


@pytest.fixture
def registry(names):
    registry = ErasureRegistry()
    registry.add(names, Letters(names.done))
    return registry


def run(registry, classes, *, whole):
    for erase in registry.actions(classes, whole=whole):
        erase(None, SUBJECT)


def test_one_class_runs_its_actions_as_the_features_were_added(registry, names):
    run(registry, {"contact"}, whole=False)
    assert names.done == [("names", SUBJECT), ("letters", SUBJECT)]


def test_a_complete_erasure_runs_every_class_and_then_by_turns(registry, names):
    """What was added last but must be first is, and the mark is last."""
    run(registry, {"contact", "behavior"}, whole=True)
    assert [name for name, _ in names.done] == ["letters", "names", "letters", "roles", "mark"]


def test_an_unknown_class_has_no_action(registry, names):
    run(registry, {"biometric"}, whole=False)
    assert names.done == []


def test_a_restore_runs_what_it_may_revive(registry, names):
    for end in registry.after_restore():
        end(None)
    assert names.done == ["forgotten"]


def test_the_tables_are_those_of_all_actions(registry):
    assert registry.tables == {"name", "person", "letter", "role"}


def test_a_feature_without_an_action_is_refused(registry):
    """To add one by mistake would look like an erasure."""
    with pytest.raises(TypeError, match="object has no method that erases"):
        registry.add(object())
