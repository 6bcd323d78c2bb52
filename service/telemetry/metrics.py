"""Prometheus counters; labels come from closed sets, so that nobody can grow them."""

from typing import Final, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
)

from service.telemetry import logs

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


_PATIENCE: Final = 10


def method_label(method: str) -> str:
    """Return the label of an HTTP method; every one that nobody serves is `OTHER`."""
    return method if method in _METHODS else "OTHER"


class Metrics:
    """The counters of one app; several apps in one process do not share them.

    Whoever reaches the API may read `registry`. How requests, attempts, flows and grants ended is
    in `private` alone, with all of the other: a stranger would read which passwords were right.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.private = CollectorRegistry()
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
            "lamina_outbox_messages",
            "Deliveries that wait or are dead, by channel.",
            ["channel", "state"],
            registry=self.private,
        )
        self.outbox_seconds = Gauge(
            "lamina_outbox_oldest_seconds",
            "Age of the oldest of them.",
            ["channel", "state"],
            registry=self.private,
        )
        for shown in (
            self.seconds, self.refused, self.differing, self.faces, self.unsequenced,
            self.unsequenced_seconds, self.disagrees, self.ledger, self.ledger_lost,
        ):  # fmt: skip
            self.private.register(shown)

    def render(self) -> bytes:
        """Return the text exposition format of what anybody may read."""
        return generate_latest(self.registry)

    def expose(self, bind: str, workers: int) -> None:
        """Answer with everything on an address of its own, from a thread.

        Each of several workers has counters of its own, and takes the first free port. Where there
        is none this process serves on without, and says so in its log.

        Args:
            bind: HOST:PORT, the port of the first worker.
            workers: How many there are, on as many ports.
        """
        host, _, port = bind.rpartition(":")
        for number in range(int(port), int(port) + workers):
            try:
                server, _ = start_http_server(number, host.strip("[]"), self.private)
            except (OSError, OverflowError):
                continue
            # Who sends nothing holds a thread and a file no longer than this.
            handler = cast("type", server.RequestHandlerClass)
            server.RequestHandlerClass = type("Deadline", (handler,), {"timeout": _PATIENCE})
            return
        logs.get().error("metrics_not_exposed", setting="LAMINA_METRICS_BIND")
