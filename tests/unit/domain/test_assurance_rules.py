"""The finer rules of assurance: what counts, how it ages, and what is written down of it."""

import json
from datetime import UTC, datetime, timedelta
from itertools import permutations
from math import isfinite
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.assurance import Acr, Evidence, Kind, achieved, parse_acr
from service.sessions.model import evidence_json, evidence_of

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KINDS = {"password": Kind.KNOWLEDGE, "face": Kind.INHERENCE, "behavior": Kind.INHERENCE}
VERIFIED = {"user_verified": True, "phishing_resistant": True}
BOUND = {"phishing_resistant": True}


def shown(factor, seconds_ago=0, amr=("x",), **flags):
    """Return evidence of a factor."""
    return Evidence(
        subject=UUID(int=1),
        flow="flow",
        factor=factor,
        authenticator=UUID(int=2),
        kind=KINDS.get(factor, Kind.POSSESSION),
        amr=amr,
        at=NOW - timedelta(seconds=seconds_ago),
        **flags,
    )


def ago(seconds):
    """Return the time so many seconds before now."""
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize("factor", ["face", "behavior", "context"])
def test_what_is_no_authenticator_gives_no_level(factor):
    """Face alone, behavior and context give no level and no time of authentication."""
    found = achieved([shown(factor)], NOW)
    assert (found.acr, found.auth_time) == (Acr.NONE, None)


@pytest.mark.parametrize("layers", [("face",), ("behavior",), ("face", "behavior", "context")])
def test_further_layers_change_no_level(layers):
    """The product's own login is AAL2 by password and TOTP, with or without further layers."""
    further = [shown(layer) for layer in layers]
    assert achieved([shown("password"), *further], NOW).acr is Acr.AAL1
    assert achieved([shown("password"), shown("totp"), *further], NOW).acr is Acr.AAL2
    assert achieved([shown("password"), shown("recovery_code"), *further], NOW).acr is Acr.AAL2


def test_two_things_held_are_one_kind():
    """A TOTP with a recovery code or with a key that verified nobody stays at AAL1."""
    for other in (shown("recovery_code"), shown("webauthn", **BOUND)):
        assert achieved([shown("totp"), other], NOW).acr is Acr.AAL1


def test_a_key_counts_as_multi_factor_only_when_it_verified_the_user():
    """Without user verification a security key is AAL1 alone and resistant with a password."""
    key = shown("webauthn", **BOUND)
    assert achieved([key], NOW).acr is Acr.AAL1
    assert achieved([shown("password"), key], NOW).acr is Acr.AAL2_PHR
    assert achieved([shown("webauthn", **VERIFIED)], NOW).acr is Acr.AAL2_PHR


def test_a_face_counts_only_from_an_authenticated_endpoint():
    """The signed capture makes face and TOTP AAL2; the same face alone or unsigned does not."""
    signed = shown("face", endpoint_authenticated=True)
    assert achieved([signed, shown("totp")], NOW).acr is Acr.AAL2
    assert achieved([signed], NOW).acr is Acr.NONE
    assert achieved([signed, shown("password")], NOW).acr is Acr.AAL1
    assert achieved([shown("face"), shown("totp")], NOW).acr is Acr.AAL1


def test_the_order_of_evidence_does_not_matter():
    """Every order of the same evidence gives the same level and time."""
    evidence = [shown("password", 60), shown("totp", 30), shown("recovery_code", 90)]
    found = {
        (one.acr, one.auth_time)
        for one in (achieved(order, NOW) for order in permutations(evidence))
    }
    assert found == {(Acr.AAL2, ago(60))}


def test_evidence_decays_at_its_maximum_age():
    """Evidence of exactly the maximum age counts; a second more and the level falls."""
    evidence = [shown("password", 300), shown("webauthn", 100, **BOUND)]
    assert achieved(evidence, NOW, 300).acr is Acr.AAL2_PHR
    assert achieved(evidence, NOW, 299).acr is Acr.AAL1
    assert achieved(evidence, NOW, 100).acr is Acr.AAL1
    assert achieved(evidence, NOW, 99).acr is Acr.NONE
    assert achieved([shown("password")], NOW, 0).acr is Acr.AAL1
    assert achieved([shown("password", 10**7)], NOW).acr is Acr.AAL1


def test_decayed_evidence_is_named_nowhere():
    """What is too old is neither in the methods nor in the time."""
    evidence = [shown("password", 600, ("pwd",)), shown("totp", 10, ("otp",))]
    found = achieved(evidence, NOW, 60)
    assert (found.acr, found.amr, found.auth_time) == (Acr.AAL1, ("otp",), ago(10))


@pytest.mark.parametrize(
    ("evidence", "oldest"),
    [
        ([shown("password", 50), shown("totp", 20)], 50),
        ([shown("password", 20), shown("totp", 50)], 50),
        ([shown("password", 900), shown("password", 60), shown("totp", 30)], 60),
        ([shown("password", 60), shown("totp", 300), shown("recovery_code", 10)], 60),
        ([shown("password", 900), shown("webauthn", 5, **VERIFIED)], 5),
        ([shown("password", 9), shown("webauthn", 700, **BOUND)], 700),
        ([shown("face", 80, endpoint_authenticated=True), shown("totp", 20)], 80),
        ([shown("face", 80), shown("totp", 20)], 20),
        ([shown("totp", 400), shown("recovery_code", 40)], 40),
    ],
)
def test_auth_time_is_the_oldest_evidence_rested_on(evidence, oldest):
    """The freshest of each factor is taken, and of those the level needs the oldest tells."""
    assert achieved(evidence, NOW).auth_time == ago(oldest)


