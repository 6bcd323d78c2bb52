"""TOTP: a step counts once, in order, and a clock that jumps locks nobody out."""

import base64
import uuid
from datetime import timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
import pyotp
import pytest
from sqlalchemy import text

from service.authenticators.factor import Presented
from service.domain.authenticator import Status
from service.domain.clock import unix
from service.domain.errors import BadInput, Conflict, NotFound, VerificationFailed
from service.factors.totp.actions import TotpInput


@pytest.fixture
def alice(container):
    """Return a subject."""
    return container.register(username="alice")


@pytest.fixture
def secret(container, alice):
    """Enroll an active TOTP and return its secret."""
    with container.store.transaction() as tx:
        return container.totp.enroll(tx, alice.id, "alice", status=Status.ACTIVE)[1]["secret"]


def code(container, secret, delta=0):
    """Return the code of a step, counted from now."""
    return pyotp.TOTP(secret).generate_otp(unix(container.clock.now()) // 30 + delta)


def present(container, subject, typed):
    """Present a code as a login does."""
    now = container.clock.now()
    with container.store.transaction() as tx:
        material = container.totp.load(tx, subject)
        presented = Presented(container.totp.parse({"code": typed}))
        container.totp.consume(tx, container.totp.verify(material, presented, now), now)


def refusal(container, subject, typed):
    """Return the reason for which a code is refused."""
    with pytest.raises(VerificationFailed) as refused:
        present(container, subject, typed)
    return refused.value.reason


def offset(container, subject):
    """Return the drift that was learned."""
    with container.store.transaction() as tx:
        return orjson.loads(container.totp.load(tx, subject).own[0].secret)["offset"]


def test_the_step_of_now_and_its_neighbors_are_taken(container, alice, secret):
    """The previous, the present and the next code verify, in the order of time."""
    for delta in (-1, 0, 1):
        present(container, alice.id, code(container, secret, delta))


def test_other_steps_are_refused(container, alice, secret):
    """Two steps to either side are no match."""
    for delta in (-2, 2):
        assert refusal(container, alice.id, code(container, secret, delta)) == "totp_mismatch"


def test_a_used_step_is_refused(container, alice, secret):
    """The same code does not verify again, however often and however late it is shown."""
    typed = code(container, secret)
    present(container, alice.id, typed)
    for _ in range(3):
        assert refusal(container, alice.id, typed) == "totp_step_used"
    container.clock.advance(seconds=30)
    assert refusal(container, alice.id, typed) == "totp_step_used"


def test_an_older_step_after_a_newer_one_is_refused(container, alice, secret):
    """After the present code the previous one is not taken, after the next one neither is."""
    present(container, alice.id, code(container, secret, 0))
    assert refusal(container, alice.id, code(container, secret, -1)) == "totp_step_used"
    container.clock.advance(minutes=5)
    present(container, alice.id, code(container, secret, 1))
    assert refusal(container, alice.id, code(container, secret, 0)) == "totp_step_used"


def test_spaces_do_not_make_another_code(container, alice, secret):
    """A spaced code verifies, and neither it nor any other spelling of it does again."""
    typed = code(container, secret)
    present(container, alice.id, f" {typed[:3]} {typed[3:]}")
    for again in (typed, f"{typed[:3]} {typed[3:]}", f"{typed}   ", " ".join(typed)):
        assert refusal(container, alice.id, again) == "totp_step_used"


def test_a_clock_that_jumps_a_year_and_back_locks_nobody_out(container, alice, secret):
    """Steps used in the future do not stand in the way of the present."""
    present(container, alice.id, code(container, secret))
    container.clock.advance(days=365)
    present(container, alice.id, code(container, secret))
    container.clock.advance(days=-365, seconds=30)
    present(container, alice.id, code(container, secret))
    assert refusal(container, alice.id, code(container, secret)) == "totp_step_used"


def test_a_step_stays_used_through_a_jump_of_the_clock(container, alice, secret):
    """Going back to a time at which codes were used does not make them new."""
    used = code(container, secret)
    present(container, alice.id, used)
    container.clock.advance(days=365)
    present(container, alice.id, code(container, secret))
    container.clock.advance(days=-365)
    assert refusal(container, alice.id, used) == "totp_step_used"


def test_a_drift_is_learned_from_success_up_to_two_steps(container, alice, secret):
    """A clock that is ahead is followed step by step, and not beyond the second."""
    for delta, learned in ((1, 1), (2, 2), (3, 2)):
        present(container, alice.id, code(container, secret, delta))
        assert offset(container, alice.id) == learned
    assert refusal(container, alice.id, code(container, secret, 4)) == "totp_mismatch"
    assert offset(container, alice.id) == 2


def test_a_drift_behind_is_learned_too(container, alice, secret):
    """A clock that falls behind is followed in the same way."""
    for delta, learned in ((-1, -1), (-2, -2), (-3, -2)):
        present(container, alice.id, code(container, secret, delta))
        assert offset(container, alice.id) == learned
        container.clock.advance(minutes=1)
    assert refusal(container, alice.id, code(container, secret, -4)) == "totp_mismatch"


def test_a_refused_code_moves_no_drift(container, alice, secret):
    """Only a code that counts is learned from."""
    present(container, alice.id, code(container, secret, 0))
    refusal(container, alice.id, code(container, secret, -1))
    refusal(container, alice.id, code(container, secret, 2))
    assert offset(container, alice.id) == 0


def test_a_learned_drift_goes_back_by_success(container, alice, secret):
    """When the clock is right again the offset returns, and the steps used stay used."""
    present(container, alice.id, code(container, secret, 1))
    assert offset(container, alice.id) == 1
    container.clock.advance(minutes=2)
    present(container, alice.id, code(container, secret, 0))
    assert offset(container, alice.id) == 0


def test_what_is_shown_once_is_all_an_app_needs(container, alice):
    """160 bits as text, as URI and as a picture; the verifier is in none of what is stored."""
    with container.store.transaction() as tx:
        added, shown = container.totp.enroll(tx, alice.id, "alice@example.com")
    assert len(base64.b32decode(shown["secret"])) == 20
    uri = urlsplit(shown["otpauth_uri"])
    query = {name: values[0] for name, values in parse_qs(uri.query).items()}
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert (query["secret"], query["issuer"]) == (shown["secret"], "Lamina")
    assert shown["qr_svg"].startswith("<svg")
    assert shown["secret"] not in repr(added)


@pytest.mark.parametrize(
    "label",
    [
        "a:b",
        ":",
        "a::b:",
        "a/b?c#d%3A&e=f",
        "Lamina:alice",
        "中" * 251,
        "\U00020000" * 254,
        "a" * 64 + "@" + "b" * 189,
        "ש" * 100 + ":" + "ع" * 100,
        "e\u0301" * 127,
        "👩‍👩‍👧" * 40,
    ],
    ids=range(11),
)
def test_every_name_has_a_picture_and_a_label_with_one_colon(container, alice, label):
    """Long names of any script are cut in their middle; a colon in one becomes a hyphen."""
    with container.store.transaction() as tx:
        _, shown = container.totp.enroll(tx, alice.id, label)
    uri = urlsplit(shown["otpauth_uri"])
    issuer, account = unquote(uri.path).removeprefix("/").split(":")
    assert issuer == "Lamina"
    assert 0 < len(account) <= 64
    assert account[:40] == label.replace(":", "-")[:40]
    assert account[-20:] == label.replace(":", "-")[-20:]
    assert parse_qs(uri.query)["secret"] == [shown["secret"]]
    assert shown["qr_svg"].startswith("<svg")


def test_a_pending_secret_verifies_nothing_until_it_is_confirmed(container, alice):
    """A first code makes it active, and counts as used from then on."""
    with container.store.transaction() as tx:
        added, shown = container.totp.enroll(tx, alice.id, "alice")
    assert refusal(container, alice.id, code(container, shown["secret"])) == "no_totp"
    confirm(container, alice.id, added.id, code(container, shown["secret"]))
    with container.store.transaction() as tx:
        assert container.authenticators.enrolled(tx, alice.id) == {"totp"}
    assert refusal(container, alice.id, code(container, shown["secret"])) == "totp_step_used"
    container.clock.advance(seconds=30)
    present(container, alice.id, code(container, shown["secret"]))


def confirm(container, subject, authenticator, typed):
    """Confirm a pending authenticator."""
    with container.store.transaction() as tx:
        pending = container.authenticators.pending(tx, subject, authenticator)
        found = container.totp.compare(pending, {"code": typed}, container.clock.now())
        container.totp.confirm(tx, pending, found)


def test_a_wrong_first_code_confirms_nothing(container, alice):
    """It stays pending, and may still be confirmed with the right one."""
    with container.store.transaction() as tx:
        added, shown = container.totp.enroll(tx, alice.id, "alice")
    wrong = code(container, shown["secret"], 5)
    with pytest.raises(VerificationFailed):
        confirm(container, alice.id, added.id, wrong)
    with container.store.transaction() as tx:
        assert [item.status for item in container.authenticators.listing(tx, alice.id)] == [
            "pending"
        ]
    confirm(container, alice.id, added.id, code(container, shown["secret"]))


def test_a_confirmed_secret_stands_beside_the_earlier_one(container, alice, secret):
    """Until the new one is confirmed the old one verifies alone, and from then on both do."""
    with container.store.transaction() as tx:
        added, shown = container.totp.enroll(tx, alice.id, "alice")
    present(container, alice.id, code(container, secret))
    container.clock.advance(minutes=2)
    confirm(container, alice.id, added.id, code(container, shown["secret"]))
    container.clock.advance(minutes=2)
    for each in (secret, shown["secret"]):
        present(container, alice.id, code(container, each))
        assert refusal(container, alice.id, code(container, each)) == "totp_step_used"


def test_no_more_are_active_than_may_be(container, alice, secret):
    """The fourth is refused when it is begun, and when it is confirmed after all."""
    with container.store.transaction() as tx:
        begun = [container.totp.enroll(tx, alice.id, "alice") for _ in range(3)]
    for number, (added, shown) in enumerate(begun):
        if number < 2:
            confirm(container, alice.id, added.id, code(container, shown["secret"]))
            continue
        with pytest.raises(Conflict) as full:
            confirm(container, alice.id, added.id, code(container, shown["secret"]))
        assert full.value.code == "too_many_totp"
    with container.store.transaction() as tx, pytest.raises(Conflict):
        container.authenticators.require_room(tx, alice.id, "totp")


def test_only_what_is_pending_and_ones_own_is_confirmed(container, alice, secret):
    """An active one, a revoked one, another's and an unknown one are refused."""
    other = container.register(username="bob")
    with container.store.transaction() as tx:
        (active,) = container.authenticators.listing(tx, alice.id)
        pending, shown = container.totp.enroll(tx, alice.id, "alice")
    typed = code(container, shown["secret"])
    for subject, authenticator, error in (
        (alice.id, active.id, Conflict),
        (other.id, pending.id, NotFound),
        (alice.id, uuid.UUID(int=404), NotFound),
    ):
        with pytest.raises(error):
            confirm(container, subject, authenticator, typed)
    with container.store.transaction() as tx:
        container.authenticators.revoke(tx, alice.id, pending.id)
    with pytest.raises(Conflict):
        confirm(container, alice.id, pending.id, typed)


def test_a_revoked_secret_verifies_nothing(container, alice, secret):
    """From the revocation on there is no TOTP; a second revocation is told."""
    with container.store.transaction() as tx:
        (active,) = container.authenticators.listing(tx, alice.id)
        container.authenticators.revoke(tx, alice.id, active.id)
    assert refusal(container, alice.id, code(container, secret)) == "no_totp"
    with pytest.raises(Conflict), container.store.transaction() as tx:
        container.authenticators.revoke(tx, alice.id, active.id)


def test_a_secret_that_was_revoked_after_the_check_does_not_count(container, alice, secret):
    """The check and the use may be apart; what ended in between does not verify."""
    now = container.clock.now()
    with container.store.transaction() as tx:
        material = container.totp.load(tx, alice.id)
    for delta in (0, 1):
        match = container.totp.verify(
            material, Presented(TotpInput(code=code(container, secret, delta))), now
        )
        if delta == 0:
            with container.store.transaction() as tx:
                container.authenticators.revoke(tx, alice.id, material.own[0].authenticator)
        with pytest.raises(VerificationFailed), container.store.transaction() as tx:
            container.totp.consume(tx, match, now)


def test_the_form_of_a_code_is_checked_before_anything_else(container):
    """Six digits, however they were typed; anything else is bad input and no failed attempt."""
    for typed in (
        "123456",
        "123 456",
        "123\u00a0456\n",
        "123-456",
        "\u200b123456",
        "\u0661\u0662\u0663\u0664\u0665\u0666",
        "\uff11\uff12\uff13\uff14\uff15\uff16",
    ):
        assert container.totp.parse({"code": typed}).code == "123456"
    for typed in ("", "12345", "1" * 17, "12345a", "\u2460" * 6, None, 123456, ["123456"]):
        with pytest.raises(BadInput):
            container.totp.parse({"code": typed})
    with pytest.raises(BadInput):
        container.totp.parse({"code": "123456", "more": 1})


def kept_steps(container, *, sweep=True, **ahead):
    """Drop the used steps that have ended, at a clock that may run ahead, and count the rest."""
    with container.store.transaction() as tx:
        drop = container.totp.sweep_used if sweep else container.totp.drop_used
        drop(tx, container.clock.now() + timedelta(**ahead))
        return len(tx.execute(text("SELECT step FROM totp_used_step")).all())


def test_a_newer_step_ends_an_older_one_without_a_look_at_all(container, alice, secret):
    """Within the hour after it was used; who does not sign in again keeps one row."""
    present(container, alice.id, code(container, secret))
    container.clock.advance(minutes=9)
    present(container, alice.id, code(container, secret))
    assert kept_steps(container, sweep=False) == 2
    assert kept_steps(container, sweep=False, minutes=2) == 1
    container.clock.advance(days=1)
    assert kept_steps(container, sweep=False) == 1
    present(container, alice.id, code(container, secret))
    assert kept_steps(container, sweep=False) == 1


def test_used_steps_end_but_the_newest_which_refuses_all_before_it(container, alice, secret):
    """A clock that ran a year ahead as they were dropped makes no used code good again."""
    for delta in (-1, 0, 1):
        present(container, alice.id, code(container, secret, delta))
    assert kept_steps(container) == 3
    assert kept_steps(container, days=365) == 1
    # The clock of the app was learned to be a step ahead: the first of them is too old by now.
    reasons = [refusal(container, alice.id, code(container, secret, delta)) for delta in (-1, 0, 1)]
    assert reasons == ["totp_mismatch", "totp_step_used", "totp_step_used"]
    container.clock.advance(minutes=20)
    present(container, alice.id, code(container, secret))
    assert kept_steps(container) == 1
    with container.store.transaction() as tx:
        (row,) = container.authenticators.listing(tx, alice.id)
        container.authenticators.revoke(tx, alice.id, row.id)
    assert kept_steps(container) == 0
    with container.store.transaction() as tx:
        now = container.clock.now()
        assert container.authenticators.drop_ended(tx, now + timedelta(days=399)) == 0
        assert container.authenticators.drop_ended(tx, now + timedelta(days=401)) == 1
