"""The registry of operations: authorization, validation, idempotency and metrics."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Final
from uuid import UUID

import orjson
from flask import Flask, Response, g, has_request_context, request
from flask_limiter import Limiter
from pydantic import BaseModel
from werkzeug.exceptions import HTTPException

from crypto import opaque
from service.domain import validation
from service.domain.caller import Caller, acting
from service.domain.errors import (
    BadInput,
    Fault,
    Forbidden,
    LaminaError,
    Malformed,
    NotFound,
    TooMany,
    Unauthorized,
    Unavailable,
)
from service.domain.ids import parse_id
from service.telemetry import logs
from service.telemetry.metrics import Metrics, method_label
from service.web import front, multipart, paging, problems, queries, strict_json
from service.web.call import Call, View, respond
from service.web.idempotency import About, Answer, AnswerStore
from service.web.limits import PublicLimit, RequestRates
from service.web.operation import DEFAULT_BODY, Operation, declared
from service.web.queues import Effort

_LONGEST_KEY: Final = 255
_FILLED: Final = (
    "Idempotency-Key",
    "If-Match",
    "Flow-Token",
    "Grant",
    "Approval",
    "Session-Token",
)
_READ: Final = (
    *(
        (name, f"HTTP_{name.upper().replace('-', '_')}", name in _FILLED)
        for name in (*_FILLED, "Authorization")
    ),
    ("Content-Type", "CONTENT_TYPE", False),
)
"""The headers that are read, their names in the environment of WSGI, and whether one is filled."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_REFUSED: Final = 400
_SERVER_FAULT: Final = 500
_NOT_KEPT: Final = frozenset({401, 403, 429})
"""Errors that are not stored for a replay, because the caller may be accepted next time."""


Repeat = Callable[[Callable[[], object]], object]
"""Runs a view, and retries it if the database aborted it before a commit (`Store.repeat`)."""


