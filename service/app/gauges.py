"""Gauges read at each scrape: queues, keys, connections and password hashes.

They are in `Metrics.private` only: an outbox that grows reveals logins, and the number of running
hashes reveals the attempts of others.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.pool import QueuePool

from crypto.turns import Load
from service.domain.clock import Clock
from service.domain.errors import LaminaError
from service.jobs.actions.long import LongJobs
from service.jobs.actions.worker import Jobs
from service.keys.actions.ages import ages
from service.keys.actions.instances import Instances
from service.notifications.actions.outbox import Outbox
from service.store.engine import Store, Tx
from service.telemetry.metrics import Metrics

_FAMILIES: Final = {
    "lamina_outbox_waiting": ("Messages that wait for delivery.", ()),
    "lamina_outbox_oldest_seconds": ("Age of the oldest waiting message.", ()),
    "lamina_long_jobs": ("Long jobs that wait or run.", ("state",)),
    "lamina_long_jobs_oldest_seconds": ("Age of the oldest long job.", ()),
    "lamina_worker_alive": ("Whether a process runs background work.", ()),
    "lamina_instances_alive": ("Processes with a recent heartbeat.", ()),
    "lamina_key_age_seconds": ("Age of the key in use.", ("tier", "class")),
    "lamina_database_up": ("Whether the database answers.", ()),
    "lamina_database_connections": ("Connections of this process.", ("state",)),
    "lamina_database_connections_most": ("Maximum connections of this process.", ()),
    "lamina_hash_turns": ("Maximum concurrent password hashes of all workers.", ()),
    "lamina_hashes": ("Password hashes that run or wait.", ("state",)),
}


@dataclass(kw_only=True, frozen=True, slots=True)
class Gauges(Collector):
    """Reads all gauges in one transaction.

    Args:
        hashing: Returns the load of the password hasher.
    """

    store: Store
    instances: Instances
    long_jobs: LongJobs
    jobs: Jobs
    outbox: Outbox
    hashing: Callable[[], Load]
    clock: Clock

    def describe(self) -> Iterator[Metric]:
        """Return the metric families without values."""
        return iter(_families().values())

    def collect(self) -> Iterator[Metric]:
        """Return the metric families; database gauges are omitted while it is unavailable."""
        found = _families()
        load = self.hashing()
        found["lamina_hash_turns"].add_metric([], load.turns)
        found["lamina_hashes"].add_metric(["running"], load.taken)
        found["lamina_hashes"].add_metric(["waiting"], load.waiting)
        # Counted before the query below, whose connection is not load of the service.
        self._connections(found)
        try:
            with self.store.transaction(read=True) as tx:
                self._stored(tx, found)
            found["lamina_database_up"].add_metric([], 1)
        except LaminaError:
            # The others matter most while the database is unavailable.
            found = {name: it for name, it in found.items() if it.samples}
            found["lamina_database_up"] = _family("lamina_database_up")
            found["lamina_database_up"].add_metric([], 0)
        yield from found.values()

    def _connections(self, found: dict[str, GaugeMetricFamily]) -> None:
        pool = self.store.engine.pool
        if isinstance(pool, QueuePool):
            taken = found["lamina_database_connections"]
            taken.add_metric(["in_use"], pool.checkedout())
            taken.add_metric(["idle"], pool.checkedin())
            most = pool.size() + pool._max_overflow  # noqa: SLF001 - it has no other name
            found["lamina_database_connections_most"].add_metric([], most)

    def _stored(self, tx: Tx, found: dict[str, GaugeMetricFamily]) -> None:
        now = self.clock.now()
        messages, put = self.outbox.depth(tx)
        queued, running, begun = self.long_jobs.depth(tx)
        seen = self.jobs.seen(tx)
        alive = sum(item.alive(now) for item in self.instances.listed(tx))
        plain = {
            "lamina_outbox_waiting": messages,
            "lamina_outbox_oldest_seconds": (now - put).total_seconds() if put else 0,
            "lamina_long_jobs_oldest_seconds": (now - begun).total_seconds() if begun else 0,
            "lamina_worker_alive": seen is not None and seen.alive(now),
            "lamina_instances_alive": alive,
        }
        for name, value in plain.items():
            found[name].add_metric([], max(0.0, float(value)))
        found["lamina_long_jobs"].add_metric(["waiting"], queued)
        found["lamina_long_jobs"].add_metric(["running"], running)
        for item in ages(tx, now):
            seconds = item.age.total_seconds()
            found["lamina_key_age_seconds"].add_metric([item.tier, item.key_class], seconds)


def install(metrics: Metrics, gauges: Gauges) -> None:
    """Register the gauges on the private address, and count runs of background tasks."""
    metrics.private.register(gauges)
    metrics.expect_jobs((*gauges.jobs.names, *gauges.long_jobs.kinds))
    gauges.jobs.on_end(metrics.job)
    gauges.long_jobs.on_end(metrics.job)


def _families() -> dict[str, GaugeMetricFamily]:
    return {name: _family(name) for name in _FAMILIES}


def _family(name: str) -> GaugeMetricFamily:
    help_text, labels = _FAMILIES[name]
    return GaugeMetricFamily(name, help_text, labels=labels)
