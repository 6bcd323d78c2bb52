"""Operations: the properties of a route, and the decorators that declare them on its view.

    class SessionRoutes:
        @get("/v1/subjects/{subject}/sessions", scope="subjects:read", paged=True,
             answer=Page[SessionView], problems=("404 subject_not_found",))
        def list_sessions(self, call: Call) -> Page[SessionView]:
            \"\"\"List sessions in force.\"\"\"

The name of the view is the operation id, the first line of its docstring the summary, and the
rest the description.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypedDict, TypeVar, Unpack

from pydantic import BaseModel

from service.web.call import JSON, View
from service.web.queues import Effort

DEFAULT_BODY: Final = 256 * 1024
May = Callable[..., None]
"""A method of a routes class that takes a Call."""
V = TypeVar("V", bound=Callable[..., object])
_DECLARED: Final = "__operation__"
_PROBLEM: Final = re.compile(r"([45][0-9]{2}) ([a-z][a-z0-9_]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """The properties of a route, for OpenAPI, authorization and documentation.

    Args:
        operation_id: Its name in OpenAPI, unique; generated clients call their method so.
        tags: Its groups in OpenAPI.
        scope: The required scope; empty for any client, None for a public route.
        also: Other scopes that change its response.
        body: The model of the body.
        form: The type of a body in application/x-www-form-urlencoded, which the view reads itself.
        query: The model of further query parameters, which filter a list.
        answer: The type of the JSON response: a TypedDict, or a Page of one.
        media: The media type of the response.
        status: The status of a success.
        others: The types of responses with another status than `status` that are no problem.
        problems: The problem codes that only this route answers, each as `"404 flow_not_found"`;
            those that follow from the other properties are in `service.web.codes`.
        members: The types of members that only its problems have, by their names.
        oauth: Whether it authenticates clients itself, and answers errors as RFC 6749 says; then
            `problems` are codes of such errors.
        idempotent: Whether it takes `Idempotency-Key`.
        secret: Whether the response holds a secret, so that it is stored for a replay only briefly.
        effort: Whether it may hash or infer, by which it is queued.
        limit: The requests of an address in a minute at a route that anybody may call; 0 for one
            that counts by client, or not at all.
        max_body: The maximum bytes of a body.
        headers: The names of further request headers that it reads.
        frames: Whether frames may also be sent as multipart/form-data.
        paged: Whether it is a paged list.
        makes_subject: Whether its response contains a new subject.
        classes: The key classes of the subject's data in its response: a stored response is erased
            with any of them.
        may: Rejects callers by more than their scope, before a stored response is disclosed to
            them; a method of the same class.
    """

    method: str
    path: str
    operation_id: str
    summary: str
    description: str = ""
    tags: tuple[str, ...] = ()
    scope: str | None = ""
    also: tuple[str, ...] = ()
    body: type[BaseModel] | None = None
    form: object = None
    query: type[BaseModel] | None = None
    answer: object = None
    media: str = JSON
    status: int = 200
    others: Mapping[int, object] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    members: Mapping[str, object] = field(default_factory=dict)
    oauth: bool = False
    idempotent: bool = False
    secret: bool = False
    effort: Effort = Effort.QUICK
    limit: int = 0
    max_body: int = DEFAULT_BODY
    headers: tuple[str, ...] = ()
    frames: bool = False
    paged: bool = False
    makes_subject: bool = False
    classes: tuple[str, ...] = ("contact",)
    may: May | None = None

    def __post_init__(self) -> None:
        """Check the spelling of the problem codes; raises ValueError."""
        for problem in self.problems:
            if not _PROBLEM.fullmatch(problem):
                raise ValueError(f"{self.operation_id}: {problem!r} is not like '404 x_not_found'")


class Properties(TypedDict, total=False):
    """The optional properties of an Operation, as the decorators take them."""

    operation_id: str
    tags: tuple[str, ...]
    scope: str | None
    also: tuple[str, ...]
    body: type[BaseModel]
    form: object
    query: type[BaseModel]
    answer: object
    media: str
    status: int
    others: Mapping[int, object]
    problems: tuple[str, ...]
    members: Mapping[str, object]
    oauth: bool
    idempotent: bool
    secret: bool
    effort: Effort
    limit: int
    max_body: int
    headers: tuple[str, ...]
    frames: bool
    paged: bool
    makes_subject: bool
    classes: tuple[str, ...]
    may: May


def get(path: str, **properties: Unpack[Properties]) -> Callable[[V], V]:
    """Declare that a view answers GET on a path."""
    return _declaring("GET", path, properties)


def post(path: str, **properties: Unpack[Properties]) -> Callable[[V], V]:
    """Declare that a view answers POST on a path."""
    return _declaring("POST", path, properties)


def patch(path: str, **properties: Unpack[Properties]) -> Callable[[V], V]:
    """Declare that a view answers PATCH on a path."""
    return _declaring("PATCH", path, properties)


def delete(path: str, **properties: Unpack[Properties]) -> Callable[[V], V]:
    """Declare that a view answers DELETE on a path."""
    return _declaring("DELETE", path, properties)


def declared(routes: object) -> Iterator[tuple[Operation, View]]:
    """Yield the operations of an object, in the order of their definition, with bound views."""
    for name, member in vars(type(routes)).items():
        operation = getattr(member, _DECLARED, None)
        if isinstance(operation, Operation):
            yield operation, getattr(routes, name)


def _declaring(method: str, path: str, properties: Properties) -> Callable[[V], V]:
    def declare(view: V) -> V:
        summary, _, description = inspect.cleandoc(view.__doc__ or "").partition("\n\n")
        named: Properties = {"operation_id": view.__name__, "tags": (_feature(view.__module__),)}
        operation = Operation(
            method=method,
            path=path,
            summary=" ".join(summary.split()).removesuffix("."),
            description=description,
            **(named | properties),
        )
        setattr(view, _DECLARED, operation)
        return view

    return declare


def _feature(module: str) -> str:
    """Return the name of the feature of a module: `sessions` of `service.sessions.routes`."""
    *packages, last = module.split(".")
    return packages[-1] if last == "routes" else last
