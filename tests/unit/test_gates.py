"""The gates of `make check` find what they are for, and nothing in what is right."""

import ast
from pathlib import Path

import pytest

from tests import gates


@pytest.mark.parametrize(
    ("first", "found"),
    [
        ("Return what it says of whom.", 1),
        ("Let go of every identifier.", 1),
        ("Delete all identifiers, so that no lookup finds this subject.", 0),
    ],
)
def test_a_first_line_is_refused_for_its_words(first, found):
    tree = ast.parse(f'def one():\n    """{first}"""\n')
    assert len(list(gates.riddles(Path("one.py"), tree))) == found


def test_a_class_that_stands_twice_and_a_file_that_is_too_long_are_named():
    one, other = ast.parse("class Page: ..."), ast.parse("class Page: ...\nclass _Page: ...")
    (line,) = gates.doubled({Path("a.py"): one, Path("b.py"): other})
    assert line == "class Page is defined in a.py and b.py"
    short, long = "x = 1\n" * 400, "x = 1\n" * 401
    assert not list(gates.formats(Path("a.py"), short))
    assert [
        len(list(gates.formats(Path("a.py"), text))) for text in (long, "a  # " + "fmt: skip")
    ] == [1, 1]


def test_the_project_passes_its_gates(capsys):
    assert (gates.main(), capsys.readouterr().out) == (0, "")


def test_a_packed_assignment_is_named_and_a_swap_is_not():
    """What a function returns may be taken apart, too."""
    fine = "a, b = b, a\nx, z = x + z, z - x\na, b = call()\na = 1\n"
    assert not list(gates.packed(Path("a.py"), ast.parse(fine)))
    (line,) = gates.packed(Path("a.py"), ast.parse("a, b = 1, c"))
    assert line == "a.py:1: give each value a statement of its own"


def test_code_of_a_feature_in_a_package_file_and_too_many_any_are_named():
    """Exports and imports are no code; the modules of any column's values do not count."""
    package = Path("service/one/__init__.py")
    fine = '"""One."""\nfrom a import b\n__all__ = ["b"]\n'
    assert not list(gates.featureless(package, ast.parse(fine)))
    assert len(list(gates.featureless(package, ast.parse(f"{fine}def c(): ...\n")))) == 1
    uses = ast.parse("a: Any\n" * (gates.MOST_ANY + 1))
    assert not list(gates.untyped({Path("service/store/sealed.py"): uses}))
    (line,) = gates.untyped({Path("service/one/actions.py"): uses})
    assert line == "service: Any is used 41 times, of 40 at most: name the type"
