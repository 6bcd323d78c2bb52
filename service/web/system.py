"""Routes for liveness, readiness, metrics, and the API description."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Final, Literal

import orjson
from flask import Response
from pydantic import Field, with_config
from typing_extensions import TypedDict

from service.domain.errors import LaminaError
from service.domain.version import VERSION
from service.telemetry.metrics import Metrics
from service.web import openapi
from service.web.api import Api
from service.web.call import JSON, Call, Reply
from service.web.operation import get
from service.web.queues import Effort

_RETRY_AFTER: Final = "5"
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
_HTML: Final = "text/html; charset=utf-8"


class Liveness(TypedDict):
    """The process answers."""

    status: Literal["alive"]


class Readiness(TypedDict):
    """Whether requests are accepted, by which checks, and what needs an operator."""

    status: Literal["ready", "not_ready"]
    checks: Annotated[
        dict[str, bool],
        Field(description="Whether each condition holds.", examples=[{"keys": True}]),
    ]
    findings: Annotated[
        list[str],
        Field(description="Findings that refuse no request.", examples=[["ledger_lost"]]),
    ]


@with_config(extra="allow")
class OpenApiDocument(TypedDict):
    """An OpenAPI document."""

    openapi: Annotated[str, Field(examples=["3.1.0"])]


class SystemRoutes:
    """The operations of the process itself.

    Args:
        api: The registry, which `/openapi.json` describes.
        metrics: The metrics shown by `/metrics`.
        issuer: The base URL of this service.
        checks: Conditions for accepting requests.
        findings: Returns the names of findings that need an operator.
    """

    def __init__(
        self,
        *,
        api: Api,
        metrics: Metrics,
        issuer: str,
        checks: Mapping[str, Callable[[], bool]],
        findings: Callable[[], Sequence[str]],
    ) -> None:
        self._api = api
        self._metrics = metrics
        self._issuer = issuer
        self._checks = checks
        self._findings = findings

    @get("/healthz", scope=None, effort=Effort.NONE, answer=Liveness)
    def get_health(self, _call: Call) -> Liveness:
        """Report that the process is alive."""
        return {"status": "alive"}

    @get("/readyz", scope=None, answer=Readiness, others={503: Readiness})
    def get_readiness(self, _call: Call) -> Reply[Readiness]:
        """Report whether requests are accepted."""
        states = {name: _passes(check) for name, check in self._checks.items()}
        ready = all(states.values())
        found: Readiness = {
            "status": "ready" if ready else "not_ready",
            "checks": states,
            "findings": _reported(self._findings),
        }
        if ready:
            return Reply(body=found, status=200)
        return Reply(body=found, status=503, headers={"Retry-After": _RETRY_AFTER})

    @get("/metrics", scope=None, media=_METRICS)
    def get_metrics(self, _call: Call) -> Response:
        """Show the metrics, for Prometheus."""
        return Response(self._metrics.render(), content_type=_METRICS)

    @get("/openapi.json", scope=None, answer=OpenApiDocument)
    def get_openapi(self, _call: Call) -> Response:
        """Show this description of the API."""
        return Response(self._document, content_type=JSON)

    @get("/docs", scope=None, media=_HTML)
    def get_docs(self, _call: Call) -> Response:
        """Show the operations as a page."""
        return Response(openapi.page(self._api.operations), content_type=_HTML)

    @cached_property
    def _document(self) -> bytes:
        # Rendered once: the operations are fixed, and the route is public.
        return orjson.dumps(openapi.document(self._api.operations, self._issuer, VERSION))


def _passes(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except LaminaError:
        return False


def _reported(findings: Callable[[], Sequence[str]]) -> list[str]:
    try:
        return list(findings())
    except LaminaError:
        return []
