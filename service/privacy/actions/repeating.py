"""Repeat acts that a restored backup has undone."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from service.domain.errors import LaminaError, NotFound
from service.keys.ledger import Entry
from service.privacy import model
from service.privacy.model import LedgerAct
from service.store.engine import Store, Tx
from service.telemetry import logs

Repeat = Callable[[Tx, LedgerAct], bool]
"""Repeats an act; False if it is in effect already. Raises NotFound if its target is missing."""


@dataclass(slots=True)
class RepeatResult:
    """How many acts were repeated, and how many could not be, by kind."""

    repeated: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)


class Repeating:
    """Acts that can be repeated, each kind by its feature.

    Args:
        repeats: Repeats each kind of act.
        propose: Restores a policy that is in the ledger but not in the database.
    """

    def __init__(
        self,
        database: Store,
        repeats: Mapping[str, Repeat],
        propose: Callable[[Tx, Mapping[str, object]], object],
    ) -> None:
        self._database = database
        self._repeats = repeats
        self._propose = propose

    def run(self, lines: Sequence[Entry], *, restored: bool) -> RepeatResult:
        """Repeat the acts of some lines that are still in effect, each in its own transaction.

        Args:
            lines: Those that may be missing from the database.
            restored: Whether the database is known to be older; then acts that cannot be repeated
                are counted too.
        """
        outcome = RepeatResult()
        documents = model.documents(lines)
        for act in model.standing(lines):
            repeat = self._repeats.get(act.what)
            if repeat is None:
                outcome.left[act.what] += restored
                continue
            try:
                with self._database.transaction() as tx:
                    document = documents.get(act.policy)
                    if document is not None:
                        self._propose(tx, document)
                    outcome.repeated[act.what] += repeat(tx, act)
            except NotFound:
                # The subject was created after the backup and does not exist.
                continue
            except LaminaError as error:
                logs.get().error("act_not_repeated", job=act.what, **logs.kind(error))
                outcome.left[act.what] += 1
        return outcome