def test_amr_lists_each_method_once_and_mfa_last():
    """Methods are listed once, in the order shown, and `mfa` stands for two counted kinds."""
    evidence = [
        shown("password", amr=("pwd",)),
        shown("totp", amr=("otp",)),
        shown("recovery_code", amr=("otp",)),
    ]
    assert achieved(evidence, NOW).amr == ("pwd", "otp", "mfa")


@pytest.mark.parametrize("layer", ["face", "behavior"])
def test_a_biometric_never_makes_mfa(layer):
    """Inherence is a layer and not a factor of the level, whatever it is shown with."""
    for other in ("password", "totp"):
        assert "mfa" not in achieved([shown(other), shown(layer, amr=("face",))], NOW).amr
    assert achieved([], NOW).amr == ()


evidences = st.builds(
    Evidence,
    subject=st.uuids(),
    flow=st.text(max_size=8),
    factor=st.sampled_from(["password", "totp", "webauthn", "face", "recovery_code"]),
    authenticator=st.uuids(),
    kind=st.sampled_from(Kind),
    amr=st.lists(st.text(max_size=4), max_size=3).map(tuple),
    at=st.datetimes(timezones=st.just(UTC)),
    user_verified=st.booleans(),
    phishing_resistant=st.booleans(),
    endpoint_authenticated=st.booleans(),
    llr=st.none() | st.floats(allow_nan=False),
)


@given(evidences)
def test_evidence_comes_back_from_json_as_it_was(evidence):
    """Whatever evidence is written as JSON is read back equal."""
    written = evidence.to_json()
    assert Evidence.from_json(written) == evidence
    assert all(isinstance(written[name], str) for name in ("subject", "authenticator", "at"))


@given(st.lists(evidences.filter(lambda item: item.llr is None or isfinite(item.llr)), max_size=3))
def test_evidence_of_a_session_is_read_in_both_forms(evidence):
    """As it is written now, and as sessions that are older hold it."""
    kept = tuple(evidence)
    assert evidence_of(evidence_json(kept)) == kept
    assert evidence_of(json.dumps([item.to_json() for item in kept])) == kept


@given(st.lists(evidences, max_size=5))
def test_every_set_of_evidence_has_a_level(evidence):
    """No set of evidence raises; a level above none has the time of some of the evidence."""
    found = achieved(evidence, NOW)
    assert (found.auth_time is None) == (found.acr is Acr.NONE)
    assert found.auth_time is None or found.auth_time in {item.at for item in evidence}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"kind": "magic"}, ValueError),
        ({"subject": "nobody"}, ValueError),
        ({"at": "yesterday"}, ValueError),
        ({"more": 1}, TypeError),
    ],
)
def test_evidence_of_another_form_is_refused(change, error):
    """What `to_json` would not write is not read."""
    with pytest.raises(error):
        Evidence.from_json(shown("password").to_json() | change)
    with pytest.raises(ValueError, match="no evidence that is stored") as caught:
        evidence_of(json.dumps([shown("password").to_json() | change]))
    assert not {"magic", "nobody", "yesterday"} & set(str(caught.value).split())


@pytest.mark.parametrize(
    ("level", "urn", "aal"),
    [
        (Acr.NONE, "", 0),
        (Acr.AAL1, "urn:lamina:acr:aal1", 1),
        (Acr.AAL2, "urn:lamina:acr:aal2", 2),
        (Acr.AAL2_PHR, "urn:lamina:acr:aal2:phr", 2),
    ],
)
def test_each_class_has_its_name_and_number(level, urn, aal):
    """The ladder is published by name; none has no name, and AAL3 is not offered."""
    assert (level.urn, level.aal) == (urn, aal)
    if urn:
        assert parse_acr(urn) is level


@pytest.mark.parametrize(
    ("values", "level"),
    [
        ("urn:lamina:acr:aal2 urn:lamina:acr:aal1", Acr.AAL2),
        ("phr urn:lamina:acr:aal1", Acr.AAL2_PHR),
        ("  urn:lamina:acr:aal1\turn:lamina:acr:aal1 ", Acr.AAL1),
    ],
)
def test_the_strictest_named_class_is_asked_for(values, level):
    """Of several classes the strictest counts, in any order and spacing."""
    assert parse_acr(values) is level


@pytest.mark.parametrize("values", ["", "  ", "aal3", "URN:LAMINA:ACR:AAL1", "phr,", "phr aal3"])
def test_an_unknown_class_is_refused_and_not_repeated(values):
    """One unknown value refuses the whole list; the text names the known ones alone."""
    with pytest.raises(ValueError, match="known: urn:lamina:acr:aal1 ") as refused:
        parse_acr(values)
    assert "aal3" not in str(refused.value)
