"""Behavioral biometrics: typing, touch, motion and pointer, scored as log-likelihood ratios."""
