"""The database: engine, unit of work, and encrypted columns."""
