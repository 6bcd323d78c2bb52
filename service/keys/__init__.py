"""Rows of wrapped keys, and the vault that seals and opens fields with them."""
