"""Lists of bad networks: a file of CIDR blocks, one per line."""

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from service.domain.errors import SetupError

MOST: Final = 500_000
"""Maximum blocks in a file; a longer one is refused, not truncated."""
_LONGEST: Final = 128 * 1024 * 1024
Blocks = Mapping[tuple[int, int], frozenset[int]]
"""The network prefixes of the blocks, by address bits (32 or 128) and prefix length."""


def read(path: Path) -> Blocks:
    """Read the blocks of a file; ``#`` starts a comment, a bare address is a single-address block.

    Raises:
        SetupError: A line is not a block, or there are too many; the detail names the line.
    """
    try:
        if path.stat().st_size > _LONGEST:
            raise SetupError("bad_network_list", f"{path}: more than {_LONGEST} bytes")
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        detail = f"{path}: cannot be read ({type(error).__name__})"
        raise SetupError("bad_network_list", detail) from None
    return parse(lines, str(path))


def parse(lines: list[str], name: str) -> Blocks:
    """Parse the blocks of lines; raises SetupError that names the line."""
    found: dict[tuple[int, int], set[int]] = {}
    count = 0
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        count += 1
        if count > MOST:
            raise SetupError("bad_network_list", f"{name}: more than {MOST} blocks")
        try:
            block = ip_network(text, strict=False)
        except ValueError:
            detail = f"{name} line {number}: not a network such as 192.0.2.0/24"
            raise SetupError("bad_network_list", detail) from None
        bits = block.max_prefixlen
        head = int(block.network_address) >> (bits - block.prefixlen)
        found.setdefault((bits, block.prefixlen), set()).add(head)
    return {name: frozenset(heads) for name, heads in found.items()}


def holds(blocks: Blocks, address: bytes) -> bool:
    """Return whether a packed address is in a block; False for an empty address."""
    if not address:
        return False
    bits = 8 * len(address)
    number = int.from_bytes(address, "big")
    return any(
        number >> (bits - length) in heads
        for (width, length), heads in blocks.items()
        if width == bits
    )
