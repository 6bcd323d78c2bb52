"""What an everyday run of all leaves out, and what it never does."""

from types import SimpleNamespace

import pytest

from tests import depth


def cases(name, count, *, kinds=("sqlite", "postgresql"), fixtures=("url", "service")):
    """Return the cases of a test, as pytest collects them."""
    return [
        SimpleNamespace(
            nodeid=f"{name}[{kind}-{number}]",
            fixturenames=fixtures,
            callspec=SimpleNamespace(params={"url": kind}),
        )
        for number in range(count)
        for kind in kinds
    ]


def test_a_quarter_of_many_cases_is_kept_for_each_database():
    """Whatever their order; few cases, and those without a database, stay all."""
    many, few = cases("many", 21), cases("few", depth.MANY - 1)
    light = cases("light", 30, fixtures=())
    single = [SimpleNamespace(nodeid="single", fixturenames=("url",))]
    kept, out = depth.thinned([*many, *few, *light, *single])
    assert [it for it in kept if it not in many] == [*few, *light, *single]
    for kind in ("sqlite", "postgresql"):
        assert sum(kind in it.nodeid for it in kept if it in many) == 6
    assert len(kept) + len(out) == len([*many, *few, *light, *single])
    again, _ = depth.thinned(many[::-1])
    assert {it.nodeid for it in again} == {it.nodeid for it in kept if it in many}


@pytest.mark.parametrize(
    ("deep", "named", "part"),
    [
        (False, ["tests"], True),
        (False, ["tests/functional", "tests/unit"], True),
        (False, ["tests/functional/test_http.py"], False),
        (False, ["tests/functional/test_http.py::test_a_header"], False),
        (True, ["tests"], False),
    ],
)
def test_who_names_a_file_gets_all_of_it(monkeypatch, deep, named, part):
    """So does what decides."""
    monkeypatch.setattr(depth, "DEEP", deep)
    assert depth.everyday(named) == part


def test_what_is_drawn_is_a_part_and_the_same_each_time():
    """About a quarter of all names."""
    found = [depth.drawn(f"test {number}") for number in range(1000)]
    assert 200 < sum(found) < 300
    assert found == [depth.drawn(f"test {number}") for number in range(1000)]
