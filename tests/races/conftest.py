"""The service as the functional tests have it, and two processes of it on PostgreSQL."""

import os
from collections.abc import Iterator

import pytest

from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.settings import Settings
from tests.functional.conftest import (
    clock,
    contract,
    officers,
    opened_once,
    past,
    pasts,
    patient,
    service,
    settings,
    url,
)
from tests.races.people import World
from tests.races.processes import Pair, open_service

__all__ = [
    "clock",
    "contract",
    "officers",
    "opened_once",
    "past",
    "pasts",
    "patient",
    "service",
    "settings",
    "url",
]


@pytest.fixture(scope="session")
def long() -> bool:
    """Whether the long form runs."""
    return bool(os.environ.get("LAMINA_TEST_RACES"))


@pytest.fixture(scope="session")
def rounds() -> int:
    """How often each race is run: once, or as often as `LAMINA_TEST_RACES` says."""
    told = os.environ.get("LAMINA_TEST_RACES", "")
    return int(told) if told.isdigit() else (50 if told else 1)


@pytest.fixture(scope="session")
def arena(migrated, tmp_path_factory) -> Iterator["Arena"]:
    """One database and two processes for all rounds; each has a subject of its own."""
    directory = tmp_path_factory.mktemp("races")
    with migrated.url("postgresql", directory) as url:
        FileRoot.init(directory / "keys", KEY_CLASSES)
        settings = Settings(
            mode="development",
            database_url=url,
            root_key=f"file:{directory / 'keys'}",
            log_level="error",
            face_engine="off",
            smtp_url="console:",
            sms_url="console:",
        )
        container, app = open_service(settings)
        pair = Pair(settings)
        try:
            yield Arena(World(container, app), pair)
        finally:
            pair.close()
            container.store.engine.dispose()


class Arena:
    """Where races take place: this process makes people ready, two others race."""

    def __init__(self, world, pair) -> None:
        self.world, self.pair = world, pair
