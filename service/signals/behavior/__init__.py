"""Behavioral samples: taken in with consent, learned from only after a strong login."""
