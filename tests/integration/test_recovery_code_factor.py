"""Recovery codes: ten, each once, in any spelling, until the next set."""

import pytest
from sqlalchemy import text

from service.authenticators.factor import Presented
from service.domain.errors import BadInput, VerificationFailed
from service.factors.recovery_codes.actions import RecoveryCodeInput


@pytest.fixture
def alice(container):
    """Return a subject."""
    return container.register(username="alice")


def enroll(container, subject):
    """Make a set of codes."""
    with container.store.transaction() as tx:
        return container.codes.enroll(tx, subject)[1]


@pytest.fixture
def codes(container, alice):
    """Return the subject's codes."""
    return enroll(container, alice.id)


def present(container, subject, typed):
    """Present a code as a login does."""
    now = container.clock.now()
    with container.store.transaction() as tx:
        material = container.codes.load(tx, subject)
        presented = Presented(container.codes.parse({"code": typed}))
        container.codes.consume(tx, container.codes.verify(material, presented, now), now)


def refusal(container, subject, typed):
    """Return the reason for which a code is refused."""
    with pytest.raises(VerificationFailed) as refused:
        present(container, subject, typed)
    return refused.value.reason


def test_a_set_has_ten_codes_of_80_bits(codes):
    """Sixteen characters of base 32 each, in groups, and all of them different."""
    assert len(set(codes)) == 10
    assert all(len(code.replace("-", "")) == 16 for code in codes)


def test_each_code_counts_once(container, alice, codes):
    """All ten verify, in any order, and none of them again."""
    for code in reversed(codes):
        present(container, alice.id, code)
        assert refusal(container, alice.id, code) == "recovery_code_mismatch"
    for code in codes:
        assert refusal(container, alice.id, code) == "recovery_code_mismatch"


def test_case_and_hyphens_are_ignored(container, alice, codes):
    """A code may be typed in lower case, without hyphens, with spaces, or with look-alikes."""
    present(container, alice.id, codes[0].lower())
    present(container, alice.id, codes[1].replace("-", ""))
    present(container, alice.id, codes[2].replace("-", " "))
    present(container, alice.id, codes[3].replace("0", "O").replace("1", "l"))


def test_another_spelling_of_a_used_code_is_used(container, alice, codes):
    """Neither case nor separators make a used code new."""
    present(container, alice.id, codes[0])
    bare = codes[0].replace("-", "")
    for typed in (bare, bare.lower(), "-".join(bare), f"-{bare}-"):
        assert refusal(container, alice.id, typed) == "recovery_code_mismatch"


def test_a_new_set_ends_the_old_one(container, alice, codes):
    """From the new set on no earlier code verifies, used or not."""
    new = enroll(container, alice.id)
    assert not set(new) & set(codes)
    for code in codes:
        assert refusal(container, alice.id, code) == "recovery_code_mismatch"
    present(container, alice.id, new[0])
    with container.store.transaction() as tx:
        assert len(container.authenticators.listing(tx, alice.id)) == 1
        assert tx.execute(text("SELECT count(*) FROM recovery_code")).scalar() == 10


def test_a_revoked_set_is_forgotten(container, alice, codes):
    """After the revocation no code is left, not even its digest."""
    with container.store.transaction() as tx:
        (active,) = container.authenticators.listing(tx, alice.id)
        container.authenticators.revoke(tx, alice.id, active.id)
    assert refusal(container, alice.id, codes[0]) == "recovery_code_mismatch"
    with container.store.transaction() as tx:
        assert tx.execute(text("SELECT count(*) FROM recovery_code")).scalar() == 0


def test_a_code_checked_before_a_revocation_is_not_used_after_it(container, alice, codes):
    """The check and the use may be apart; what was revoked in between does not count."""
    now = container.clock.now()
    with container.store.transaction() as tx:
        material = container.codes.load(tx, alice.id)
    match = container.codes.verify(material, Presented(RecoveryCodeInput(code=codes[0])), now)
    enroll(container, alice.id)
    with pytest.raises(VerificationFailed), container.store.transaction() as tx:
        container.codes.consume(tx, match, now)


def test_a_code_is_its_owners_alone(container, alice, codes):
    """Another subject's code verifies nothing, with a set of one's own or without."""
    other = container.register(username="bob")
    assert refusal(container, other.id, codes[0]) == "recovery_code_mismatch"
    enroll(container, other.id)
    assert refusal(container, other.id, codes[0]) == "recovery_code_mismatch"
    present(container, alice.id, codes[0])


def test_what_is_no_code_is_refused(container, alice, codes):
    """Text that can be no code is bad input, which costs no attempt; a longer code is wrong."""
    assert refusal(container, alice.id, codes[0] + "0") == "recovery_code_mismatch"
    for typed in ("", "short", "x" * 65, "!" * 16, "-" * 16, "UUUUUUUUU", None, 12345678):
        with pytest.raises(BadInput):
            container.codes.parse({"code": typed})


@pytest.mark.parametrize(
    ("old", "new"),
    [("-", "\u2011"), ("-", " "), ("-", "\u00a0"), ("-", "\u2013"), ("-", "\u200b-\n"), ("-", "")],
)
def test_what_a_clipboard_adds_counts_for_nothing(container, alice, codes, old, new):
    """Other hyphens, spaces, line ends and unseen marks are read alike; width and case too."""
    present(container, alice.id, codes[0].lower().replace(old, new) + "\r\n")
    wide = "".join(chr(ord(character) + 0xFEE0) for character in codes[1])
    present(container, alice.id, wide)


def test_no_code_is_stored(container, codes):
    """The rows hold sealed digests."""
    with container.store.transaction(read=True) as tx:
        sealed = [bytes(row[0]) for row in tx.execute(text("SELECT digest FROM recovery_code"))]
    assert len(sealed) == 10
    for code in codes:
        for value in sealed:
            assert value[0] == 0xF9
            assert code.encode() not in value
            assert code.replace("-", "").encode() not in value
