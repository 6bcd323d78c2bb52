"""Prometheus counters; labels come from closed sets, so that nobody can grow them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The counters of one app; several apps in one process do not share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "lamina_http_requests_total",
            "Requests by route and status.",
            ["route", "method", "status"],
            registry=self.registry,
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
            registry=self.registry,
        )
        self.flows = Counter(
            "lamina_flows_total",
            "Flows by kind and status.",
            ["kind", "status"],
            registry=self.registry,
        )
        self.grants = Counter(
            "lamina_token_grants_total",
            "Token requests by grant and outcome.",
            ["grant", "outcome"],
            registry=self.registry,
        )
        self.faces = Gauge(
            "lamina_stored_faces",
            "Faces that are stored; a filing is due at 100,000.",
            registry=self.registry,
        )

    def render(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self.registry)
