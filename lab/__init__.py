"""Training, synthetic people, data sets and evaluation: nothing of it serves a login."""
