"""Append leaves in the deciding transaction, chain them afterwards, and verify the chain."""
