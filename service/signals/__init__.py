"""Risk signals: evidence about a session that can only raise requirements."""
