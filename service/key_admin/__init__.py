"""What operators do with keys: every command and route of the key life cycle, in one place."""
