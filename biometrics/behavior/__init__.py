"""Behavior: timings, touch, motion and pointer scored as calibrated log-likelihood ratios."""
