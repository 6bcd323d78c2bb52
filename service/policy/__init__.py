"""Authentication policy: facts in, one decision out."""
