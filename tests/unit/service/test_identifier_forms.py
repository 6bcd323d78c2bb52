"""Normal forms of identifiers: what normalizes together is one account and one bucket."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.accounts.model import IdentifierType, born, identify, kept, normalize
from service.domain.errors import BadInput


def refusal(field, text):
    """Return the code of the refusal of a text, which points at its field."""
    with pytest.raises(BadInput) as refused:
        normalize(field, text)
    (fault,) = refused.value.faults
    assert fault.pointer == f"/identifiers/{field.value}"
    return fault.code


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Alice@Example.COM", "alice@example.com"),
        (" alice@example.com\n", "alice@example.com"),
        ("\uff41lice@example.com", "alice@example.com"),
        ("alice\uff20example.com", "alice@example.com"),
        ("a@\uff45xample\u3002com", "a@example.com"),
        ("a@b\u00fccher.de", "a@xn--bcher-kva.de"),
        ("a@B\u00dcCHER.de", "a@xn--bcher-kva.de"),
        ("a@bu\u0308cher.de", "a@xn--bcher-kva.de"),
        ("a@xn--bcher-kva.de", "a@xn--bcher-kva.de"),
        ("Jose\u0301@example.com", "jos\u00e9@example.com"),
        ("\u212aelvin@example.com", "kelvin@example.com"),
        ("a.b+c@example.com", "a.b+c@example.com"),
        ("a@localhost", "a@localhost"),
        ("a@fa\u00df.example", "a@xn--fa-hia.example"),
        ("a@XN--FA-HIA.example", "a@xn--fa-hia.example"),
        (" ab@example.com\r\n", "ab@example.com"),
        ("ab@example.com.", "ab@example.com"),
        ("ab@example.com\u3002", "ab@example.com"),
        ("ab\ufe6bexample.com", "ab@example.com"),
        ("o'neil+x@example.com", "o'neil+x@example.com"),
    ],
)
def test_spellings_of_one_address_are_one(text, normal):
    """Case, width, composition and the form of the domain make no second address."""
    assert normalize(IdentifierType.EMAIL, text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "alice",
        "@example.com",
        "alice@",
        "a@b@example.com",
        "a b@example.com",
        "a\u00a0b@example.com",
        "a@exam ple.com",
        "a\r\nbcc:x@example.com",
        "a\x00@example.com",
        "a@example..com",
        "a@-example.com",
        "a@example_.com",
        "a@[192.0.2.1]",
        "a@" + "x" * 64 + ".com",
        "a" * 65 + "@example.com",
        "a@example.com\u2100",
        "a@\ud800.com",
        "a,b@example.com",
        "a@b,example.com",
        "a;b@example.com",
        '"a"@example.com',
        "a<b@example.com",
        ".a@example.com",
        "a..b@example.com",
        "a\u200bb@example.com",
        "a@exam\u200bple.com",
        "a@exam\u00adple.com",
        "\u202ea@example.com",
        "a@example.com\u202c",
        "a@\u2066example.com",
        "a@example.com..",
        "a@.",
        "a@\r\nexample.com",
        "\ufb01x@example.com",
    ],
)
def test_what_is_no_address_is_refused(text):
    """No second line, no space and no impossible domain gets into an address."""
    assert refusal(IdentifierType.EMAIL, text) == "invalid_email"


@pytest.mark.parametrize(
    "text",
    [
        "+4930123456",
        "+49 30 123456",
        " +49-30-123456 ",
        "+49 (0)30 123456",
        "+49.30.123456",
        "+49/30/123456",
        "(+49) 30 123456",
        "+49\u00a030\u00a0123456",
        "+49\u202f30\u2009123456",
        "\u202a+49 30 123456\u202c",
        "\u2066+49\u2069 30\u200e 123456\u200b",
        "+49\u201130\u2013123456",
        "+49\u221230\u2014123456",
        "tel:+49-30-123456",
        "TEL: +49 30 123456",
        "+\u0664\u0669\u0663\u0660\u0661\u0662\u0663\u0664\u0665\u0666",
        "\uff0b\uff14\uff19\uff13\uff10\uff11\uff12\uff13\uff14\uff15\uff16",
    ],
)
def test_spellings_of_one_number_are_one(text):
    """Spaces, brackets, hyphens and full-width digits make no second number (E.164)."""
    assert normalize(IdentifierType.PHONE, text) == "+4930123456"


def test_a_leading_zero_that_belongs_to_the_number_stays():
    """Italy dials the zero from abroad; Germany does not."""
    assert normalize(IdentifierType.PHONE, "+39 06 12345678") == "+390612345678"
    assert normalize(IdentifierType.PHONE, "+49 030 123456") == "+4930123456"


@pytest.mark.parametrize(
    "text",
    [
        "030123456",
        "0049 30 123456",
        "+",
        "+49",
        "+999123456",
        "alice",
        "\ud800",
        "+" * 20,
        "abc +4930123456",
        "+4930123456 abc",
        "+49 30 SIXPACK",
        "+4930123456 ext. 7",
        "+4930123456x7",
        "+4930123456;ext=7",
        "+4930123456#7",
        "+4930123456,7",
        "tel:+4930123456;phone-context=x",
        "+49 30 123456 / +49 30 123457",
        "+49+30123456",
    ],
)
def test_what_is_no_international_number_is_refused(text):
    """A number without its country could be anybody's."""
    assert refusal(IdentifierType.PHONE, text) == "invalid_phone"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Alice", "alice"),
        (" alice", "alice"),
        ("ada ", "ada"),
        ("\u00a0alice\u3000\r\n", "alice"),
        ("\uff21lice", "alice"),
        ("\u212aelvin", "kelvin"),
        ("Jose\u0301", "jos\u00e9"),
        ("\u0141ukasz", "\u0142ukasz"),
        ("al.ice_1-2", "al.ice_1-2"),
        ("\u05d0\u05d1", "\u05d0\u05d1"),
        ("123", "123"),
    ],
)
def test_spellings_of_one_username_are_one(text, normal):
    """Case, width and composition make no second username (RFC 8265)."""
    assert normalize(IdentifierType.USERNAME, text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "al ice",
        "al\u200bice",
        "al\u00adice",
        "al\u200dice",
        "al\u202eice",
        "\ufeffalice",
        "\ufb01x",
        "\u2163",
        "alice\U0001f600",
        "a\x00b",
        "a\tb",
        "\ud800",
        "1\u05d0",
    ],
)
def test_invisible_and_compatible_characters_make_no_username(text):
    """Nothing unseen, no ligature, no symbol and no mixed direction can look like another's."""
    assert refusal(IdentifierType.USERNAME, text) == "invalid_username"


