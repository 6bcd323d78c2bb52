"""Behavior: how a person types, set against a sealed profile that only strong logins teach."""
