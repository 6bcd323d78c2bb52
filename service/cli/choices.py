"""What options offer, written down again: to ask the features would import them for `--help`.

A test holds each equal to what its feature knows.
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
