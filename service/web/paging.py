"""Keyset pagination: `limit` and an opaque `cursor` in, `next_cursor` out, without totals."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Generic, TypeVar
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from service.domain.errors import BadInput, Fault

T = TypeVar("T")
V = TypeVar("V")
USUAL: Final = 50
MOST: Final = 100
SCHEMAS: Final = {
    "limit": {
        "description": "The maximum number of items.",
        "type": "integer",
        "minimum": 1,
        "maximum": MOST,
        "default": USUAL,
    },
    "cursor": {
        "description": "The `next_cursor` of the previous page; left out for the first one.",
        "type": "string",
        "maxLength": 22,
    },
}
_LIMIT: Final = re.compile(r"[0-9]{1,3}")
_CURSOR: Final = re.compile(r"[A-Za-z0-9_-]{22}")


NextCursor = Annotated[
    str | None,
    Field(
        description="The `cursor` of the next page; null on the last one.",
        examples=["AaINbW2IcW-VzUKkQQzcHQ"],
    ),
]


class Page(TypedDict, Generic[V]):
    """A page of a list."""

    items: list[V]
    next_cursor: NextCursor


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The requested page.

    Args:
        limit: Maximum number of items.
        after: The id of the last item of the previous page; None for the first page.
    """

    limit: int = USUAL
    after: UUID | None = None

    @property
    def fetched(self) -> int:
        """Return the number of rows to read: one more shows whether another page follows."""
        return self.limit + 1

    def answer(
        self, rows: Sequence[T], number: Callable[[T], UUID], view: Callable[[T], V | None]
    ) -> Page[V]:
        """Return the page of the rows read.

        Args:
            rows: Up to `fetched` rows in the order of the list.
            number: Returns the id of a row.
            view: Returns the list view of a row; None leaves the row out.
        """
        shown = rows[: self.limit]
        more = len(rows) > self.limit
        return {
            "items": [item for item in map(view, shown) if item is not None],
            "next_cursor": _cursor(number(shown[-1])) if more else None,
        }


def read(query: Mapping[str, str]) -> PageRequest:
    """Parse the page parameters of a query.

    Raises:
        BadInput: The limit is not a number within the bounds, or the cursor is malformed.
    """
    limit = query.get("limit", str(USUAL))
    cursor = query.get("cursor")
    # ASCII digits only: int() would take signs, spaces and digits of any script.
    if not _LIMIT.fullmatch(limit) or not 1 <= int(limit) <= MOST:
        raise BadInput(Fault("", "bad_limit", f"limit must be a number from 1 to {MOST}"))
    return PageRequest(int(limit), None if cursor is None else _after(cursor))


def _after(cursor: str) -> UUID:
    if _CURSOR.fullmatch(cursor):
        return UUID(bytes=base64.urlsafe_b64decode(f"{cursor}=="))
    raise BadInput(Fault("", "bad_cursor", "cursor must be the next_cursor of an earlier page"))


def _cursor(number: UUID) -> str:
    return base64.urlsafe_b64encode(number.bytes).decode().rstrip("=")
