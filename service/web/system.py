"""Routes for liveness, readiness, metrics, and the API description."""

from collections.abc import Callable, Mapping, Sequence

import orjson
from flask import Response

from service.domain.errors import LaminaError
from service.telemetry.metrics import Metrics
from service.web import openapi
from service.web.api import Api, Call, Operation

VERSION = "0.1.0"


def routes(
    api: Api,
    metrics: Metrics,
    issuer: str,
    checks: Mapping[str, Callable[[], bool]],
    findings: Callable[[], Sequence[str]],
) -> None:
    """Register the operations.

    Args:
        api: The registry.
        metrics: The metrics shown by `/metrics`.
        issuer: The base URL of this service.
        checks: Conditions for accepting requests.
        findings: Returns the names of findings that need an operator.
    """

    def healthz(_call: Call) -> Mapping[str, str]:
        return {"status": "alive"}

    def readyz(_call: Call) -> Response:
        states = {name: _passes(check) for name, check in checks.items()}
        ready = all(states.values())
        body = orjson.dumps(
            {
                "status": "ready" if ready else "not_ready",
                "checks": states,
                "findings": _reported(findings),
            }
        )
        response = Response(body, 200 if ready else 503)
        response.content_type = "application/json"
        if response.status_code != 200:  # noqa: PLR2004 - ready
            response.headers["Retry-After"] = "5"
        return response

    def exposition(_call: Call) -> Response:
        return Response(metrics.render(), content_type="text/plain; version=0.0.4; charset=utf-8")

    def document(_call: Call) -> Mapping[str, object]:
        return openapi.document(api.operations, issuer, VERSION)

    def docs(_call: Call) -> Response:
        return Response(openapi.page(api.operations), content_type="text/html; charset=utf-8")

    api.add(Operation("GET", "/healthz", "Report that the process is alive", None), healthz)
    api.add(Operation("GET", "/readyz", "Report whether requests are accepted", None), readyz)
    api.add(Operation("GET", "/metrics", "Prometheus metrics", None), exposition)
    api.add(Operation("GET", "/openapi.json", "This description", None), document)
    api.add(Operation("GET", "/docs", "This description, to read", None), docs)


def _passes(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except LaminaError:
        return False


def _reported(findings: Callable[[], Sequence[str]]) -> Sequence[str]:
    try:
        return findings()
    except LaminaError:
        return ()
