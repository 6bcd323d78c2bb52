"""Sealed responses to requests with an Idempotency-Key."""
