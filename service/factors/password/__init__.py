"""The memorized secret."""
