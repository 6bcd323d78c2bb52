"""Risk signals: their interface, the fusion of their evidence, and the isolating runner."""
