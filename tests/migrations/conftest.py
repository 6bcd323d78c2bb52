"""Databases for tests of migrations: empty, or of the revision that was released first."""

import pytest

from service.store import migrate
from service.store.engine import make_engine
from tests.databases import database_url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request, tmp_path):
    """An engine over an empty database."""
    with database_url(request.param, tmp_path) as url:
        made = make_engine(url)
        yield made
        made.dispose()


@pytest.fixture
def released(empty):
    """An engine over a database of revision 0009."""
    migrate.upgrade(empty, "0009")
    return empty
