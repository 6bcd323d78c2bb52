"""Logs that cannot hold a secret, and metrics."""
