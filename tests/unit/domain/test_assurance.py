"""The level follows from the evidence alone (SP 800-63B-4)."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from service.domain.assurance import Acr, Evidence, Kind, achieved, parse_acr

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KINDS = {"password": Kind.KNOWLEDGE, "face": Kind.INHERENCE}


def shown(factor, seconds_ago=0, **flags):
    """Return evidence of a factor."""
    return Evidence(
        UUID(int=1), "flow", factor, UUID(int=2), KINDS.get(factor, Kind.POSSESSION), (factor[:3],),
        NOW - timedelta(seconds=seconds_ago), **flags,
    )  # fmt: skip


VERIFIED = {"user_verified": True, "phishing_resistant": True}
BOUND = {"phishing_resistant": True}


@pytest.mark.parametrize(
    ("evidence", "level"),
    [
        ([], Acr.NONE),
        ([shown("password")], Acr.AAL1),
        ([shown("totp")], Acr.AAL1),
        ([shown("webauthn", **BOUND)], Acr.AAL1),
        ([shown("face")], Acr.NONE),
        ([shown("password"), shown("totp")], Acr.AAL2),
        ([shown("password"), shown("recovery_code")], Acr.AAL2),
        ([shown("password"), shown("webauthn", **BOUND)], Acr.AAL2_PHR),
        ([shown("webauthn", **VERIFIED)], Acr.AAL2_PHR),
        ([shown("password"), shown("face")], Acr.AAL1),
        ([shown("face"), shown("totp")], Acr.AAL1),
        ([shown("face", endpoint_authenticated=True), shown("totp")], Acr.AAL2),
        ([shown("face", endpoint_authenticated=True)], Acr.NONE),
        ([shown("totp"), shown("recovery_code")], Acr.AAL1),
    ],
)
def test_the_table_of_levels(evidence, level):
    """Each line of the table of assurance levels holds, in any order of the evidence."""
    assert achieved(evidence, NOW).acr is level
    assert achieved(list(reversed(evidence)), NOW).acr is level


def test_old_evidence_does_not_count():
    """With a maximum age the level falls to what the fresh evidence carries."""
    evidence = [shown("password", 600), shown("totp", 10)]
    assert achieved(evidence, NOW).acr is Acr.AAL2
    assert achieved(evidence, NOW, 600).acr is Acr.AAL2
    assert achieved(evidence, NOW, 599).acr is Acr.AAL1
    assert achieved(evidence, NOW, 5).acr is Acr.NONE


def test_auth_time_is_the_oldest_evidence_that_the_level_rests_on():
    """A repeated factor counts with its freshest time; what is not needed does not age it."""
    evidence = [shown("password", 900), shown("password", 60), shown("totp", 30), shown("face", 5)]
    found = achieved(evidence, NOW)
    assert found.auth_time == NOW - timedelta(seconds=60)
    assert achieved([], NOW).auth_time is None


def test_amr_names_methods_and_mfa_for_two_kinds():
    """A biometric is named but makes no second factor."""
    assert achieved([shown("password"), shown("totp")], NOW).amr == ("pas", "tot", "mfa")
    assert achieved([shown("password"), shown("face")], NOW).amr == ("pas", "fac")


def test_evidence_survives_json():
    """What is stored in a session comes back equal."""
    evidence = shown("webauthn", llr=1.5, **VERIFIED)
    assert Evidence.from_json(evidence.to_json()) == evidence


def test_acr_values_name_the_strictest():
    """A list asks for its strictest class; `phr` is short for the last."""
    assert parse_acr("urn:lamina:acr:aal1 urn:lamina:acr:aal2") is Acr.AAL2
    assert parse_acr("phr") is Acr.AAL2_PHR
    assert (Acr.NONE.urn, Acr.AAL2_PHR.aal) == ("", 2)
    for wrong in ("", "aal2", "urn:lamina:acr:aal2 silver"):
        with pytest.raises(ValueError, match="unknown class"):
            parse_acr(wrong)
