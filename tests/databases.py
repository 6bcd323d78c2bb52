"""Fresh databases for tests."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text


@contextmanager
def database_url(kind: str, directory: Path) -> Iterator[str]:
    """Give the URL of an empty database, and drop it afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{directory / 'lamina.db'}"
        return
    server = os.environ.get("LAMINA_TEST_POSTGRES_URL")
    if not server:
        if os.environ.get("CI"):
            pytest.fail("LAMINA_TEST_POSTGRES_URL is not set, and CI must test PostgreSQL")
        pytest.skip("LAMINA_TEST_POSTGRES_URL is not set, so PostgreSQL is not tested")
    name = f"lamina_{uuid.uuid4().hex}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield server.rsplit("/", 1)[0] + f"/{name}"
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()
