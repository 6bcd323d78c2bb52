"""Known devices, which completed a login before, and their tokens."""
