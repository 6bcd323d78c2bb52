"""Training, synthetic people, data sets and evaluation; no part of the login service."""
