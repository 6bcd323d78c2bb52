"""Alembic migrations; they change the schema and never read what is sealed."""
