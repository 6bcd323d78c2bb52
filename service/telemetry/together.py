"""Sums of the counters of all workers of a server.

Each scrape reaches another worker, so the counters of a single one would jump back and forth. So
each worker writes its counters to a file every second, in a directory created by the server, and
the worker that is scraped adds them up. A worker that replaces a dead one continues from its file.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from service.telemetry import logs

_EVERY: Final = 1.0
_ADDED: Final = frozenset({"counter", "histogram", "summary"})
_CREATED: Final = "_created"

Key = tuple[str, tuple[tuple[str, str], ...]]
Counts = dict[str, dict[Key, float]]
"""Values by family, then by the name of the sample and its labels."""


class Together:
    """The counters of one worker, and the sums of all.

    Args:
        directory: Directory of the files, readable by this server's workers only.
        workers: Number of workers.
        registry: This worker's metrics. Those that are not counters are shown unchanged.

    `number` is the slot of this worker, from 0; it differs from that of any other.
    """

    def __init__(self, directory: Path, workers: int, registry: CollectorRegistry) -> None:
        self._directory = directory
        self._registry = registry
        self.number, self._handle = self._place(workers)
        self._name = f"{self.number}.json"
        self._before = self._read(directory / self._name)

    def _place(self, workers: int) -> tuple[int, int]:
        """Take the first slot without a living worker; the lock ends with its process."""
        # A worker that is stopping may still hold its slot.
        for number in range(2 * workers):
            handle = os.open(
                self._directory / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
                continue
            return number, handle
        raise OSError("no place among the workers of this server")

    def start(self) -> None:
        """Write the counters every second, in a thread."""
        threading.Thread(target=self._loop, name="lamina-counts", daemon=True).start()

    def end(self) -> None:
        """Release the slot to another worker, which continues from the written counters."""
        os.close(self._handle)

    def write(self) -> None:
        """Write the counters to the file."""
        rows = [
            [family, name, labels, value]
            for family, samples in self._own().items()
            for (name, labels), value in samples.items()
        ]
        path = self._directory / self._name
        other = path.with_suffix(".new")
        other.write_bytes(orjson.dumps(rows))
        other.replace(path)

    def collect(self) -> Iterator[Metric]:
        """Return the metrics of the registry, with counters summed over all workers."""
        total = self._own()
        for path in sorted(self._directory.glob("*.json")):
            if path.name != self._name:
                _add(total, self._read(path))
        for family in self._registry.collect():
            if family.type not in _ADDED:
                yield family
                continue
            shown = Metric(family.name, family.documentation, family.type, family.unit)
            for (name, labels), value in total.get(family.name, {}).items():
                shown.add_sample(name, dict(labels), value)
            yield shown

    def _own(self) -> Counts:
        found: Counts = {}
        _add(found, self._before)
        _add(
            found,
            {
                family.name: {
                    (sample.name, tuple(sample.labels.items())): sample.value
                    for sample in family.samples
                }
                for family in self._registry.collect()
                if family.type in _ADDED
            },
        )
        return found

    def _loop(self) -> None:
        pause = threading.Event()
        while not pause.wait(_EVERY):
            try:
                self.write()
            except OSError as error:
                logs.get().warning("counts_not_shared", **logs.kind(error))

    @staticmethod
    def _read(path: Path) -> Counts:
        found: Counts = {}
        try:
            rows: list[tuple[str, str, list[tuple[str, str]], float]] = orjson.loads(
                path.read_bytes()
            )
        except FileNotFoundError:
            return found
        for family, name, labels, value in rows:
            key = (name, tuple((label, text) for label, text in labels))
            found.setdefault(family, {})[key] = value
        return found


def _add(total: Counts, more: Counts) -> None:
    for family, samples in more.items():
        known = total.setdefault(family, {})
        for key, value in samples.items():
            if key not in known:
                known[key] = value
            elif key[0].endswith(_CREATED):
                known[key] = min(known[key], value)
            else:
                known[key] += value
