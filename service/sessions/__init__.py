"""Sessions: stored evidence, from which each read computes the current level."""
