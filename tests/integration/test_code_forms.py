"""Code generators keep the form of codes they were enrolled with, whatever is set later."""

from datetime import timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
import pyotp
import pytest

from service.authenticators.factor import Presented
from service.domain.authenticator import Status
from service.domain.clock import unix
from service.domain.errors import BadInput, VerificationFailed
from service.domain.ids import DECOY
from service.factors.recovery_codes.actions import RecoveryCodeFactor
from service.factors.totp.actions import TotpFactor
from service.factors.totp.model import CodeForm, MatchedStep


def factor(container, digits=6, period=30, issuer="Shop"):
    """Return the factor as other settings make it."""
    return TotpFactor(container.authenticators, issuer, DECOY, CodeForm(digits, period))


def enroll(container, totp, subject):
    """Enroll an active generator; return it as its owner's app has it, and what was shown."""
    with container.store.transaction() as tx:
        shown = totp.enroll(tx, subject.id, "alice", status=Status.ACTIVE)[1]
    return pyotp.parse_uri(shown["otpauth_uri"]), shown


def present(container, totp, subject, code):
    """Present a code as a login does."""
    now = container.clock.now()
    with container.store.transaction() as tx:
        match = totp.verify(totp.load(tx, subject.id), Presented(totp.parse({"code": code})), now)
        totp.consume(tx, match, now)


def shown_now(container, app, delta=0):
    """Return the code of a step, counted from now."""
    return app.generate_otp(unix(container.clock.now()) // app.interval + delta)


@pytest.mark.parametrize(("digits", "period"), [(6, 30), (7, 45), (8, 60)])
def test_a_generator_keeps_its_form_when_the_settings_change(container, digits, period):
    """Its codes go on to count, each once, beside those of one with the new form."""
    alice = container.register(username="alice")
    app, _ = enroll(container, factor(container, digits, period), alice)
    assert (app.digits, app.interval) == (digits, period)
    after = factor(container, 8 if digits == 6 else 6, 60 if period == 30 else 30)
    other, _ = enroll(container, after, alice)
    for each in (app, other):
        code = shown_now(container, each)
        present(container, after, alice, code)
        with pytest.raises(VerificationFailed) as again:
            present(container, after, alice, code)
        assert again.value.reason == "totp_step_used"
    container.clock.advance(seconds=period)
    present(container, after, alice, shown_now(container, app))


def test_what_was_enrolled_before_forms_is_read_as_it_was(container):
    """A stored secret without digits and period has six and thirty seconds."""
    alice = container.register(username="alice")
    secret = pyotp.random_base32(32)
    packed = orjson.dumps({"secret": secret, "offset": 0})
    with container.store.transaction() as tx:
        container.authenticators.add(tx, alice.id, "totp", packed, status=Status.ACTIVE)
    present(container, factor(container, 8, 60), alice, shown_now(container, pyotp.TOTP(secret)))


@pytest.mark.parametrize("period", [30, 60])
def test_a_used_step_is_kept_while_its_code_could_come_again(container, period):
    """Dropping what is old lets no code of any period count twice."""
    alice = container.register(username="alice")
    totp = factor(container, 6, period)
    app, _ = enroll(container, totp, alice)
    first = shown_now(container, app, -1)
    present(container, totp, alice, first)
    present(container, totp, alice, shown_now(container, app))
    with container.store.transaction() as tx:
        assert totp.drop_used(tx, container.clock.now()) == 0
    for code in (first, shown_now(container, app)):
        with pytest.raises(VerificationFailed):
            present(container, totp, alice, code)
    container.clock.advance(seconds=700)
    with container.store.transaction() as tx:
        assert totp.drop_used(tx, container.clock.now()) == 1


def test_a_drift_is_learned_without_losing_the_form(container):
    """What is stored anew after a login keeps digits and period."""
    alice = container.register(username="alice")
    totp = factor(container, 8, 60)
    app, _ = enroll(container, totp, alice)
    present(container, totp, alice, shown_now(container, app, 1))
    with container.store.transaction() as tx:
        kept = orjson.loads(totp.load(tx, alice.id).own[0].secret)
    assert (kept["offset"], kept["digits"], kept["period"]) == (1, 8, 60)


def test_a_used_code_tells_when_the_next_is_shown(container):
    """By the period of the generator it came from."""
    alice = container.register(username="alice")
    totp = factor(container, 6, 60)
    app, _ = enroll(container, totp, alice)
    code = shown_now(container, app)
    present(container, totp, alice, code)
    with pytest.raises(VerificationFailed) as again:
        present(container, totp, alice, code)
    left = again.value.holder["next_in"]
    assert left == 60 - unix(container.clock.now()) % 60
    container.clock.advance(seconds=left)
    present(container, totp, alice, shown_now(container, app))


@pytest.mark.parametrize("issuer", ["Shop", "a: shop", "中" * 64, "\U00020000" * 64])
def test_the_issuer_is_shown_and_every_picture_can_be_made(container, issuer):
    """With the longest name of an account beside it."""
    alice = container.register(username="alice")
    totp = factor(container, 8, 60, issuer)
    with container.store.transaction() as tx:
        shown = totp.enroll(tx, alice.id, "\U00020000" * 254)[1]
    uri = urlsplit(shown["otpauth_uri"])
    label, _ = unquote(uri.path).removeprefix("/").split(":")
    assert label == issuer.replace(":", "-")[:32] == parse_qs(uri.query)["issuer"][0]
    assert shown["qr_svg"].startswith("<svg")


@pytest.mark.parametrize("typed", ["12345", "123456789", "12345a"])
def test_what_no_generator_shows_is_bad_input(container, typed):
    """It costs no attempt; six to eight digits might be somebody's."""
    with pytest.raises(BadInput):
        container.totp.parse({"code": typed})
    assert container.totp.parse({"code": "1234 5678"}).code == "12345678"


def test_a_match_of_the_program_before_is_unpacked(container):
    """A deferred flow holds it over an upgrade: of three numbers, with thirty seconds."""
    assert container.totp.unpack_used([7, 8, 0]) == MatchedStep(7, 8, 0, 30)
    step = MatchedStep(7, 8, 1, 60)
    assert container.totp.unpack_used(container.totp.pack_used(step)) == step


def test_as_many_recovery_codes_are_made_as_is_set(container):
    """Each works; a set of before keeps its own."""
    alice = container.register(username="alice")
    codes = RecoveryCodeFactor(container.authenticators, DECOY, 5)
    with container.store.transaction() as tx:
        made = codes.enroll(tx, alice.id)[1]
    assert len(set(made)) == 5
    now = container.clock.now() + timedelta(seconds=1)
    for code in made:
        with container.store.transaction() as tx:
            presented = Presented(codes.parse({"code": code}))
            codes.consume(tx, codes.verify(codes.load(tx, alice.id), presented, now), now)
    with container.store.transaction() as tx:
        assert codes.load(tx, alice.id)[1] == []
