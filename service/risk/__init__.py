"""Risk signals: their port, fusion of their evidence, and the guarded runner."""
