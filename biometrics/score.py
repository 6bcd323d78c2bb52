"""What every biometric comparison gives: a calibrated log-likelihood ratio and its reasons."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Score:
    """One comparison.

    Args:
        llr: Natural logarithm of the likelihood ratio, genuine over impostor.
        quality: 0 (useless) to 1 (as good as the model can use).
        contributions: Names and shares in nats, the largest first.
        model_version: What scored, so that old decisions can be read.
        fmr_upper: The 95 % upper bound of how often strangers score as well; None where it was not
            measured.
    """

    llr: float
    quality: float
    contributions: tuple[tuple[str, float], ...]
    model_version: str
    fmr_upper: float | None = None
