"""Prometheus metrics; labels come from closed sets, so that callers cannot add any."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    generate_latest,
    start_http_server,
)

from service.telemetry import logs
from service.telemetry.together import Together

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


_PATIENCE: Final = 10
_WORKERS: Final = 8
"""Number of ports tried by processes of `lamina worker` on one host."""
REASONS: Final = frozenset(
    {
        "too_many_approvals",
        "too_many_assertions",
        "too_many_attempts",
        "too_many_calls",
        "too_many_exports",
        "too_many_flows",
        "too_many_idempotency_keys",
        "too_many_jobs",
        "too_many_pending",
        "too_many_requests",
        "too_many_token_calls",
        "too_many_unauthenticated",
        "verification_limited",
    }
)
"""Codes of requests refused with 429."""
CHANNELS: Final = ("email", "sms", "alarm", "webhook")
"""Delivery channels of messages."""


def method_label(method: str) -> str:
    """Return the label of an HTTP method; unsupported methods are `OTHER`."""
    return method if method in _METHODS else "OTHER"


class Metrics:
    """The metrics of one app, not shared with other apps in the process.

    `registry` is readable by everyone who can reach the API. Outcomes of requests, attempts, flows
    and grants are only in `private`, with all others: they would reveal which passwords were right.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.private = CollectorRegistry()
        self._together: Together | None = None
        self._requests: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.requests = Counter(
            "lamina_http_requests_total",
            "Requests by route and status.",
            ["route", "method", "status"],
            registry=self.private,
        )
        self.seconds = Histogram(
            "lamina_http_request_seconds",
            "Time to answer, by route.",
            ["route"],
            registry=self.registry,
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
        )
        self.factors = Counter(
            "lamina_factor_attempts_total",
            "Attempts by factor and outcome.",
            ["factor", "outcome"],
            registry=self.private,
        )
        self.flows = Counter(
            "lamina_flows_total",
            "Flows by kind and status.",
            ["kind", "status"],
            registry=self.private,
        )
        self.grants = Counter(
            "lamina_token_grants_total",
            "Token requests by grant and outcome.",
            ["grant", "outcome"],
            registry=self.private,
        )
        self.refused = Counter(
            "lamina_rows_refused_total",
            "Stored rows that were not as this service wrote them, by table.",
            ["table"],
            registry=self.registry,
        )
        self.differing = Gauge(
            "lamina_rows_differ",
            "Rows that differed from the log when they were last compared.",
            registry=self.registry,
        )
        self.faces = Gauge(
            "lamina_stored_faces",
            "Faces that are stored; a filing is due at 100,000.",
            registry=self.registry,
        )
        self.unsequenced = Gauge(
            "lamina_audit_unsequenced",
            "Entries of the audit log that have no place in the chain yet.",
            registry=self.registry,
        )
        self.unsequenced_seconds = Gauge(
            "lamina_audit_unsequenced_seconds",
            "For how long the oldest of them has waited.",
            registry=self.registry,
        )
        self.disagrees = Gauge(
            "lamina_audit_disagrees",
            "Whether the audit log is other than a checkpoint or the ledger remembers.",
            registry=self.registry,
        )
        self.ledger = Gauge(
            "lamina_ledger_configured",
            "Whether there is a memory outside the database.",
            registry=self.registry,
        )
        self.ledger_lost = Gauge(
            "lamina_ledger_lost",
            "Whether the ledger is not the one that there was.",
            registry=self.registry,
        )
        self.deliveries = Counter(
            "lamina_deliveries_total",
            "Tries to deliver a message, by channel and outcome.",
            ["channel", "outcome"],
            registry=self.private,
        )
        self.outbox = Gauge(
            "lamina_delivery_messages",
            "Deliveries that wait or are dead, by channel.",
            ["channel", "state"],
            registry=self.private,
        )
        self.outbox_seconds = Gauge(
            "lamina_delivery_oldest_seconds",
            "Age of the oldest of them.",
            ["channel", "state"],
            registry=self.private,
        )
        for channel in CHANNELS:
            for state in ("waiting", "dead"):
                self.outbox.labels(channel, state)
                self.outbox_seconds.labels(channel, state)
            for outcome in ("delivered", "failed", "dead"):
                self.deliveries.labels(channel, outcome)
        self.throttled = Counter(
            "lamina_throttled_total",
            "Requests refused with 429, by reason.",
            ["reason"],
            registry=self.private,
        )
        for reason in REASONS:
            self.throttled.labels(reason)
        self.job_seconds = Summary(
            "lamina_job_seconds",
            "How long background work took, by task or kind of job.",
            ["task"],
            registry=self.private,
        )
        self.job_failures = Counter(
            "lamina_job_failures_total",
            "Background work that failed or left something undone.",
            ["task"],
            registry=self.private,
        )
        for shown in (
            self.seconds,
            self.refused,
            self.differing,
            self.faces,
            self.unsequenced,
            self.unsequenced_seconds,
            self.disagrees,
            self.ledger,
            self.ledger_lost,
        ):
            self.private.register(shown)

    def request(self, route: str, method: str, status: int, *, seconds: float) -> None:
        """Count a request and its time."""
        key = route, method, status
        found = self._requests.get(key)
        if found is None:
            # Looking a child up by its labels costs as much as counting with it.
            count = self.requests.labels(route, method, str(status))
            found = self._requests[key] = count, self.seconds.labels(route)
        count, time = found
        count.inc()
        time.observe(seconds)

    def throttle(self, code: str) -> None:
        """Count a request refused with 429."""
        self.throttled.labels(code if code in REASONS else "other").inc()

    def expect_jobs(self, names: Iterable[str]) -> None:
        """Initialize the metrics of every job, so that a rate includes the first failure."""
        for name in names:
            self.job_seconds.labels(name)
            self.job_failures.labels(name)

    def job(self, name: str, seconds: float, failed: bool) -> None:  # noqa: FBT001 - a listener
        """Count a run of background work."""
        self.job_seconds.labels(name).observe(seconds)
        if failed:
            self.job_failures.labels(name).inc()

    def share(self, directory: Path, workers: int) -> int | None:
        """Share counters with the other workers of a server, so that `render` returns the sums.

        Returns:
            The number of this worker among them, from 0; None if nothing can be shared.
        """
        try:
            self._together = Together(directory, workers, self.registry)
        except OSError as error:
            logs.get().error("counts_not_shared", **logs.kind(error))
            return None
        self._together.start()
        return self._together.number

    def render(self) -> bytes:
        """Return the public metrics in the text exposition format."""
        shown = self._together or self.registry
        return generate_latest(cast("CollectorRegistry", shown))

    def expose(self, bind: str, workers: int, *, beside: bool = False) -> None:
        """Serve all metrics on a separate address, from a thread.

        Each worker has its own counters, and takes the first free port. If none is free, this
        process keeps serving without, and logs it.

        Args:
            bind: HOST:PORT, with the port of the first worker.
            workers: Number of workers, and of their ports.
            beside: Whether this is `lamina worker`, which takes a port after those.
        """
        host, _, port = bind.rpartition(":")
        first = int(port) + (workers if beside else 0)
        for number in range(first, first + (_WORKERS if beside else workers)):
            try:
                server, _ = start_http_server(number, host.strip("[]"), self.private)
            except (OSError, OverflowError):
                continue
            # A client that sends nothing holds a thread and a socket no longer than this.
            handler = cast("type", server.RequestHandlerClass)
            server.RequestHandlerClass = type("Deadline", (handler,), {"timeout": _PATIENCE})
            return
        logs.get().error("metrics_not_exposed", setting="LAMINA_METRICS_BIND")
