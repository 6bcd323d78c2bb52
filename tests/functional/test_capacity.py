"""`lamina doctor` on what a deployment needs together: connections of PostgreSQL."""

import pytest

from crypto import bindings
from service.app import open_container
from service.cli.capacity import connections, hashes
from service.settings import Settings


@pytest.fixture
def told(settings, clock):
    """Return what the check says of settings; nothing on SQLite."""
    opened = []

    def ask(**changes):
        container = open_container(settings.model_copy(update=changes), clock)
        opened.append(container)
        with container.store.transaction(read=True) as tx:
            return [(item.ok, item.state, item.mend) for item in connections(container, tx)]

    yield ask
    for container in opened:
        container.store.engine.dispose()


def test_what_all_processes_open_is_compared_with_what_is_allowed(told, settings):
    """Workers and `lamina worker` together; a finding names the number that fits."""
    if settings.sqlite:
        assert told(workers=200) == []
        return
    ((ok, state, mend),) = told(workers=3, database_connections=10)
    assert (ok, mend) == (True, "")
    assert state.startswith(
        "4 processes open up to 40 connections (10 each), and PostgreSQL allows"
    )
    ((ok, _, mend),) = told(workers=200, database_connections=10)
    assert ok is False
    assert mend.startswith("set LAMINA_DATABASE_CONNECTIONS=")
    assert mend.endswith(", or raise max_connections")


def test_behind_a_pooler_the_sum_is_told_and_no_finding(told, settings, monkeypatch):
    """It is the pooler that connects to the server."""
    monkeypatch.setattr("service.cli.capacity._pooled", lambda _tx: True)
    found = told(workers=200, database_connections=10)
    assert [ok for ok, *_ in found] == ([] if settings.sqlite else [None])


@pytest.mark.parametrize(
    ("workers", "given", "each"),
    [(1, 0, 32), (2, 0, 26), (4, 0, 16), (7, 0, 10), (64, 0, 4), (4, 50, 50)],
)
def test_connections_are_divided_among_processes(workers, given, each):
    """Eighty for all, 32 at most and 4 at least for each, unless the number is set."""
    found = Settings(mode="development", workers=workers, database_connections=given)
    assert found.connections == each


def test_the_pool_opens_no_more_than_that(settings, clock):
    """On PostgreSQL; what is above the kept ones is closed after use."""
    changed = settings.model_copy(update={"database_connections": 5})
    container = open_container(changed, clock)
    pool = container.store.engine.pool
    if not settings.sqlite:
        assert (pool.size(), pool._max_overflow) == (5, 0)
    container.store.engine.dispose()
    assert settings.model_copy(update={"workers": 3}).connections == 20


@pytest.mark.parametrize(
    ("build", "fits", "words"),
    [
        (bindings.FAST, True, "the x86-64-v3 build of Argon2 runs"),
        (bindings.STOCK, True, "FAST_HASH=1 makes one that is faster here"),
        (bindings.STOCK, False, "FAST_HASH=1 makes one that needs AVX2"),
    ],
)
def test_the_build_that_hashes_is_told(monkeypatch, build, fits, words):
    """With what another would bring; neither is a finding."""
    monkeypatch.setattr(bindings, "build", lambda: build)
    monkeypatch.setattr(bindings, "suits", lambda _found: fits)
    (found,) = hashes(Settings(mode="development"))
    assert (found.ok, words in found.state) == (True, True)
