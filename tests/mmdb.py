"""Write small databases in MaxMind's format (version 2.0), so that tests need no foreign data."""

import struct
from ipaddress import ip_network

_MARK = b"\xab\xcd\xefMaxMind.com"


def write(path, records, version=4):
    """Write a database of records by network, such as ``{"192.0.2.0/24": {...}}``."""
    data, places = b"", {}
    for network, record in records.items():
        places[ip_network(network)] = len(data)
        data += _encode(record)
    nodes = [[None, None]]
    for network, place in places.items():
        _insert(nodes, network, place)
    count = len(nodes)
    tree = b"".join(_record(count, one) for node in nodes for one in node)
    numbers = {
        "node_count": (6, 4, count),
        "record_size": (5, 2, 24),
        "ip_version": (5, 2, version),
        "binary_format_major_version": (5, 2, 2),
        "binary_format_minor_version": (5, 2, 0),
        "build_epoch": (9, 8, 1),
    }
    words = {"database_type": "Test", "languages": [], "description": {}}
    meta = [_encode(name) + _encode(value) for name, value in words.items()]
    meta += [
        _encode(name) + _head(kind, size) + value.to_bytes(size, "big")
        for name, (kind, size, value) in numbers.items()
    ]
    head = _head(7, len(meta))
    path.write_bytes(tree + bytes(16) + data + _MARK + head + b"".join(meta))
    return path


def _insert(nodes, network, place):
    head = int(network.network_address)
    at = 0
    for depth in range(network.prefixlen):
        side = head >> (network.max_prefixlen - 1 - depth) & 1
        if depth == network.prefixlen - 1:
            nodes[at][side] = ("data", place)
            return
        if nodes[at][side] is None:
            nodes.append([None, None])
            nodes[at][side] = len(nodes) - 1
        at = nodes[at][side]


def _record(count, one):
    if one is None:
        one = count
    elif isinstance(one, tuple):
        one = count + 16 + one[1]
    return one.to_bytes(3, "big")


def _encode(value):
    if isinstance(value, str):
        return _head(2, len(value.encode())) + value.encode()
    if isinstance(value, float):
        return _head(3, 8) + struct.pack(">d", value)
    if isinstance(value, int):
        return _head(6, 4) + value.to_bytes(4, "big")
    if isinstance(value, list):
        return _head(11, len(value)) + b"".join(map(_encode, value))
    parts = (_encode(name) + _encode(member) for name, member in value.items())
    return _head(7, len(value)) + b"".join(parts)


def _head(kind, size):
    extra = b"" if size < 29 else bytes([size - 29])
    first = min(size, 29)
    if kind > 7:
        return bytes([first, kind - 7]) + extra
    return bytes([kind << 5 | first]) + extra
