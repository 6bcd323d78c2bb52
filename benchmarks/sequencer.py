"""How fast entries of the audit log get their place, against the way of before.

    python -m benchmarks.sequencer [--rounds N] [--leaves N] [--url postgresql+psycopg://…]

Both ways take turns on one database: a round is 500 entries for each. Before, every entry was
updated by a statement of its own and its link added as an object, without a MAC or a checkpoint.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select, update

from crypto import chain
from crypto.hashing import PasswordHasher
from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.app import Container, open_container
from service.audit import store
from service.audit.actions.leaves import covered
from service.audit.store import Leaf, Link
from service.domain.clock import SystemClock
from service.settings import Settings
from service.store import migrate
from service.store.engine import Tx, make_engine
from service.telemetry import logs

Way = Callable[[Container, Tx], int]


def _before(_container: Container, tx: Tx) -> int:
    store.lock(tx)
    last = store.last_link(tx)
    position, head = (last.position, last.head) if last else (0, chain.GENESIS)
    query = select(Leaf).where(Leaf.position.is_(None)).order_by(Leaf.id).limit(500)
    leaves = list(tx.scalars(query))
    for leaf in leaves:
        position += 1
        head = chain.link(head, covered(leaf))
        tx.execute(update(Leaf).where(Leaf.id == leaf.id).values(position=position))
        tx.add(Link(position=position, leaf_id=leaf.id, head=head))
    return len(leaves)


def _now(container: Container, tx: Tx) -> int:
    return container.audit.sequence_waiting(tx)


def _fill(container: Container, leaves: int) -> None:
    with container.store.transaction() as tx:
        for number in range(leaves):
            container.audit.append(tx, "bench.done", actor="bench", number=number)


def _round(container: Container, way: Way, leaves: int) -> float:
    _fill(container, leaves)
    begun = time.perf_counter()
    with container.store.transaction() as tx:
        if way(container, tx) < leaves:
            raise RuntimeError("entries were left")
    return leaves / (time.perf_counter() - begun)


def main() -> None:
    """Measure and print the rates of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--leaves", type=int, default=500, help="at most 500: what was taken once")
    parser.add_argument("--url", help="an empty database of PostgreSQL")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        url = chosen.url or f"sqlite:///{place / 'bench.db'}"
        engine = make_engine(url)
        migrate.upgrade(engine)
        engine.dispose()
        FileRoot.init(place / "keys", KEY_CLASSES)
        settings = Settings(
            mode="development",
            database_url=url,
            root_key=f"file:{place / 'keys'}",
            log_level="error",
            face_engine="off",
            ledger="off",
        )
        # The way of before leaves no checkpoint, which would be told in each round.
        logs.configure("critical")
        container = open_container(settings, SystemClock(), PasswordHasher.unsafe_for_tests())
        _round(container, _now, 1)
        with container.store.transaction() as tx:
            container.audit.sequence_waiting(tx)
        rates: dict[str, list[float]] = {"before": [], "now": []}
        for _ in range(chosen.rounds):
            rates["before"].append(_round(container, _before, chosen.leaves))
            rates["now"].append(_round(container, _now, chosen.leaves))
        container.store.engine.dispose()
    middle = {name: statistics.median(found) for name, found in rates.items()}
    print("  ".join(f"{name}: {rate:,.0f} entries/s" for name, rate in middle.items()))
    print(f"now / before: {middle['now'] / middle['before']:.1f}")


if __name__ == "__main__":
    main()
