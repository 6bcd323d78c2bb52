"""A policy that is wrong is refused with the place to mend."""

import json
from typing import get_args

import pytest

from service.domain.assurance import Acr
from service.domain.authenticator import TYPES
from service.domain.errors import BadInput
from service.policy.actions.parsing import parse
from service.policy.model import document, parser
from service.policy.model.compiler import compile_document, require_satisfiable, warnings
from service.policy.model.decision import Effect
from service.policy.model.engine import decide
from tests.unit.service.documents import (
    AAL1,
    AAL2,
    ALL,
    NOW_REGISTERED,
    ROOT,
    compiled,
    facts,
    leaf,
    ruled,
    shown,
    value,
)


def nested(depth):
    found = leaf("hour", "lt", 5)
    for _ in range(depth - 1):
        found = {"all": [found]}
    return found


RULE = "/segments/default/rules/0"


@pytest.mark.parametrize(
    ("segment", "pointer", "code"),
    [
        ({"unknown": 1}, "/segments/default", "extra_forbidden"),
        ({"login": {"acr": "gold"}}, "/segments/default/login/acr", "literal_error"),
        ({"login": {"acr": "none"}}, "/segments/default/login/acr", "acr_none"),
        (
            {"login": {"acr": AAL1, "layers": [["dna"]]}},
            "/segments/default/login/layers/0/0",
            "literal_error",
        ),
        (
            {"login": {"acr": AAL1, "layers": [["totp"]], "ways": [[["totp"]]]}},
            "/segments/default/login",
            "value_error",
        ),
        ({"extends": "nobody"}, "/segments/default/extends", "unknown_segment"),
        ({"extends": "default"}, "/segments/default/extends", "inheritance_cycle"),
        ({"fallback": ["face"]}, "/segments/default/fallback", "value_error"),
        ({"regime": "psd2", "disclosure": "stepwise"}, "/segments/default", "value_error"),
        ({"regime": "psd2", "session_idle": 301}, "/segments/default", "value_error"),
        ({"session_idle": 59}, "/segments/default/session_idle", "greater_than_equal"),
        (
            {"subjects": {"unverified_email_sign_in": "yes"}},
            "/segments/default/subjects/unverified_email_sign_in",
            "bool_type",
        ),
        (
            {"subjects": {"unverified_phone_sign_in": True}},
            "/segments/default/subjects",
            "extra_forbidden",
        ),
        (
            {"login_enrollment": {"offer": ["dna"]}},
            "/segments/default/login_enrollment/offer/0",
            "literal_error",
        ),
        (
            {"login_enrollment": {"require": ["totp"]}},
            "/segments/default/login_enrollment",
            "extra_forbidden",
        ),
        ({"cooldown_hours": -1}, "/segments/default/cooldown_hours", "greater_than_equal"),
        ({"young_hours": 721}, "/segments/default/young_hours", "less_than_equal"),
        ({"cooldown_hours": 5, "young_hours": 5}, "/segments/default", "value_error"),
        (ruled({"deny": True}, leaf("iq", "lt", 1)), f"{RULE}/when/field", "unknown_field"),
        (ruled({"deny": True}, leaf("amount", "lt", 1)), f"{RULE}/when/field", "field_not_here"),
        (ruled({"deny": True}, leaf("hour", "like", 1)), f"{RULE}/when/op", "unknown_operation"),
        (ruled({"deny": True}, leaf("hour", "lt", "5")), f"{RULE}/when/value", "value_type"),
        (ruled({"deny": True}, leaf("hour", "in", [])), f"{RULE}/when/value", "value_type"),
        (ruled({"deny": True}, leaf("requested", "eq", "x")), f"{RULE}/when/value", "value_type"),
        (ruled({"deny": True}, leaf("hour", "in", [1, "2"])), f"{RULE}/when/value/1", "value_type"),
        (ruled({"deny": True}, leaf("llr", "gt", -1)), f"{RULE}/when", "not_monotone"),
        (
            ruled({"deny": True}, {"not": leaf("band", "gt", "low")}),
            f"{RULE}/when/not",
            "not_monotone",
        ),
        (ruled({"deny": True}, leaf("llr", "eq", -1)), f"{RULE}/when", "not_monotone"),
        (ruled({"deny": True}, {"all": []}), f"{RULE}/when/all", "condition_list"),
        (ruled({"deny": True}, {"none": []}), f"{RULE}/when/none", "condition_form"),
        (
            ruled({"deny": True}, {"all": [leaf("hour", "lt", 5)], "any": []}),
            f"{RULE}/when",
            "condition_form",
        ),
        (ruled({"deny": True}, [1]), f"{RULE}/when", "condition_type"),
        (ruled({"deny": True}, nested(5)), f"{RULE}/when/all/0/all/0/all/0/all/0", "too_deep"),
        (ruled({"relief": {"acr": "none"}}, leaf("hour", "lt", 5)), RULE, "value_error"),
        (ruled({"relief": {"acr": "none"}}, stage="transaction"), RULE, "value_error"),
        (
            ruled({"relief": {"acr": "none"}, "deny": True}, nested(1), stage="transaction"),
            RULE,
            "value_error",
        ),
        (
            ruled({"relief": {"acr": "none"}}, leaf("probability", "gt", 0.5), stage="transaction"),
            f"{RULE}/when",
            "not_monotone",
        ),
        (
            {"rules": [{"id": "r", "then": {}}] * 2},
            "/segments/default/rules/1/id",
            "duplicate_rule",
        ),
        ({"rules": [{"id": "r", "then": {}}] * 201}, "/segments/default/rules", "too_long"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(segment, pointer, code):
    """The fault names the JSON pointer and says what kind of fault it is."""
    with pytest.raises(BadInput) as error:
        compiled(**segment)
    fault = error.value.faults[0]
    assert (fault.pointer, fault.code) == (pointer, code)
    assert error.value.code == "bad_policy"


def test_a_segment_that_lacks_a_purpose_is_refused():
    """What is neither said nor inherited is named."""
    whole = value()
    whole["segments"]["other"] = {"login": {"acr": AAL1}}
    with pytest.raises(BadInput) as error:
        compile_document(parser.read(whole))
    assert error.value.faults[0].pointer == "/segments/other/step_up"


def test_a_circle_of_inheritance_is_shown():
    """The detail names every segment on the way round."""
    whole = value()
    whole["segments"] |= {"a": {"extends": "b"}, "b": {"extends": "a"}}
    with pytest.raises(BadInput) as error:
        compile_document(parser.read(whole))
    assert "a -> b -> a" in error.value.faults[0].detail


def test_segments_inherit_and_override():
    """A child keeps what it does not say; purposes are replaced whole, rules by their id."""
    whole = value(rules=[{"id": "r", "then": {"deny": True}}, {"id": "s", "then": {}}])
    whole["segments"]["child"] = {
        "extends": "default",
        "login": {"acr": AAL1, "layers": [["password"]]},
        "raise": {"high": {"delay": 7}},
        "rules": [{"id": "r", "then": {"delay": 3}}],
    }
    found = compile_document(parser.read(whole))
    child = found.segment("child")
    assert child.purposes["login"].layers == (("password",),)
    assert child.purposes["step_up"] == found.segment("default").purposes["step_up"]
    assert [rule.id for rule in child.rules["admission"]] == ["s", "r"]
    decision = decide(found, facts(*shown("password"), segment="child"))
    assert (decision.effect, decision.delay) == (Effect.ALLOW, 3)
    assert decide(found, facts(segment="nobody knows")).effect is Effect.DENY


@pytest.mark.parametrize("spelling", ["cooldown_hours", "young_hours"])
def test_a_cooldown_has_two_names_and_keeps_the_one_that_was_written(spelling):
    """Both mean the same; the canonical form, whose hash is the version, keeps the spelling."""
    read = parser.read(value(**{spelling: 5}))
    assert compile_document(read).segment("default").cooldown_hours == 5
    stored = json.loads(parser.canonical(read))
    assert stored["segments"]["default"][spelling] == 5
    assert len({"cooldown_hours", "young_hours"} & stored["segments"]["default"].keys()) == 1


def test_the_version_of_a_document_with_the_former_name_stays():
    """The hash was computed before the second name existed: stored documents keep their version."""
    version = "ba0a1f90f6edea59604670a204903189536e31c5f4f393647b16ff7f2bd7257a"
    assert parser.version_of(parser.read(value(young_hours=24))) == version


@pytest.mark.parametrize(
    ("parent", "child"), [("young_hours", "cooldown_hours"), ("cooldown_hours", "young_hours")]
)
def test_a_cooldown_replaces_the_inherited_one_under_either_name(parent, child):
    """A child may use another name than its parent; one that names none inherits."""
    whole = value(**{parent: 5})
    whole["segments"] |= {
        "child": {"extends": "default", child: 0},
        "other": {"extends": "default"},
    }
    found = compile_document(parser.read(whole))
    hours = {name: found.segment(name).cooldown_hours for name in found.segments}
    assert hours == {"default": 5, "child": 0, "other": 5}


def test_an_unverified_email_signs_in_where_a_segment_says_so_and_it_is_warned_of():
    """Unsaid it does not; a child inherits it and may say no; the warning names its cost."""
    assert not compiled().segment("default").unverified_email
    whole = value(subjects={"unverified_email_sign_in": True})
    whole["segments"] |= {
        "child": {"extends": "default", "subjects": {}},
        "strict": {"extends": "child", "subjects": {"unverified_email_sign_in": False}},
    }
    found = compile_document(parser.read(whole))
    told = {name: found.segment(name).unverified_email for name in found.segments}
    assert told == {"default": True, "child": True, "strict": False}
    (warning,) = warnings(found)
    pointer = "/segments/default/subjects/unverified_email_sign_in"
    assert (warning["pointer"], warning["code"]) == (pointer, "unverified_email_sign_in")
    assert "anybody may have typed" in warning["detail"]


def test_a_login_offers_what_a_segment_says_and_what_it_does_not_accept_is_warned_of():
    """Every type can be named; unsaid none is offered; a child inherits it."""
    assert get_args(document.TypeName) == TYPES
    assert compiled().segment("default").offers == frozenset()
    whole = value(login_enrollment={"offer": ["totp", "face"]})
    whole["segments"]["child"] = {
        "extends": "default",
        "factors": ["password", "totp", "recovery_code"],
        "login_enrollment": {"offer": ["recovery_codes", "face"]},
    }
    found = compile_document(parser.read(whole))
    assert found.segment("default").offers == {"totp", "face"}
    assert found.segment("child").offers == {"recovery_codes", "face"}
    (warning,) = warnings(found)
    assert (warning["pointer"], warning["code"]) == (
        "/segments/child/login_enrollment/offer/1",
        "never_offered",
    )


@pytest.mark.parametrize(
    ("segment", "registered", "pointer"),
    [
        (
            {"login": {"acr": AAL2, "layers": [["webauthn"]]}},
            NOW_REGISTERED,
            "/segments/default/login",
        ),
        ({"step_up": {"acr": Acr.AAL2_PHR.urn}}, NOW_REGISTERED, "/segments/default/step_up"),
        (
            {"login": {"acr": AAL2, "layers": [["password"], ["face"]]}},
            ALL,
            "/segments/default/login",
        ),
        ({"factors": ["password"]}, ALL, "/segments/default/login"),
        ({"raise": {"high": {"forbid": ["password"]}}}, ALL, "/segments/default/raise/high"),
        ({"raise": {"elevated": {"layers": [["face"]]}}}, ALL, "/segments/default/raise/elevated"),
        (ruled({"acr": Acr.AAL2_PHR.urn}), NOW_REGISTERED, "/segments/default/rules/r"),
    ],
)
def test_what_nobody_could_satisfy_is_refused(segment, registered, pointer):
    """A level or a layer out of reach, or reached by a biometric alone, is named."""
    with pytest.raises(BadInput) as error:
        require_satisfiable(compiled(**segment), registered)
    fault = error.value.faults[0]
    assert (fault.pointer, fault.code) == (pointer, "unsatisfiable")


def test_webauthn_satisfies_once_it_is_registered():
    """The same document is refused before and taken after the factor is there."""
    found = compiled(login={"acr": Acr.AAL2_PHR.urn, "layers": [["webauthn"]]})
    require_satisfiable(found, ALL)
    require_satisfiable(
        compiled(
            fallback=["totp"],
            login={"acr": AAL2, "layers": [["password"], ["totp"], ["face"]]},
        ),
        NOW_REGISTERED,
    )


@pytest.mark.parametrize("name", ["retail", "lender", "bank-psd2"])
def test_the_worked_policies_are_valid(name):
    """Each file of docs/policies can be satisfied by the factors of today."""
    text = (ROOT / "docs" / "policies" / f"{name}.yaml").read_text("utf-8")
    whole = compile_document(parse(text))
    require_satisfiable(whole, NOW_REGISTERED)
    assert f"policies/{name}.yaml" in (ROOT / "docs" / "policy.md").read_text("utf-8")
    assert whole.segment("default").deferred == (name == "bank-psd2")
    assert whole.segment("default").one_bucket == (name == "bank-psd2")
    assert whole.segment("default").session_idle == (300 if name == "bank-psd2" else None)
    assert whole.segment("default").cooldown_hours == 72
