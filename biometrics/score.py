"""The result of a biometric comparison: a calibrated log-likelihood ratio with its reasons."""

from dataclasses import dataclass


@dataclass(kw_only=True, frozen=True, slots=True)
class Score:
    """The score of one comparison.

    Args:
        llr: Natural logarithm of the likelihood ratio, genuine over impostor.
        quality: 0 (useless) to 1 (as good as the model can use).
        contributions: Names and shares in nats, the largest first.
        model_version: Identifier of the model, so that old decisions can be interpreted.
        fmr_upper: The 95 % upper bound of the false match rate at this score; None if it was not
            measured.
    """

    llr: float
    quality: float
    contributions: tuple[tuple[str, float], ...]
    model_version: str
    fmr_upper: float | None = None
