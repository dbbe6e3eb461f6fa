"""Country and network of the demo's addresses, written as the MMDB files that `[geo]` takes.

Documentation addresses belong to nobody, so no real database knows them; the demo brings its own through the same
setting that a user has. AS numbers are those of RFC 5398. The format is MaxMind DB 2.0, 32-bit records.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

Value = str | int | Mapping[str, "Value"] | tuple[str, ...]

EPOCH = 1_767_225_600  # build time told in the files: fixed, so that equal demos have equal files
METADATA_MARK = b"\xab\xcd\xefMaxMind.com"
SEPARATOR = 16  # zero bytes between tree and data


class Short(int):
    """An unsigned number that the format wants in 16 bits."""


class Long(int):
    """An unsigned number that the format wants in 64 bits."""


class Network(NamedTuple):
    """Whose a prefix is in the demo's world."""

    prefix: str
    country: str
    asn: int
    owner: str


_PLACES = ("BR", "VN", "IN", "ID", "ZA", "TR", "MX", "UA", "EG", "TH", "CO", "PK")

NETWORKS: tuple[Network, ...] = (
    Network("192.0.2.0/25", "DE", 64496, "Example Home Hosting"),
    Network("2001:db8:10::/48", "DE", 64496, "Example Home Hosting"),
    Network("192.0.2.128/25", "DE", 64497, "Example Net"),
    Network("2001:db8:30::/48", "DE", 64497, "Example Net"),
    Network("203.0.113.0/27", "US", 64498, "Workplace Mail"),
    Network("2001:db8:20::/48", "IE", 64498, "Workplace Mail"),
    Network("198.51.100.0/27", "NL", 64499, "Letter Press"),
    Network("198.51.100.32/28", "US", 64500, "Quick Survey"),
    Network("203.0.113.64/28", "IE", 64501, "Desk Tickets"),
    Network("203.0.113.200/32", "CH", 64502, "Campus Network"),
    Network("2001:db8:f0::/48", "CH", 64502, "Campus Network"),
    Network("203.0.113.208/28", "FR", 64503, "Club and Alias Hosting"),
    Network("198.51.100.200/32", "PL", 64504, "Shared Shops"),
    Network("203.0.113.232/29", "GB", 64505, "Broadband Five"),
    *(
        Network(f"198.51.100.{64 + 8 * n}/29", place, 64506 + n % 4, f"Broadband {'ABCD'[n % 4]}")
        for n, place in enumerate(_PLACES)
    ),
)


def countries() -> bytes:
    """An MMDB of countries."""
    return _database("Demo-Country", [(n.prefix, {"country": {"iso_code": n.country}}) for n in NETWORKS])


def systems() -> bytes:
    """An MMDB of autonomous systems."""
    return _database(
        "Demo-ASN",
        [(n.prefix, {"autonomous_system_number": n.asn, "autonomous_system_organization": n.owner}) for n in NETWORKS],
    )


def _database(kind: str, entries: list[tuple[str, Mapping[str, Value]]]) -> bytes:
    data = b""
    nodes: list[list[int | None]] = [[None, None]]
    leaves: dict[tuple[int, int], int] = {}  # (node, side) -> offset in the data
    for prefix, value in entries:
        node = 0
        bits = list(_bits(prefix))
        for bit in bits[:-1]:
            below = nodes[node][bit]
            if below is None:
                below = len(nodes)
                nodes.append([None, None])
                nodes[node][bit] = below
            node = below
        leaves[node, bits[-1]] = len(data)
        data += encode(value)
    tree = bytearray()
    for number, sides in enumerate(nodes):
        for side in (0, 1):
            if (number, side) in leaves:
                record = len(nodes) + SEPARATOR + leaves[number, side]
            else:
                below = sides[side]
                record = len(nodes) if below is None else below
            tree += struct.pack(">I", record)
    metadata: dict[str, Value] = {
        "binary_format_major_version": Short(2),
        "binary_format_minor_version": Short(0),
        "build_epoch": Long(EPOCH),
        "database_type": kind,
        "description": {"en": "Made-up owners of documentation addresses"},
        "ip_version": Short(6),
        "languages": ("en",),
        "node_count": len(nodes),
        "record_size": Short(32),
    }
    return bytes(tree) + bytes(SEPARATOR) + data + METADATA_MARK + encode(metadata)


def _bits(prefix: str) -> Iterator[int]:
    """The path to a prefix in an IPv6 tree, where IPv4 hangs below ::/96."""
    network = ipaddress.ip_network(prefix)
    length = network.prefixlen + (96 if network.version == 4 else 0)
    number = int(network.network_address)
    for place in range(length):
        yield number >> (127 - place) & 1


def encode(value: Value) -> bytes:
    """One value of the data section: text, whole number, map or array."""
    match value:
        case str():
            text = value.encode()
            return _control(2, len(text)) + text
        case int():
            number = value.to_bytes((value.bit_length() + 7) // 8, "big")
            kind = 5 if isinstance(value, Short) else 9 if isinstance(value, Long) else 6
            return _control(kind, len(number)) + number
        case tuple():
            return _control(11, len(value)) + b"".join(encode(item) for item in value)
        case _:
            return _control(7, len(value)) + b"".join(encode(k) + encode(v) for k, v in value.items())


def _control(kind: int, size: int) -> bytes:
    """Type and size; types above 7 take a byte of their own, and so do sizes from 29 up to 284."""
    tail = bytes([kind - 7]) if kind > 7 else b""
    if size < 29:
        return bytes([(0 if kind > 7 else kind) << 5 | size]) + tail
    return bytes([(0 if kind > 7 else kind) << 5 | 29]) + tail + bytes([size - 29])
