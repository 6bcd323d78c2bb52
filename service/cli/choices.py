"""Choices of options, repeated here so that `--help` need not import the features.

A test compares each with its feature.
"""

from typing import Final

TIERS: Final = ("root", "kek", "data", "index", "signing")
SUBJECT_CLASSES: Final = (
    "contact",
    "identity",
    "factor",
    "biometric",
    "behavior",
    "transaction",
)
FACTORS: Final = ("webauthn", "password", "totp", "face", "recovery_code")
LAYOUTS: Final = (
    "cmu",
    "meu",
    "hold-and-tap",
    "taps",
    "mobikey",
    "mobikey-1",
    "mobikey-2",
    "balabit",
)
