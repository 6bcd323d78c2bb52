"""Alembic migrations; they change the schema and never read sealed values."""
