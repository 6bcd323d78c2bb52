"""Codes are read alike whatever a keyboard or a clipboard added to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.codes import read_code, read_digits


@pytest.mark.parametrize(
    "typed",
    [
        "12345678",
        "1234 5678",
        " 12345678\r\n",
        "1234\u00a05678",
        "1234-5678",
        "1234\u20115678",
        "1234\u20135678",
        "1234\u22125678",
        "\u200b1234\u200d5678\ufeff",
        "\u202a12345678\u202c",
        "\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18",
        "\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668",
        "\u06f1\u06f2\u06f3\u06f4\u06f5\u06f6\u06f7\u06f8",
        "\u0967\u0968\u0969\u096a\u096b\u096c\u096d\u096e",
    ],
)
def test_what_clipboards_and_keyboards_add_counts_for_nothing(typed):
    """Spaces, line ends, hyphens, marks nobody sees, wide and other scripts' digits."""
    assert read_code(typed) == "12345678"
    assert read_digits(typed, 8) == "12345678"
    assert read_digits(typed, 6) is None


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "-",
        "1234.5678",
        "12\u00b2",
        "\u2460",
        "1234\u0131",
        "\u017f",
        "1\x00",
        "a\u0301",
        "\ud800",
        "1" * 65,
        "\u00df",
    ],
)
def test_what_is_no_code_is_none(typed):
    """Nothing else is made into a digit or a letter."""
    assert read_code(typed) is None


def test_letters_are_capital_ones():
    """Recovery codes come in any case and width."""
    assert read_code("abcd\u2011EFGH \uff49jkl") == "ABCDEFGHIJKL"
    assert read_digits("12345a", 6) is None


@given(st.text(max_size=70))
def test_a_code_is_plain_and_read_again_as_itself(typed):
    """Whatever comes out is ASCII, and reading it changes nothing."""
    code = read_code(typed)
    if code is not None:
        assert code.isascii()
        assert code.isalnum()
        assert read_code(code) == code
