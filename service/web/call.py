"""A request after authorization and validation, and the responses that a view returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

import orjson
from flask import Response, request
from pydantic import BaseModel

from service.domain.caller import Caller
from service.domain.errors import NotFound, Unauthorized
from service.domain.ids import parse_id
from service.web import paging

JSON = "application/json"
A = TypeVar("A")
M = TypeVar("M", bound=BaseModel)


@dataclass(slots=True, kw_only=True)
class Call:
    """A request after authorization and validation.

    Args:
        path: The parameters of the path.
        caller: Who calls; None on a public route.
        body: The validated body; views use `read`.
        raw: The bytes of the body that a replay must match.
        page: The requested page of a list.
        filters: The validated query parameters; views use `query`.
    """

    path: Mapping[str, str]
    caller: Caller | None = None
    body: BaseModel | None = field(default=None, repr=False)
    raw: bytes = field(default=b"", repr=False)
    page: paging.PageRequest = field(default_factory=paging.PageRequest)
    filters: BaseModel | None = field(default=None, repr=False)

    @property
    def by(self) -> Caller:
        """Return the caller of an authorized route; raises Unauthorized."""
        if self.caller is None:
            raise Unauthorized("token_missing", "This needs an access token.")
        return self.caller

    def read(self, model: type[M]) -> M:
        """Return the body as the model that the operation declares; raises TypeError for others."""
        return _expected(self.body, model)

    def query(self, model: type[M]) -> M:
        """Return the query parameters as the declared model; raises TypeError for others."""
        return _expected(self.filters, model)

    def id(self, name: str, what: str) -> UUID:
        """Return an id from the path; raises NotFound if it is malformed."""
        found = parse_id(self.path[name])
        if found is None:
            raise NotFound(f"{what}_not_found", f"There is no such {what}.")
        return found

    def header(self, name: str) -> str:
        """Return a request header, or the empty string."""
        return str(request.headers.get(name, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(Generic[A]):
    """A response with another status or further headers than its operation usually has.

    Args:
        body: The JSON value.
        status: The status.
        headers: Further headers.
    """

    body: A = field(repr=False)
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


View = Callable[[Call], object]


def accepted(job: A, number: object) -> Reply[A]:
    """Return the response 202 to the request of a job, with its address in `Location`."""
    return Reply(body=job, status=202, headers={"Location": f"/v1/jobs/{number}"})


def respond(result: object, status: int) -> Response:
    """Return the response that a view's result stands for.

    Args:
        result: A JSON value, None for 204, a Reply, or a Response.
        status: The status of a JSON value.
    """
    if isinstance(result, Response):
        return result
    if result is None:
        return Response(status=204)
    if isinstance(result, Reply):
        return _json(result.body, result.status, result.headers)
    return _json(result, status, {})


def _json(value: object, status: int, headers: Mapping[str, str]) -> Response:
    return Response(orjson.dumps(value), status, headers=dict(headers), content_type=JSON)


def _expected(given: BaseModel | None, model: type[M]) -> M:
    if isinstance(given, model):
        return given
    raise TypeError(f"the operation reads {type(given).__name__}, not {model.__name__}")
