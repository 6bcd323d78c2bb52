"""Synthetic typing of several people at one text."""

from biometrics.behavior.layout import Layout

KEYS = 8
LAYOUT = Layout.keystroke(KEYS)
