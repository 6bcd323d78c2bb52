"""The database layer: engine, transactions and encrypted columns."""
