"""Facts in, one decision out."""
