"""Attempt counters in the database, shared by every path and alias of an account."""
