"""Starts a peer, does each of its operations for several people, and looks at what is left.

    python -m benchmarks.http.peers                    # which are installed
    python -m benchmarks.http.peers better-auth --check

Exits with 1 if an answer is wrong or something of the peer is left behind, with 2 if it is not
installed or does not start.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from benchmarks.http import procs
from benchmarks.http.connection import Connection
from benchmarks.http.registry import PEERS, installed, peer
from benchmarks.http.room import OwnRoom
from benchmarks.http.target import Lacking, Operation, Target, Wrong

CONNECTIONS: Final = 4


def check(target: Target, persons: int, place: Path) -> list[str]:
    """Do every operation for a number of people each, four at once; return what is left behind.

    Each operation has people of its own, since a TOTP code is good for one sign-in. Raises Wrong
    and Lacking.
    """
    room = OwnRoom(place)
    found: list[int] = []
    try:
        target.start(room, persons * len(target.operations))
        for number, (name, operation) in enumerate(target.operations.items()):
            first = number * persons
            numbers = range(first, first + persons)
            slices = [numbers[start::CONNECTIONS] for start in range(CONNECTIONS)]
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                done = sum(pool.map(lambda some, it=operation: _do(target, it, some), slices))
            print(f"{target.name}: {name}: {done} answers are right", flush=True)
        found = procs.tree([*target.processes(), room.postgres_process, room.redis_process])
    finally:
        target.stop()
        room.close()
    left = [f"process {pid}" for pid in found if procs.runs(pid)]
    return left + ([str(place)] if place.exists() else [])


def _do(target: Target, operation: Operation, people: Sequence[int]) -> int:
    """Do an operation for people in turn over one connection; return how often it was done."""
    connection = Connection(target.port)
    target.enter(connection)
    done = 0
    for person in people:
        prepared = operation.prepare(connection, person) if operation.prepare else None
        for _ in range(2 if operation.lasting else 1):
            prepared = operation.run(connection, person, prepared)
            done += 1
    connection.close()
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a peer, or say which are installed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", nargs="?", help=f"one of {', '.join(PEERS)}")
    parser.add_argument("--check", action="store_true", help="do every operation once for each")
    parser.add_argument("--persons", type=int, default=20, help="people of each operation")
    given = parser.parse_args(arguments)
    if given.name is not None and given.name not in PEERS:
        parser.error(f"{given.name} is not one of {', '.join(PEERS)}")
    if not given.check or given.name is None:
        there = installed()
        for name in [given.name] if given.name else PEERS:
            print(f"{name}: {'installed' if name in there else 'not installed'}")
        return 0
    # A polite end reaches the `finally` that leaves nothing behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        with tempfile.TemporaryDirectory(prefix="lamina-peer-") as folder:
            Path(folder).chmod(0o711)
            left = check(peer(given.name), given.persons, Path(folder) / "room")
    except Lacking as error:
        print(f"{given.name}: {error}", file=sys.stderr)
        return 2
    except Wrong as error:
        print(f"{given.name}: wrong: {error}", file=sys.stderr)
        return 1
    for what in left:
        print(f"{given.name}: left behind: {what}", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
