"""Attempt counters in the database, shared by all paths and aliases of an account."""