@pytest.mark.parametrize(
    "text",
    [
        "a@b",
        "@",
        "alice@example.com",
        "12345",
        "+49 30 123456",
        "ada\uff20example.com",
        "ada\ufe6bexample.com",
        "\uff0b\uff14\uff1930123456",
        "\uff11\uff12\uff13\uff14\uff15",
        "\u0661\u0662\u0663\u0664\u0665",
        "tel:4930123456",
        "(+49)30123456",
        " 12345 ",
    ],
)
def test_a_username_never_reads_as_another_kind(text):
    """What is typed at login has one kind, told by its syntax alone."""
    assert refusal(IdentifierType.USERNAME, text) == "ambiguous_username"


@pytest.mark.parametrize(
    ("field", "latin", "other"),
    [
        (IdentifierType.USERNAME, "alice", "\u0430lice"),
        (IdentifierType.USERNAME, "kelvin", "\u03baelvin"),
        (IdentifierType.EMAIL, "alice@example.com", "\u0430lice@example.com"),
        (IdentifierType.EMAIL, "a@example.com", "a@ex\u0430mple.com"),
        (IdentifierType.USERNAME, "omicron", "\u03bfmicron"),
        (IdentifierType.EMAIL, "max@strasse.example", "max@stra\u00dfe.example"),
        (IdentifierType.EMAIL, "strasse@example.com", "stra\u00dfe@example.com"),
        (
            IdentifierType.EMAIL,
            "a@\u03bb\u03cc\u03b3\u03bf\u03c3.example",
            "a@\u03bb\u03cc\u03b3\u03bf\u03c2.example",
        ),
    ],
)
def test_a_letter_of_another_script_is_another_account(field, latin, other):
    """Look-alikes across scripts never lead to each other's account."""
    assert normalize(field, latin) != normalize(field, other)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (IdentifierType.EMAIL, "canary"),
        (IdentifierType.EMAIL, "x@canary..com"),
        (IdentifierType.PHONE, "canary"),
        (IdentifierType.USERNAME, "canary@x"),
        (IdentifierType.USERNAME, "canary x"),
        (IdentifierType.USERNAME, "canary" * 50),
    ],
)
def test_a_refusal_does_not_repeat_the_text(field, text):
    """What was typed is in no fault, as faults are logged and shown."""
    with pytest.raises(BadInput) as refused:
        normalize(field, text)
    assert "canary" not in repr(refused.value.faults) + str(refused.value)


