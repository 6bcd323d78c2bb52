"""Long job that compares a policy document with stored decisions."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from service.jobs.actions.work import JobStep, Work
from service.policy.actions.backtest import PAGE, Backtest
from service.policy.actions.documents import Lives
from service.policy.model.replay import LEAST_PEOPLE
from service.store.engine import Store


def backtest_plan(database: Store, lives: Lives, params: Mapping[str, Any]) -> Work:
    """Return the work of a backtest: a page of decisions per step, and the table at the end.

    Args:
        database: The database.
        lives: The policy documents.
        params: `version`, `limit`, and `since` as an RFC 3339 time or None.
    """
    since = datetime.fromisoformat(params["since"]) if params["since"] else None
    limit = int(params["limit"])
    tests: list[Backtest] = []

    def total() -> int:
        with database.transaction(read=True) as tx:
            return min(limit, Backtest(None, since).total(tx))

    def steps() -> Iterator[JobStep]:
        with database.transaction(read=True) as tx:
            test = Backtest(lives.whole(tx, params["version"]), since)
        tests[:] = [test]
        left = limit
        while left:
            with database.transaction(read=True) as tx:
                done = test.page(tx, min(PAGE, left))
            if not done:
                return
            left -= done
            yield JobStep(done)

    def finish() -> Mapping[str, object]:
        return {"segments": tests[0].table.listing(LEAST_PEOPLE), "least_people": LEAST_PEOPLE}

    return Work(total, steps, finish)
