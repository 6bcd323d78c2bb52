"""The problem codes that an operation can answer: what follows from its properties, and its own."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from service.web import parameters
from service.web.operation import Operation
from service.web.problems import LATER

DATABASE: Final = (
    "503 database_away",
    "503 database_busy",
    "503 database_read_only",
    "503 key_unavailable",
    "503 row_refused",
    "503 sealed_value_refused",
)
"""Answers of every operation that reads or writes the database."""
_ANY: Final = (
    "400 bad_header",
    "408 body_too_slow",
    "413 body_too_large",
    "422 invalid_input",
    "500 internal_error",
    "503 overloaded",
)
_GUARDED: Final = (
    *DATABASE,
    "401 invalid_token",
    "401 token_missing",
    "403 insufficient_user_authentication",
    "429 too_many_calls",
    "503 policy_unavailable",
)
"""Answers of operations for clients and operators: the policy says how long a session lasts."""
_OAUTH: Final = (
    *DATABASE,
    "503 policy_unavailable",
    "503 signing_unavailable",
)
"""Problem documents of operations that authenticate clients themselves."""
_BODY: Final = ("400 malformed_json", "400 not_json")
_IDEMPOTENT: Final = (
    "409 request_in_flight",
    "410 answer_erased",
    "422 idempotency_mismatch",
    "429 too_many_idempotency_keys",
)


def of(operation: Operation) -> dict[int, tuple[str, ...]]:
    """Return the codes of the problem documents of an operation, sorted, by status."""
    return _by_status(_all(operation))


def of_oauth(operation: Operation) -> dict[int, tuple[str, ...]]:
    """Return the error codes in OAuth's format, sorted, by status; none of other operations."""
    return _by_status((*operation.problems, f"429 {LATER}") if operation.oauth else ())


def _by_status(problems: Iterable[str]) -> dict[int, tuple[str, ...]]:
    found = defaultdict(set)
    for problem in problems:
        status, _, code = problem.partition(" ")
        found[int(status)].add(code)
    return {status: tuple(sorted(found[status])) for status in sorted(found)}


def _all(operation: Operation) -> Iterator[str]:
    yield from _ANY
    yield from _of_path(operation)
    yield from _of_scope(operation)
    if operation.limit:
        yield "429 too_many_requests"
    if operation.body is not None:
        yield from _BODY
    if operation.idempotent:
        yield from _IDEMPOTENT
    yield from _OAUTH if operation.oauth else operation.problems


def _of_path(operation: Operation) -> Iterator[str]:
    if "{" in operation.path:
        yield "404 not_found"
    for name in parameters.ids(operation.path):
        yield f"404 {name}_not_found"


def _of_scope(operation: Operation) -> Iterator[str]:
    if operation.scope is not None:
        yield from _GUARDED
        if operation.method != "GET":
            yield "409 changed_meanwhile"
    if operation.scope:
        yield "403 insufficient_scope"