class Api:
    """The operations of an app.

    Args:
        guard: Returns the caller of an access token; raises Unauthorized.
        rates: Counts the calls of clients and addresses.
        answers: The stored answers of idempotent operations.
        metrics: The metrics.
        repeat: Runs a view, and again where the database asks for it.
    """

    def __init__(
        self,
        *,
        guard: Callable[[str], Caller],
        rates: RequestRates,
        answers: AnswerStore,
        metrics: Metrics,
        repeat: Repeat,
    ) -> None:
        self.operations: list[Operation] = []
        self.views: list[tuple[View, Callable[[Call], None] | None]] = []
        self._slow: dict[str, list[tuple[re.Pattern[str], Effort]]] = {}
        self._guard = guard
        self._rates = rates
        self._answers = answers
        self._metrics = metrics
        self._repeat = repeat

    def mount(self, routes: object) -> None:
        """Register the operations that an object's methods declare, in their order."""
        for operation, view in declared(routes):
            may = partial(operation.may, routes) if operation.may else None
            self.operations.append(operation)
            self.views.append((view, may))
            if operation.effort is not Effort.QUICK:
                pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", operation.path))
                self._slow.setdefault(operation.method, []).append((pattern, operation.effort))

    def install(self, app: Flask, limiter: Limiter) -> None:
        """Add all operations to the app as routes; the limiter counts those that are public."""
        for operation, (view, may) in zip(self.operations, self.views, strict=True):
            endpoint = f"{operation.method} {operation.path}".replace(".", "_")
            most = operation.limit
            limit = PublicLimit(limiter, operation.path, most) if most else None
            handler = self._handler(operation, view, may=may, limit=limit)
            rule = operation.path.replace("{", "<").replace("}", ">")
            app.add_url_rule(rule, endpoint, handler, methods=[operation.method])
        app.extensions["lamina.api"] = self
        app.before_request(_start)
        app.after_request(self._finish)
        problems.install(app)

    def effort_of(self, method: str, path: str) -> Effort:
        """Return whether a request may hash or infer, by what its operation declares."""
        # Routes are found for any case of a method, and for several slashes before a path.
        path = "/" + path.lstrip("/")
        for pattern, effort in self._slow.get(method.upper(), ()):
            if pattern.fullmatch(path):
                return effort
        return Effort.QUICK

    def _handler(
        self,
        operation: Operation,
        view: View,
        *,
        may: Callable[[Call], None] | None,
        limit: PublicLimit | None,
    ) -> Callable[..., Response]:
        def handle(**path: str) -> Response:
            g.operation = operation
            request.max_content_length = operation.max_body
            if limit is not None and not counted():
                limit.take()
            if not operation.oauth:
                return self._serve(operation, view, may, Call(path=path))
            with self._counting_strangers():
                return self._serve(operation, view, may, Call(path=path))

        handle.__name__ = f"{operation.method}_{operation.path}"
        return handle

    def _serve(
        self, operation: Operation, view: View, may: Callable[[Call], None] | None, call: Call
    ) -> Response:
        _check_headers()
        if operation.scope is not None:
            call.caller = self._authorize(operation)
            g.client = str(call.caller.client)
        _check_texts(call.path)
        if front.ASK in request.environ:
            return _admit(operation)
        if operation.body is not None:
            call.raw, call.body = self._body(operation, operation.body)
        if operation.query is not None:
            call.filters = queries.read(operation.query, request.args, paged=operation.paged)
        if operation.paged:
            call.page = paging.read(request.args)
        with acting(call.caller):
            if may is not None:
                may(call)
            return self._answer(operation, view, call)

    @contextmanager
    def _counting_strangers(self) -> Iterator[None]:
        """Count a request to its address unless a client authenticates; raises TooMany.

        A body that is still to come counts before it is read. An outage counts for nobody.
        """
        self._rates.require_room()
        if front.ASK in request.environ:
            self._rates.unauthenticated()
        try:
            yield
        except (LaminaError, HTTPException) as error:
            known = counted() or front.ASK in request.environ or "client" in g
            # Only a client whose assertion was verified can have too many of them.
            full = isinstance(error, TooMany)
            if not known and not full and not isinstance(error, Unavailable):
                self._rates.unauthenticated()
            raise

    def authenticated(self, client: UUID) -> None:
        """Count a call of a client that has authenticated itself; raises TooMany."""
        if has_request_context():
            g.client = str(client)
        self._rates.token_call(client)

    def _authorize(self, operation: Operation) -> Caller:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("token_missing", "This needs an access token: Authorization: Bearer")
        caller = self._guard(token.strip())
        if not counted():
            self._rates.call(caller.client)
        if operation.scope and operation.scope not in caller.scopes:
            detail = f"This needs the scope {operation.scope}."
            raise Forbidden("insufficient_scope", detail, scope=operation.scope)
        return caller

    def _body(self, operation: Operation, model: type[BaseModel]) -> tuple[bytes, BaseModel]:
        """Return the bytes that a replay must match, and the validated body."""
        if operation.frames and request.mimetype == multipart.MEDIA_TYPE:
            form = multipart.read(request.stream, request.headers.get("Content-Type", ""))
            return form.digest, validation.parse(model, form.values)
        raw = _raw(operation)
        if raw and request.mimetype != "application/json":
            raise Malformed("not_json", "The body must be sent as application/json.")
        value = strict_json.loads(raw or b"{}")
        if len(raw) > DEFAULT_BODY:
            validation.beside_frames(raw, value, DEFAULT_BODY)
        return raw, validation.parse(model, value)

    def _answer(self, operation: Operation, view: View, call: Call) -> Response:
        key = request.headers.get("Idempotency-Key", "")
        if not (operation.idempotent and key and call.caller):
            return self._run(operation, view, call)
        if len(key) > _LONGEST_KEY:
            detail = f"Idempotency-Key must have at most {_LONGEST_KEY} characters"
            raise BadInput(Fault("", "bad_idempotency_key", detail))
        client = call.caller.client
        name = f"{operation.method} {request.path}"
        if call.caller.operator is not None:
            # A response to an operator must not be replayed to the client or to another operator.
            name = f"{call.caller.actor} {name}"
        # A replay must match everything that shapes the response: the body, the proofs, and what
        # the caller's token grants access to.
        proofs = [call.header(proof) for proof in ("Flow-Token", "Grant", "Approval")]
        seen = [" ".join(sorted(call.caller.scopes)), " ".join(sorted(call.caller.segments))]
        shape = b"\n".join((call.raw, *(part.encode() for part in proofs + seen)))
        kept = self._answers.begin(client, name, key, shape)
        if kept is not None:
            response = Response(kept.body, kept.status, content_type=kept.content_type)
            response.headers["Idempotent-Replayed"] = "true"
            if kept.status == HTTPStatus.ACCEPTED:
                response.headers["Location"] = f"/v1/jobs/{orjson.loads(kept.body)['id']}"
            return response
        settled = False
        try:
            response = self._try(operation, view, call)
            status = response.status_code
            if status < _SERVER_FAULT and status not in _NOT_KEPT:
                answer = Answer(
                    status,
                    response.get_data(),
                    response.content_type or "",
                    _about(operation, call, response),
                )
                self._answers.finish(client, name, key, answer=answer, secret=operation.secret)
                settled = True
        finally:
            if not settled:
                self._answers.abandon(client, name, key)
        return response

    def _try(self, operation: Operation, view: View, call: Call) -> Response:
        try:
            return self._run(operation, view, call)
        except LaminaError as error:
            return problems.render(error)

    def _run(self, operation: Operation, view: View, call: Call) -> Response:
        return respond(self._repeat(lambda: view(call)), operation.status)

    def _finish(self, response: Response) -> Response:
        if front.ADMITTED in request.environ:
            # The request itself follows and is counted then.
            return response
        operation: Operation | None = g.get("operation")
        route = operation.path if operation else "unmatched"
        seconds = time.perf_counter() - g.started
        method = method_label(request.method)
        self._metrics.request(route, method, response.status_code, seconds=seconds)
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            self._metrics.throttle(g.get("problem_code", ""))
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        trace_id = problems.trace_id()
        response.headers["Trace-Id"] = trace_id
        logs.get().info(
            "request",
            method=method,
            route=route,
            status=response.status_code,
            ms=round(seconds * 1000, 2),
            trace_id=trace_id,
            client=g.get("client"),
            code=g.get("problem_code"),
        )
        return response


