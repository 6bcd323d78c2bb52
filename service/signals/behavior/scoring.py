"""Compare the features of a sample with the stored profiles: nats with reasons."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from biometrics.behavior.features import NotScored, Scripted, Vector
from biometrics.behavior.layout import WORDS
from biometrics.behavior.model import SignalModel
from biometrics.behavior.scorer import FEWEST, ready, score
from service.risk.fusion import Availability
from service.risk.model import Assessment, Reason
from service.signals.behavior.features import KEYSTROKE, TOUCH, Read
from service.signals.behavior.profile import Kept

NAME: Final = "behavior"
LOWEST: Final = -6.0
HIGHEST: Final = 5.0
"""Bounds of what the data can prove, in nats."""
REPLAYED: Final = -4.0
"""Nats of a replay, a hard finding that nothing offsets."""
SCRIPTED: Final = -1.5
"""Nats of a scripted pointer: ln of a rate of 1 in 100 of a person's own samples (measured: 2 in
10,000, of 10 people) over an assumed share of attackers of 1 in 22."""
LEAST_WITHHELD: Final = -2.0
_ANYBODY: Final = 0.5
"""Assumed share of impostors who send no sample: half, as with programs and pasted passwords."""
_ENOUGH: Final = 20


@dataclass(kw_only=True, frozen=True, slots=True)
class SignalScore:
    """The score of one signal.

    Args:
        nats: Its log-likelihood ratio; 0 if it gives no evidence.
        samples: Number of samples in its profile.
        scored: Whether it was compared with a profile.
        withheld: Whether it is usual here and was not sent.
        scripted: Whether a program generated it, whatever the profile.
    """

    nats: float
    reasons: tuple[Reason, ...]
    samples: int = 0
    scored: bool = False
    withheld: bool = False
    scripted: bool = False


Parts = Mapping[str, SignalScore]
Models = Mapping[str, SignalModel]


def make_reason(code: str, detail: str, nats: float = 0.0) -> Reason:
    """Return a reason of this signal."""
    return Reason(code, NAME, round(nats, 3), detail)


def silent(signal: str, code: str, detail: str, samples: int = 0) -> SignalScore:
    """Return a score without evidence, with the reason."""
    return SignalScore(
        nats=0.0, reasons=(make_reason(f"{signal}_{code}", detail),), samples=samples
    )


def compare(
    signal: str, found: Vector | NotScored, kept: Kept | None, model: SignalModel | None
) -> SignalScore:
    """Compare one part of a sample with its profile."""
    samples = _samples(kept)
    if isinstance(found, NotScored):
        return _unfit(signal, found, samples)
    if model is None:
        return silent(signal, "not_scored", "the active model does not know this signal", samples)
    against = ready(kept.profile, model) if kept else None
    if kept is None or against is None:
        detail = f"the profile is learning: {samples} of {FEWEST} samples"
        return silent(signal, "learning", detail, samples)
    if kept.profile.layout != found.layout:
        return silent(signal, "length_differs", "the text has another number of keys", samples)
    result = score(against, found.row)
    reasons = [make_reason(_code(signal, text), text, nats) for text, nats in result.contributions]
    nats = result.llr
    beyond = nats - sum(share for _, share in result.contributions)
    if abs(beyond) > 1e-6:  # noqa: PLR2004 - rounding
        detail = f"held to what {samples} samples and the model can prove"
        reasons.append(make_reason(f"{signal}_clipped", detail, beyond))
    if kept.parted and nats > 0:
        detail = "the profile has drifted from its beginning and is no evidence until a reset"
        reasons.append(make_reason(f"{signal}_parted", detail, -nats))
        nats = 0.0
    return SignalScore(nats=nats, reasons=tuple(reasons), samples=samples, scored=True)


def _unfit(signal: str, found: NotScored, samples: int) -> SignalScore:
    """Return the score of an unfit sample: none, unless a program generated it."""
    if not isinstance(found, Scripted):
        return silent(signal, found.code, found.detail, samples)
    reason = make_reason(f"{signal}_{found.code}", found.detail, SCRIPTED)
    return SignalScore(nats=SCRIPTED, reasons=(reason,), samples=samples, scripted=True)


def withheld(signal: str, samples: int, absent: int) -> SignalScore:
    """Return the evidence of a missing usual sample: weaker, the more often it is missing.

    It is the person's own share of logins without one (Laplace estimate) over that of impostors.
    """
    own = (absent + 1) / (min(samples, _ENOUGH) + absent + 2)
    nats = max(LEAST_WITHHELD, min(0.0, math.log(own / _ANYBODY)))
    reason = make_reason(f"{signal}_withheld", "a sample is usual here and was not sent", nats)
    return SignalScore(nats=nats, reasons=(reason,), samples=samples, withheld=True)


def compare_all(found: Read, kept: Mapping[str, Kept], models: Models) -> dict[str, SignalScore]:
    """Return the score of each part of a sample; key times count only once."""
    parts: dict[str, SignalScore] = {}
    # A touch includes the times of the keys.
    for signal in sorted(found, key=lambda name: name != TOUCH):
        mine = kept.get(signal)
        if signal == KEYSTROKE and TOUCH in parts and parts[TOUCH].scored:
            detail = "its times are counted with the touch"
            samples = _samples(mine)
            parts[signal] = silent(signal, "within_touch", detail, samples)
        else:
            parts[signal] = compare(signal, found[signal], mine, models.get(signal))
    return parts


def assessment(parts: Parts, *, replay: bool) -> Assessment:
    """Combine the scores of all parts to an assessment."""
    reasons = [reason for part in parts.values() for reason in part.reasons]
    nats = max(LOWEST, min(sum(part.nats for part in parts.values()), HIGHEST))
    if replay:
        detail = "its times or its movement were accepted before"
        reasons.append(make_reason("behavior_replayed", detail, REPLAYED))
        # Evidence for the owner does not count in a recording.
        nats = max(LOWEST, min(nats, 0.0) + REPLAYED)
    seen = Availability.SCORED
    if any(part.withheld for part in parts.values()):
        seen = Availability.WITHHELD
    elif not replay and not any(part.scored or part.scripted for part in parts.values()):
        seen = Availability.NO_HISTORY
    return Assessment(
        signal=NAME,
        llr=nats,
        reasons=tuple(reasons),
        enough_history=any(part.scored for part in parts.values()),
        hard=replay,
        seen=seen,
    )


def _samples(kept: Kept | None) -> int:
    return kept.profile.total if kept else 0


def _code(signal: str, text: str) -> str:
    """Return the reason code for a text of the scorer."""
    for kind, words in WORDS.items():
        if text.startswith(words):
            return f"{signal}_{kind}"
        if text.startswith(f"rhythm of {words}"):
            return f"{signal}_rhythm_{kind}"
    return f"{signal}_overall"
