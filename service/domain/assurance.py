"""Evidence and the authenticator assurance level it reaches (NIST SP 800-63B-4)."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import ClassVar, Final, TypedDict
from uuid import UUID


class Kind(StrEnum):
    """The kind of proof a factor gives: something known, held, or inherent to the person."""

    KNOWLEDGE = "knowledge"
    POSSESSION = "possession"
    INHERENCE = "inherence"


class Acr(IntEnum):
    """The authentication context classes, in ascending order."""

    NONE = 0
    AAL1 = 1
    AAL2 = 2
    AAL2_PHR = 3

    @property
    def urn(self) -> str:
        """Return the value of the `acr` claim; empty for none."""
        return _URNS.get(self, "")

    @property
    def aal(self) -> int:
        """Return the number of the authenticator assurance level."""
        return min(int(self), 2)


_URNS: Final = {
    Acr.AAL1: "urn:lamina:acr:aal1",
    Acr.AAL2: "urn:lamina:acr:aal2",
    Acr.AAL2_PHR: "urn:lamina:acr:aal2:phr",
}
_BY_URN: Final = {urn: acr for acr, urn in _URNS.items()} | {"phr": Acr.AAL2_PHR}


def parse_acr(values: str) -> Acr:
    """Return the strictest context class named in a space-separated `acr_values`.

    Raises:
        ValueError: A value is not a known context class.
    """
    found = [_BY_URN.get(value) for value in values.split()]
    if not found or None in found:
        raise ValueError("acr_values names an unknown class; known: " + " ".join(_BY_URN))
    return max(acr for acr in found if acr is not None)


class EvidenceJson(TypedDict):
    """Evidence as JSON values, in the form of stored decisions."""

    subject: str
    flow: str
    factor: str
    authenticator: str
    kind: str
    amr: list[str]
    at: str
    user_verified: bool
    phishing_resistant: bool
    endpoint_authenticated: bool
    llr: float | None


@dataclass(kw_only=True, frozen=True, slots=True)
class Evidence:
    """The result of one verified factor: subject, authenticator and time."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    """A member that is unknown here might limit what is proven, so it is refused."""

    subject: UUID
    flow: str
    factor: str
    authenticator: UUID
    kind: Kind
    amr: tuple[str, ...]
    at: datetime
    user_verified: bool = False
    phishing_resistant: bool = False
    endpoint_authenticated: bool = False
    llr: float | None = None

    def to_json(self) -> EvidenceJson:
        """Return the members as JSON values, in the form of stored decisions."""
        return {
            "subject": str(self.subject),
            "flow": self.flow,
            "factor": self.factor,
            "authenticator": str(self.authenticator),
            "kind": self.kind.value,
            "amr": list(self.amr),
            "at": self.at.isoformat(),
            "user_verified": self.user_verified,
            "phishing_resistant": self.phishing_resistant,
            "endpoint_authenticated": self.endpoint_authenticated,
            "llr": self.llr,
        }

    @classmethod
    def from_json(cls, value: EvidenceJson) -> "Evidence":
        """Build the evidence from the output of `to_json`; raises TypeError for more members."""
        if unknown := value.keys() - EvidenceJson.__annotations__.keys():
            raise TypeError(f"evidence has {len(unknown)} unknown members")
        return cls(
            subject=UUID(value["subject"]),
            flow=value["flow"],
            factor=value["factor"],
            authenticator=UUID(value["authenticator"]),
            kind=Kind(value["kind"]),
            amr=tuple(value["amr"]),
            at=datetime.fromisoformat(value["at"]),
            user_verified=value.get("user_verified", False),
            phishing_resistant=value.get("phishing_resistant", False),
            endpoint_authenticated=value.get("endpoint_authenticated", False),
            llr=value.get("llr"),
        )


@dataclass(frozen=True, slots=True)
class Achieved:
    """The assurance level reached by a set of evidence, with the oldest evidence it depends on."""

    acr: Acr
    amr: tuple[str, ...]
    auth_time: datetime | None


_SECOND: Final = frozenset({"totp", "recovery_code", "webauthn"})


def _resting(evidence: Sequence[Evidence]) -> tuple[Acr, list[Evidence]]:
    """Return the highest level and the evidence it depends on, the newest of each factor."""
    fresh: dict[str, Evidence] = {}
    for item in sorted(evidence, key=lambda item: item.at):
        fresh[item.factor] = item
    password = fresh.get("password")
    held = [fresh[name] for name in fresh if name in _SECOND]
    verified = [item for item in held if item.user_verified and item.phishing_resistant]
    bound = [item for item in held if item.phishing_resistant]
    # A biometric counts only with a physical authenticator whose endpoint is authenticated.
    face = fresh.get("face")
    face = face if face and face.endpoint_authenticated else None
    if verified:
        return Acr.AAL2_PHR, [max(verified, key=lambda item: item.at)]
    if password and bound:
        return Acr.AAL2_PHR, [password, bound[-1]]
    first = password or face
    if first and held:
        return Acr.AAL2, [first, max(held, key=lambda item: item.at)]
    single = [item for item in (*held, password) if item]
    return (Acr.AAL1, [max(single, key=lambda item: item.at)]) if single else (Acr.NONE, [])


def _amr(evidence: Iterable[Evidence]) -> tuple[str, ...]:
    items = list(evidence)
    values = dict.fromkeys(value for item in items for value in item.amr)
    # A biometric is a layer, not a factor of the level (SP 800-63B-4 section 2.2.1).
    counted = {item.kind for item in items if item.kind is not Kind.INHERENCE}
    if len(counted) > 1:
        values["mfa"] = None
    return tuple(values)


def achieved(evidence: Iterable[Evidence], now: datetime, max_age: int | None = None) -> Achieved:
    """Compute the level from the evidence alone.

    Args:
        evidence: All verified evidence of one subject.
        now: The current time.
        max_age: Evidence older than this many seconds is ignored.
    """
    counted = [
        item for item in evidence if max_age is None or (now - item.at).total_seconds() <= max_age
    ]
    acr, resting = _resting(counted)
    oldest = min((item.at for item in resting), default=None)
    return Achieved(acr, _amr(counted), oldest)


AAL1_LIFE: Final = timedelta(days=30)
AAL2_LIFE: Final = timedelta(hours=24)
SKEW: Final = timedelta(minutes=5)
"""Maximum difference between the clocks of two processes."""


@dataclass(frozen=True, slots=True)
class CurrentAssurance:
    """The value of evidence at a point in time.

    Args:
        evidence: Evidence that may still count for a level.
        level: The level that it reaches.
    """

    evidence: tuple[Evidence, ...]
    level: Achieved


def lasting(acr: Acr) -> timedelta:
    """Return how long evidence supports a level (SP 800-63B-4 sections 2.1.3 and 2.2.3)."""
    return AAL2_LIFE if acr >= Acr.AAL2 else AAL1_LIFE


def recent(
    evidence: Iterable[Evidence], acr: Acr, now: datetime, max_age: int | None = None
) -> tuple[Evidence, ...]:
    """Return the evidence that is recent enough to support a level.

    Args:
        evidence: Verified evidence.
        acr: The level to support.
        now: The current time.
        max_age: Maximum age in seconds, if shorter than that of the level.
    """
    bound = lasting(acr)
    if max_age is not None:
        bound = min(bound, timedelta(seconds=max_age))
    return tuple(item for item in evidence if now - item.at <= bound)


def current_assurance(
    evidence: Iterable[Evidence],
    now: datetime,
    active: Collection[UUID],
    max_age: int | None = None,
) -> CurrentAssurance:
    """Return the evidence still valid now and the level it reaches.

    No other function computes a person's level.

    Args:
        evidence: Verified evidence of one subject.
        now: The current time.
        active: The authenticators of the subject that are active now; evidence of one that was
            revoked or replaced since is ignored.
        max_age: Maximum age of evidence in seconds, if shorter than that of the level.
    """
    standing = [item for item in evidence if item.authenticator in active and item.at - now <= SKEW]
    older = recent(standing, Acr.AAL1, now, max_age)
    fresh = achieved(recent(older, Acr.AAL2, now), now)
    if fresh.acr >= Acr.AAL2:
        return CurrentAssurance(older, fresh)
    level = achieved(older, now)
    return CurrentAssurance(older, Achieved(min(level.acr, Acr.AAL1), level.amr, level.auth_time))