def _start() -> None:
    g.started = time.perf_counter()
    g.trace_id = opaque.random_bytes(16).hex()
    refusal = request.environ.get(front.REFUSED)
    if isinstance(refusal, LaminaError):
        raise refusal


def _check_headers() -> None:
    """Reject a used header that is not printable ASCII, instead of ignoring it.

    Some servers pass a header that is not ASCII as an empty value, so an empty one is rejected too.
    """
    environ = request.environ
    for name, key, filled in _READ:
        value = environ.get(key)
        if value is None:
            continue
        empty = value == "" and filled
        if empty or not value.isascii() or not value.isprintable():
            raise Malformed("bad_header", f"{name} must be printable ASCII, and not empty.")


def counted() -> bool:
    """Return whether this request was counted at its admission by the front."""
    return front.COUNTED in request.environ


def _check_texts(path: Mapping[str, str]) -> None:
    """Reject control characters in the path and query: no stored name contains any."""
    if any(map(_CONTROL.search, path.values())):
        raise NotFound("not_found", "There is nothing at an address with control characters.")
    if not request.query_string:
        return
    for name, value in request.args.items(multi=True):
        if _CONTROL.search(name) or _CONTROL.search(value):
            raise BadInput(Fault("", "bad_query", "the query must hold no control characters"))


def _raw(operation: Operation) -> bytes:
    content = request.environ.get(front.BODY)
    if content is None:
        return request.get_data()
    if (request.content_length or 0) > operation.max_body:
        raise front.too_large(operation.max_body)
    return bytes(content.getvalue())


def _admit(operation: Operation) -> Response:
    """Respond whether the body will be read, after authorization and the check of its size."""
    if (request.content_length or 0) > operation.max_body:
        raise front.too_large(operation.max_body)
    room = front.PUBLIC if operation.scope is None else front.GUARDED
    request.environ[front.ADMITTED] = room, operation.max_body
    return Response(status=204)


def _about(operation: Operation, call: Call, response: Response) -> About | None:
    """Return the subject of a response: that of the path, or the new one.

    An error is about no subject, and is replayed alike whether or not the subject exists.
    """
    if response.status_code >= _REFUSED:
        return None
    subject = call.path.get("subject")
    if operation.makes_subject:
        subject = orjson.loads(response.get_data())["id"]
    found = parse_id(subject) if subject else None
    return About(found, operation.classes) if found else None
