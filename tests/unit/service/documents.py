"""Small policies of one segment, and facts, for tests of what is decided by them."""

from dataclasses import replace
from pathlib import Path

from service.domain.assurance import Acr
from service.policy.model import parser
from service.policy.model.compiler import compile_document
from service.policy.model.decision import Facts
from service.policy.model.document import FACTORS
from tests.policies import NOW, evidence

ROOT = Path(__file__).parents[3]
ALL = frozenset(FACTORS)
NOW_REGISTERED = ALL - {"webauthn"}
AAL1, AAL2 = Acr.AAL1.urn, Acr.AAL2.urn


class Always:
    """Chooses the first of everything, so that evidence is fresh."""

    @staticmethod
    def choice(values):
        return values[0]

    @staticmethod
    def random():
        return 0.0


def shown(*factors):
    return tuple(evidence(Always, factor) for factor in factors)


def value(**segment):
    """Return a document with one segment, as JSON."""
    whole = {
        "login": {"acr": AAL2, "layers": [["password"], ["totp", "recovery_code"]]},
        "step_up": {"acr": AAL2},
        "enrollment": {"acr": "highest"},
        "recovery": {"acr": AAL1, "layers": [["recovery_code"]]},
    }
    bands = {"elevated": -2, "high": -4, "critical": -7}
    return {
        "format": 1,
        "name": "test",
        "bands": bands,
        "segments": {"default": whole | segment},
    }


def compiled(**segment):
    return compile_document(parser.read(value(**segment)))


def facts(*evidence_shown, **changes):
    found = Facts(
        purpose="login",
        segment="default",
        evidence=evidence_shown,
        enrolled=ALL,
        assessments=(),
        requested=Acr.NONE,
        max_age=None,
        now=NOW,
    )
    return replace(found, **changes)


def ruled(then, when=None, **more):
    rule = {"id": "r", "then": then} | ({"when": when} if when else {}) | more
    return {"rules": [rule]}


def leaf(field, op, operand):
    return {"field": field, "op": op, "value": operand}