@pytest.mark.parametrize("field", list(IdentifierType))
def test_an_identifier_has_1_to_254_characters(field):
    """Nothing and too much are refused before anything is parsed."""
    assert refusal(field, "") == "invalid_length"
    assert refusal(field, "a" * 255) == "invalid_length"
    assert refusal(field, "1" * 10_000_000) == "invalid_length"


def test_the_longest_username_is_taken():
    """254 characters are allowed."""
    assert normalize(IdentifierType.USERNAME, "a" * 254) == "a" * 254


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("Alice", (IdentifierType.USERNAME, "alice")),
        ("Alice@Example.com", (IdentifierType.EMAIL, "alice@example.com")),
        (" alice@example.com ", (IdentifierType.EMAIL, "alice@example.com")),
        ("+49 30 123456", (IdentifierType.PHONE, "+4930123456")),
        (" +4930123456 ", (IdentifierType.PHONE, "+4930123456")),
        ("123", (IdentifierType.USERNAME, "123")),
        ("ada ", (IdentifierType.USERNAME, "ada")),
        ("(+49) 30 123456", (IdentifierType.PHONE, "+4930123456")),
        ("\u202a+49\u00a030 123456\u202c", (IdentifierType.PHONE, "+4930123456")),
        ("alice\uff20example.com", (IdentifierType.EMAIL, "alice@example.com")),
    ],
)
def test_what_was_typed_has_one_kind(typed, found):
    """An at sign makes an address, digits make a number, the rest is a username."""
    assert identify(typed) == found


@pytest.mark.parametrize("typed", ["", " ", "@", "a@", "030123456", "two words", "x" * 255])
def test_what_can_be_nothing_is_none(typed):
    """What is no identifier at all is told without an error."""
    assert identify(typed) is None


text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@given(
    text | text.map(lambda local: f"{local}@example.com") | st.from_regex(r"\+?[0-9 ()/.-]{4,20}")
)
def test_identify_never_raises_and_its_normal_form_is_final(typed):
    """Whatever is typed is a kind with a normal form, or nothing; normal forms are stable."""
    found = identify(typed)
    if found is not None:
        assert normalize(*found) == found[1]


@pytest.mark.parametrize(
    "text",
    [
        "2001-02-30",
        "2999-01-01",
        "2026-11-29",
        "2026-11-30",
        "0000-01-01",
        "2001-13-01",
        "20010203",
        "2001-W05-6",
        "2001-2-3",
        "\u0662\u0660\u0660\u0661-02-03",
        "\uff12001-02-03",
        "2001-02-03\n",
        " 2001-02-03",
        "",
        "yesterday",
    ],
)
def test_a_birth_date_is_a_day_that_was(text):
    """No day that there is not, none to come, no other spelling; the place is named."""
    with pytest.raises(BadInput) as refused:
        born(text, date(2026, 11, 29))
    (fault,) = refused.value.faults
    assert (fault.pointer, fault.code) == ("/profile/birthdate", "invalid_date")


def test_a_day_that_was_is_a_birth_date():
    """Up to yesterday, leap days and other centuries too."""
    for text in ("2026-11-28", "2004-02-29", "1852-05-04"):
        assert born(text, date(2026, 11, 29)) is None


def test_an_address_is_kept_in_its_normal_form_and_a_name_in_its_case():
    """What is stored is what is sent to; a username is shown as it was chosen."""
    assert kept(IdentifierType.EMAIL, " Ab@Example.com.\r\n") == "ab@example.com"
    assert kept(IdentifierType.PHONE, "(+49) 30 123456") == "+4930123456"
    assert kept(IdentifierType.USERNAME, " Alice ") == "Alice"
