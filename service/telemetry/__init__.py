"""Structured logs that cannot hold a secret, and metrics."""
