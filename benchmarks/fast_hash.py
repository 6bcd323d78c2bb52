"""Argon2 as `make install FAST_HASH=1` builds it, against the stock wheel, in turn in one run.

    python -m benchmarks.fast_hash [--rounds N]

Two processes, one for each build, hash a password with the parameters of the service (19 MiB, two
passes) whenever they are asked. Of each hash the processor time counts.
"""

import argparse
import statistics
import subprocess
import sys

_CHILD = """
import sys, time
from crypto import bindings
if sys.argv[1] == "stock":
    for name in [name for name in sys.modules if name.startswith("_argon2_cffi_bindings")]:
        del sys.modules[name]
from crypto.hashing import PasswordHasher
hasher = PasswordHasher(concurrency=1)
hasher.hash("a password")
print(bindings.build(), flush=True)
for _ in sys.stdin:
    begun = time.process_time()
    hasher.hash("a password")
    print(time.process_time() - begun, flush=True)
"""


class Child:
    """A process with one of the builds."""

    def __init__(self, build: str) -> None:
        command = [sys.executable, "-c", _CHILD, build]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.build = self._line()

    def _line(self) -> str:
        if self._process.stdout is None:
            raise RuntimeError("the process has no output")
        return self._process.stdout.readline().strip()

    def hash(self) -> float:
        """Return the processor time of a hash in milliseconds."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return float(self._line()) * 1000

    def end(self) -> None:
        """End it."""
        self._process.communicate()


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    children = [Child("stock"), Child("installed")]
    found: list[list[float]] = [[], []]
    for _ in range(rounds):
        for child, times in zip(children, found, strict=True):
            times.append(child.hash())
    medians = [statistics.median(times) for times in found]
    for child, median in zip(children, medians, strict=True):
        print(f"{child.build:<12}{median:7.2f} ms")
        child.end()
    print(f"{'ratio':<12}{medians[1] / medians[0]:7.2f}")


if __name__ == "__main__":
    main()
