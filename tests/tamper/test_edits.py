"""Whatever is written into the database by SQL alone is refused or reported."""

import sys
from collections.abc import Iterator

import pytest

from crypto.hashing import PasswordHasher
from crypto.keyring import KEY_CLASSES
from crypto.providers.file import FileRoot
from service.app import open_container
from service.domain.clock import FrozenClock
from service.settings import Settings
from tests.functional.conftest import START, Service
from tests.tamper.acts import Edit
from tests.tamper.edits import EDITS
from tests.tamper.world import World, build

OUTCOMES: list[tuple[str, Edit, str]] = []


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request, migrated, tmp_path_factory) -> Iterator[World]:
    """One of everything, on each database."""
    place = tmp_path_factory.mktemp("tamper")
    with migrated.url(request.param, place) as url:
        FileRoot.init(place / "keys", KEY_CLASSES)
        settings = Settings(
            mode="development",
            database_url=url,
            root_key=f"file:{place / 'keys'}",
            log_level="error",
            face_engine="off",
            smtp_url="console:",
            sms_url="console:",
        )
        clock = FrozenClock(START)
        container = open_container(settings, clock, PasswordHasher.unsafe_for_tests())
        yield build(Service(container, clock))
        container.store.engine.dispose()


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Print what became of each edit."""
    yield
    lines = [
        f"{database:<11} {edit.kind:<10} {edit.table:<16} {edit.what:<34} {outcome}"
        for database, edit, outcome in OUTCOMES
    ]
    refused = sum(outcome.startswith("refused") for _, _, outcome in OUTCOMES)
    lines.append(f"{len(OUTCOMES)} edits, all reported, {refused} refused where they were of use")
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    OUTCOMES.clear()


def test_nothing_is_found_where_nothing_was_edited(world):
    """The comparison raises no false alarm."""
    found = world.service.container.comparing.all()
    assert found.found == []
    assert found.rows > 40
    world.restore()


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: f"{edit.kind}-{edit.table}-{edit.what}")
def test_an_edit_is_refused_or_reported(world, edit):
    """It is reported by the next comparison; where it could be of use, it is refused there."""
    edit.do(world)
    try:
        refused = edit.use(world) if edit.use else False
        found = world.service.container.comparing.all().found
    finally:
        world.restore()
    assert refused or edit.use is None, "it was of use"
    assert edit.table in {item["table"] for item in found}, found
    OUTCOMES.append(
        (world.engine.dialect.name, edit, "refused, reported" if refused else "reported")
    )
