"""Recovery codes: ten, each once, in any spelling, until the next set."""

import pytest
from sqlalchemy import text

from service.authenticators.factor import Presented
from service.domain.errors import BadInput, VerificationFailed


@pytest.fixture
def alice(house):
    """Return a subject."""
    return house.register(username="alice")


def enroll(house, subject):
    """Make a set of codes."""
    with house.store.transaction() as tx:
        return house.codes.enroll(tx, subject)[1]


@pytest.fixture
def codes(house, alice):
    """Return the subject's codes."""
    return enroll(house, alice.id)


def present(house, subject, typed):
    """Present a code as a login does."""
    now = house.clock.now()
    with house.store.transaction() as tx:
        material = house.codes.load(tx, subject)
        presented = Presented(house.codes.parse({"code": typed}))
        house.codes.settle(tx, house.codes.check(material, presented, now), now)


def refusal(house, subject, typed):
    """Return the reason for which a code is refused."""
    with pytest.raises(VerificationFailed) as refused:
        present(house, subject, typed)
    return refused.value.reason


def test_a_set_has_ten_codes_of_80_bits(codes):
    """Sixteen characters of base 32 each, in groups, and all of them different."""
    assert len(set(codes)) == 10
    assert all(len(code.replace("-", "")) == 16 for code in codes)


def test_each_code_counts_once(house, alice, codes):
    """All ten verify, in any order, and none of them again."""
    for code in reversed(codes):
        present(house, alice.id, code)
        assert refusal(house, alice.id, code) == "recovery_code_mismatch"
    for code in codes:
        assert refusal(house, alice.id, code) == "recovery_code_mismatch"


def test_case_and_hyphens_are_ignored(house, alice, codes):
    """A code may be typed in lower case, without hyphens, with spaces, or with look-alikes."""
    present(house, alice.id, codes[0].lower())
    present(house, alice.id, codes[1].replace("-", ""))
    present(house, alice.id, codes[2].replace("-", " "))
    present(house, alice.id, codes[3].replace("0", "O").replace("1", "l"))


def test_another_spelling_of_a_used_code_is_used(house, alice, codes):
    """Neither case nor separators make a used code new."""
    present(house, alice.id, codes[0])
    bare = codes[0].replace("-", "")
    for typed in (bare, bare.lower(), "-".join(bare), f"-{bare}-"):
        assert refusal(house, alice.id, typed) == "recovery_code_mismatch"


def test_a_new_set_ends_the_old_one(house, alice, codes):
    """From the new set on no earlier code verifies, used or not."""
    new = enroll(house, alice.id)
    assert not set(new) & set(codes)
    for code in codes:
        assert refusal(house, alice.id, code) == "recovery_code_mismatch"
    present(house, alice.id, new[0])
    with house.store.transaction() as tx:
        assert len(house.authenticators.listing(tx, alice.id)) == 1
        assert tx.execute(text("SELECT count(*) FROM recovery_code")).scalar() == 10


def test_a_revoked_set_is_forgotten(house, alice, codes):
    """After the revocation no code is left, not even its digest."""
    with house.store.transaction() as tx:
        (active,) = house.authenticators.listing(tx, alice.id)
        house.authenticators.revoke(tx, alice.id, active.id)
    assert refusal(house, alice.id, codes[0]) == "recovery_code_mismatch"
    with house.store.transaction() as tx:
        assert tx.execute(text("SELECT count(*) FROM recovery_code")).scalar() == 0


def test_a_code_checked_before_a_revocation_is_not_used_after_it(house, alice, codes):
    """The check and the use may be apart; what was revoked in between does not count."""
    now = house.clock.now()
    with house.store.transaction() as tx:
        material = house.codes.load(tx, alice.id)
    match = house.codes.check(material, Presented({"code": codes[0]}), now)
    enroll(house, alice.id)
    with pytest.raises(VerificationFailed), house.store.transaction() as tx:
        house.codes.settle(tx, match, now)


def test_a_code_is_its_owners_alone(house, alice, codes):
    """Another subject's code verifies nothing, with a set of one's own or without."""
    other = house.register(username="bob")
    assert refusal(house, other.id, codes[0]) == "recovery_code_mismatch"
    enroll(house, other.id)
    assert refusal(house, other.id, codes[0]) == "recovery_code_mismatch"
    present(house, alice.id, codes[0])


def test_what_is_no_code_is_refused(house, alice, codes):
    """Text that can be no code is bad input, which costs no attempt; a longer code is wrong."""
    assert refusal(house, alice.id, codes[0] + "0") == "recovery_code_mismatch"
    for typed in ("", "short", "x" * 65, "!" * 16, "-" * 16, "UUUUUUUUU", None, 12345678):
        with pytest.raises(BadInput):
            house.codes.parse({"code": typed})


@pytest.mark.parametrize(
    ("old", "new"),
    [("-", "\u2011"), ("-", " "), ("-", "\u00a0"), ("-", "\u2013"), ("-", "\u200b-\n"), ("-", "")],
)
def test_what_a_clipboard_adds_counts_for_nothing(house, alice, codes, old, new):
    """Other hyphens, spaces, line ends and unseen marks are read alike; width and case too."""
    present(house, alice.id, codes[0].lower().replace(old, new) + "\r\n")
    wide = "".join(chr(ord(character) + 0xFEE0) for character in codes[1])
    present(house, alice.id, wide)


def test_no_code_is_stored(house, codes):
    """The rows hold sealed digests."""
    with house.store.transaction(read=True) as tx:
        sealed = [bytes(row[0]) for row in tx.execute(text("SELECT digest FROM recovery_code"))]
    assert len(sealed) == 10
    for code in codes:
        for value in sealed:
            assert value[0] == 0xF9
            assert code.encode() not in value
            assert code.replace("-", "").encode() not in value
