"""Installs the peers of the HTTP benchmark, each in `.peers/NAME/`, by locks with hashes.

    python -m benchmarks.http.peers.install            # all
    python -m benchmarks.http.peers.install better-auth

A peer in Python gets an environment of its own by `requirements.lock`, one for node its
`node_modules` by `package-lock.json`; no script of a package runs. A peer that fails is named with
the end of what the installer said, the others are installed all the same, and the command exits
with 1.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.http.peers.common import APPS
from benchmarks.http.registry import FOLDER, MARK, PEERS

PYTHON_LOCK: Final = "requirements.lock"
NODE_LOCK: Final = "package-lock.json"
_SHOWN: Final = 800


class Failed(Exception):
    """A peer could not be installed; says what its installer said."""


def lock(name: str) -> Path:
    """Return the file that names every package of a peer with its hash."""
    python = APPS / name / PYTHON_LOCK
    return python if python.exists() else APPS / name / NODE_LOCK


def install(name: str, folder: Path | None = None) -> bool:
    """Install a peer in a folder, `.peers` by default, unless it is there by its lock of today.

    Returns whether it was installed.

    Raises Failed; what is there of it then is not taken for installed.
    """
    home = (folder or FOLDER) / name
    digest = hashlib.sha256(lock(name).read_bytes()).hexdigest()
    mark = home / MARK
    if mark.is_file() and mark.read_text("utf-8") == digest:
        return False
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    if lock(name).name == PYTHON_LOCK:
        _run([sys.executable, "-m", "venv", str(home)], home)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "-q"]
        pip += ["--disable-pip-version-check", "--require-hashes", "-r", str(lock(name))]
        _run(pip, home)
    else:
        if shutil.which("npm") is None:
            raise Failed("it needs node and npm")
        for file in ("package.json", NODE_LOCK):
            shutil.copy(APPS / name / file, home)
        _run(["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], home)
    mark.write_text(digest, "utf-8")
    return True


def _run(command: Sequence[str], folder: Path) -> None:
    """Run an installer; raises Failed with the end of what it said."""
    ran = subprocess.run(
        command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise Failed((ran.stderr or ran.stdout).strip()[-_SHOWN:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Install what is named, or all; return 1 if any failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("peer", nargs="*", help=f"of {', '.join(PEERS)}; all by default")
    wanted = parser.parse_args(arguments).peer or PEERS
    unknown = set(wanted) - set(PEERS)
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    failed = []
    for name in wanted:
        try:
            done = "installed" if install(name) else "is there"
        except (Failed, OSError) as error:
            failed.append(name)
            done = f"failed: {error}"
        print(f"{name}: {done}", flush=True)
    if failed:
        print(f"not installed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
