"""Files of key material, and where a software token's library lies."""

from pathlib import Path

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")


def private(path, content):
    """Write a file that only its owner can read."""
    path.write_bytes(content)
    path.chmod(0o600)
    return path
