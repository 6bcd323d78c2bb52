"""Which passwords are taken (SP 800-63B-4 section 3.1.1.2)."""

import gzip
import hashlib
from pathlib import Path

import pytest

from service.domain.errors import BadInput
from service.factors.password import model
from service.factors.password.model import LONGEST, SHORTEST, admit, normalize

LIST = "ed5a9d7ef7ee45a6b9ece885981f37281b406cf35938a986f06120086d72049b"
"""SHA-256 of the passwords that were refused when zxcvbn was installed beside."""


def refusal(password, *at):
    """Return code and pointer of the refusal of a password."""
    with pytest.raises(BadInput) as refused:
        admit(password, *at)
    (fault,) = refused.value.faults
    return fault.code, fault.pointer


def test_the_bounds_are_those_of_the_standard():
    """Eight characters where a second factor is always asked for; 64 and more are accepted."""
    assert SHORTEST == 8
    assert LONGEST >= 64


@pytest.mark.parametrize(
    "password",
    [
        "h7Kq2-xW",
        "correct horse battery staple",
        " leading and trailing ",
        "\u5bc6\u7801\u5f88\u957f\u4f46\u662f\u597d\u8bb0",
        "\U0001f600\U0001f601\U0001f602\U0001f603\U0001f604\U0001f605\U0001f606\U0001f607",
        "lowercaseonlyletters",
        "7391846205",
        "abc " * 64,
    ],
)
def test_any_characters_make_a_password(password):
    """No rule of composition: letters, digits, spaces and symbols of any script are taken."""
    assert admit(password) == password


@pytest.mark.parametrize("length", range(1, 8))
def test_a_short_password_is_refused(length):
    """Fewer than eight characters are too few, counted after normalization."""
    assert refusal("h7Kq2-xW"[:length]) == ("too_short", "/password")
    assert refusal("e\u0301" * length) == ("too_short", "/password")


def test_a_long_password_is_refused_and_never_cut():
    """256 characters are taken whole and one more is refused, counted after normalization."""
    whole = "ab" * 128
    assert admit(whole) == whole
    assert refusal(whole + "c") == ("too_long", "/password")
    assert refusal("a\ufdfa" * 30) == ("too_long", "/password")


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "Password1",
        "PASSWORD123",
        "qwertyuiop",
        "iloveyou1",
        "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44",
        "        ",
        "aaaaaaaa",
        "\u5bc6" * 20,
    ],
)
def test_what_attackers_try_first_is_refused(password):
    """The whole value is compared with the list, in any case and width; one character repeated."""
    assert refusal(password) == ("blocklisted", "/password")


def test_the_list_is_the_one_of_its_origin():
    """It is no other than when it came from zxcvbn, and each of it is refused."""
    packed = Path(model.__file__).with_name("common_passwords.txt.gz")
    text = gzip.decompress(packed.read_bytes())
    origin = packed.with_name("common_passwords.origin.txt").read_text("utf-8")
    assert (hashlib.sha256(text).hexdigest(), LIST in origin) == (LIST, True)
    words = text.decode().splitlines()
    assert len(words) == 11_611
    assert {refusal(word) for word in words} == {("blocklisted", "/password")}


def test_only_the_whole_value_is_on_the_list():
    """A long password that contains a listed word is taken."""
    assert admit("password of the old kingdom")
    assert admit("password1 password2")


def test_the_pointer_is_the_callers():
    """The fault points where the password was in the request."""
    assert refusal("short", "/new_password") == ("too_short", "/new_password")


@pytest.mark.parametrize("password", ["7canary", "canary" * 50, "1q2w3e4r5t"])
def test_a_refused_password_is_not_repeated(password):
    """Nothing of it is in the fault, which is logged and shown."""
    with pytest.raises(BadInput) as refused:
        admit(password)
    assert password not in repr(refused.value.faults) + str(refused.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9 au lait", "cafe\u0301 au lait"),
        ("\uff41bcdefgh1", "abcdefgh1"),
        ("o\ufb03ce hours", "office hours"),
        ("two\u00a0words here", "two words here"),
    ],
)
def test_two_keyboards_give_one_password(one, other):
    """NFKC makes one of what different systems send for the same keys."""
    assert admit(one) == admit(other) == normalize(other)


def test_case_and_outer_spaces_are_part_of_it():
    """Nothing is trimmed and nothing folded."""
    assert normalize(" Secret ") == " Secret "
