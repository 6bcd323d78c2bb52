"""The processes of the chaos test: a reader, a writer, a job that will be killed."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from crypto.errors import CryptoError
from crypto.hashing import PasswordHasher
from service.app import Container, open_container
from service.domain.caller import Caller
from service.domain.errors import Conflict, LaminaError, Unavailable
from service.settings import Settings

CALLER = Caller(client=UUID(int=5), scopes=frozenset())
CLASSES = ("contact", "identity")


class LateClock:
    """The machine's clock, some time ahead."""

    def __init__(self, ahead: timedelta = timedelta()) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        """Return the shifted time."""
        return datetime.now(UTC) + self.ahead


def container(settings: Settings, ahead: timedelta = timedelta()) -> Container:
    """Open the house as a process of the service would."""
    while True:
        try:
            return open_container(settings, LateClock(ahead), PasswordHasher.unsafe_for_tests())
        except Unavailable:
            time.sleep(0.05)


def populate(settings: Settings, count: int) -> list[UUID]:
    """Register people whose profile counts from zero."""
    here, made = container(settings), []
    for start in range(0, count, 50):
        with here.store.transaction() as tx:
            for number in range(start, min(start + 50, count)):
                account = here.accounts.register(
                    tx, CALLER, {"username": f"person{number}"}, segment=None, profile={"n": 0}
                )
                made.append(account.id)
    here.store.engine.dispose()
    return made


def _line(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{text}\n".encode())
    os.close(handle)


def read_forever(settings: Settings, people: list[UUID], log: Path) -> None:
    """Read everybody in turn; write down every value that does not open or is not theirs."""
    here = container(settings)
    while True:
        for number, person in enumerate(people):
            try:
                with here.store.transaction(read=True) as tx:
                    found = here.accounts.view(tx, person)
            except Unavailable:
                time.sleep(0.05)
                continue
            except (CryptoError, LaminaError) as error:
                _line(log, f"failed {person} {type(error).__name__}")
                continue
            right = found["identifiers"] == {"username": f"person{number}"}
            _line(log, "read" if right else f"failed {person} holds another's name")


def write_forever(settings: Settings, people: list[UUID], log: Path) -> None:
    """Count every profile up; write down the number once it is committed."""
    here = container(settings)
    while True:
        for person in people:
            try:
                with here.store.transaction() as tx:
                    n = here.accounts.view(tx, person)["profile"]["n"] + 1
                    here.accounts.update(tx, CALLER, person, profile={"n": n})
            except Unavailable:
                time.sleep(0.05)
                continue
            except (CryptoError, LaminaError) as error:
                _line(log, f"failed {person} {type(error).__name__}")
                continue
            _line(log, f"wrote {person} {n}")
            time.sleep(0.002)


def rotate_forever(settings: Settings, log: Path) -> None:
    """Rotate KEKs and data keys over and over, as operators would; write down each new KEK."""
    here = container(settings)
    while True:
        try:
            _rotate(here, log)
        except Unavailable:
            time.sleep(0.05)


def _rotate(here: Container, log: Path) -> None:
    for key_class in CLASSES:
        for verb in ("generate", "promote"):
            try:
                with here.store.transaction() as tx:
                    getattr(here.key_admin, verb)(tx, "kek", key_class, "chaos")
            except Conflict:
                continue
            _line(log, f"{verb}d {key_class}")
        for kind, tier in (("rewrap", "kek"), ("reencrypt", None)):
            params = here.key_admin.params(kind, tier, key_class)
            with here.store.transaction() as tx:
                params |= here.key_admin.jobs.work(kind, params).prepare(tx)
            work = here.key_admin.jobs.work(kind, params)
            for _ in work.steps():
                time.sleep(0.01)
