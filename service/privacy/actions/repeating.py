"""Take away again what a restored backup has brought back."""

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
"""Does an act again; False when it stands, NotFound when there is nobody to do it to."""


@dataclass(slots=True)
class RepeatResult:
    """How many acts were done again, and how many could not be, by kind."""

    repeated: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)


class Repeating:
    """The acts that are repeated, each kind by its feature.

    Args:
        repeats: What does each kind again.
        propose: Brings back a policy that the ledger holds and the database does not.
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
        """Repeat what stands of some lines, each act in a unit of work of its own.

        Args:
            lines: Those that the database may not know of.
            restored: Whether it is known to be older; then what nothing repeats is counted too.
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
                # Whoever it was about came after the backup, and is not there.
                continue
            except LaminaError as error:
                logs.get().error("act_not_repeated", job=act.what, **logs.kind(error))
                outcome.left[act.what] += 1
        return outcome
