"""Wrapped keys, and the key store that seals and opens fields with them."""
