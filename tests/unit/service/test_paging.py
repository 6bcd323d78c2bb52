"""Pages of a list: what is read of a query, and what goes back."""

from uuid import UUID, uuid4

import pytest

from service.domain.errors import BadInput
from service.web import paging
from service.web.paging import PageRequest


def page_of(page, rows):
    """Cut a page as a store would: in order, below the last id, one more than shown."""
    rest = [row for row in rows if page.after is None or row < page.after]
    return page.answer(rest[: page.fetched], lambda row: row, str)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 7])
def test_all_pages_together_are_the_list(count):
    """Whatever its length, every row comes once and in order, and the last page says so."""
    rows = sorted((uuid4() for _ in range(count)), reverse=True)
    seen, query = [], {"limit": "3"}
    while True:
        answer = page_of(paging.read(query), rows)
        seen += answer["items"]
        if answer["next_cursor"] is None:
            break
        assert len(answer["items"]) == 3
        query["cursor"] = answer["next_cursor"]
    assert seen == [str(row) for row in rows]


def test_what_is_not_said_is_usual():
    """Without a query it is the first page of fifty."""
    assert paging.read({}) == PageRequest(50, None)


@pytest.mark.parametrize("limit", ["", "0", "101", "-1", "+5", " 5", "5.0", "1e1", "٣", "9" * 99])
def test_a_limit_is_a_plain_number_within_bounds(limit):
    """Anything else is refused by name."""
    with pytest.raises(BadInput) as refused:
        paging.read({"limit": limit})
    assert refused.value.faults[0].code == "bad_limit"


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "a" * 21, "a" * 23, "*" * 22, "é" * 22, "6545b8ed-ee9f-4054-9931-2ba29b637192"],
)
def test_a_cursor_is_one_of_ours(cursor):
    """Anything else is refused by name."""
    with pytest.raises(BadInput) as refused:
        paging.read({"cursor": cursor})
    assert refused.value.faults[0].code == "bad_cursor"


def test_a_cursor_holds_the_id_whole():
    """The highest and the lowest id come back as they went."""
    for number in (UUID(int=0), UUID(int=2**128 - 1)):
        answer = PageRequest(1).answer([number, number], lambda row: row, str)
        assert paging.read({"cursor": answer["next_cursor"]}).after == number
