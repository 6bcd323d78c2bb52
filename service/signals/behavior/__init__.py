"""Behavioral samples: held in the flow with consent, kept only after a strong login."""
