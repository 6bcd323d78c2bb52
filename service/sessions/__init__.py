"""Sessions: stored evidence, from which the level is computed anew at each read."""
