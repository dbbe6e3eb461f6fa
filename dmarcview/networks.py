"""Answers kept by network: an address finds the value of the longest network that holds it."""

from __future__ import annotations

import ipaddress
import socket
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

BITS = {4: 32, 6: 128}
REMEMBERED = 65_536  # addresses whose reading is kept


class Address(NamedTuple):
    """An IP address as its version (4 or 6) and its number."""

    version: int
    number: int


class Range(NamedTuple):
    """Addresses `first` to `last`, both included, of one version."""

    version: int
    first: int
    last: int


@lru_cache(maxsize=REMEMBERED)
def address(text: str) -> Address | None:
    """The address that `text` writes; IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2) is IPv4; None when it is none."""
    try:
        if ":" not in text:
            return Address(4, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big"))
        number = int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
    except (OSError, ValueError):  # ValueError: an embedded NUL or a lone surrogate
        return None
    if number >> 32 == 0xFFFF:
        return Address(4, number & 0xFFFFFFFF)
    return Address(6, number)


def network(text: str) -> Range:
    """The range of `192.0.2.0/24`, `192.0.2.0-192.0.2.9` or a lone address. ValueError says what is wrong."""
    if "-" in text:
        first, last = (ipaddress.ip_address(part.strip()) for part in text.split("-", 1))
        if first.version != last.version or int(first) > int(last):
            raise ValueError(f"{text!r} does not run from a lower to a higher address")
        return Range(first.version, int(first), int(last))
    found = ipaddress.ip_network(text, strict=False)
    return Range(found.version, int(found.network_address), int(found.broadcast_address))


class Numbers:
    """Many addresses as numbers, in the order of their texts.

    `v4` is an array with -1 for all but IPv4, `others` the IPv6 ones by place; no address is in neither.
    """

    __slots__ = ("others", "v4")

    def __init__(self, texts: Sequence[str]) -> None:
        import numpy as np

        self.v4 = np.full(len(texts), -1, dtype=np.int64)
        self.others: dict[int, Address] = {}
        places = [place for place, text in enumerate(texts) if ":" not in text]
        try:
            packed = b"".join([socket.inet_pton(socket.AF_INET, texts[place]) for place in places])
            self.v4[places] = np.frombuffer(packed, dtype=">u4")
            rest: Iterable[int] = (place for place, text in enumerate(texts) if ":" in text)
        except (OSError, ValueError):
            rest = range(len(texts))
        for place in rest:
            found = address(texts[place])
            if found is not None and found.version == 4:
                self.v4[place] = found.number
            elif found is not None:
                self.others[place] = found

    def __len__(self) -> int:
        return len(self.v4)


class NetworkMap(Generic[T]):
    """An immutable map from ranges to values. Ranges may nest; the innermost answers, then the one given last."""

    def __init__(self, pairs: Iterable[tuple[Range, T]] = ()) -> None:
        by_version: dict[int, list[tuple[int, int, T]]] = {4: [], 6: []}
        for span, value in pairs:
            by_version[span.version].append((span.first, span.last, value))
        self._tables = {version: _flatten(spans) for version, spans in by_version.items()}

    def __len__(self) -> int:
        """Number of distinct pieces, over both versions."""
        return sum(1 for _, values in self._tables.values() for value in values if value is not None)

    def get(self, wanted: Address | None) -> T | None:
        """The value of the innermost range that holds `wanted`; None when there is none."""
        if wanted is None:
            return None
        starts, values = self._tables[wanted.version]
        place = bisect_right(starts, wanted.number) - 1
        return values[place] if place >= 0 else None

    def find(self, wanted: Numbers) -> tuple[Any, list[T]]:
        """`get` of many: an array with the place of each answer among the distinct answers (-1: none), and these."""
        import numpy as np

        values: dict[int, int] = {}  # by identity: values need not be hashable
        found: list[T] = []
        codes: dict[int, list[int]] = {}
        for version, (_, answers) in self._tables.items():
            codes[version] = []
            for answer in answers:
                if answer is not None and id(answer) not in values:
                    values[id(answer)] = len(found)
                    found.append(answer)
                codes[version].append(-1 if answer is None else values[id(answer)])
        out = np.full(len(wanted), -1, dtype=np.int64)
        for place, other in wanted.others.items():
            piece = bisect_right(self._tables[6][0], other.number) - 1
            out[place] = codes[6][piece] if piece >= 0 else -1
        starts = np.array(self._tables[4][0], dtype=np.int64)
        is_v4 = np.flatnonzero(wanted.v4 >= 0)
        pieces = np.searchsorted(starts, wanted.v4[is_v4], side="right") - 1
        out[is_v4] = np.array([*codes[4], -1], dtype=np.int64)[pieces]
        return out, found

    def pieces(self) -> Iterator[tuple[Range, T]]:
        """The disjoint pieces that answer, in order."""
        for version, (starts, values) in self._tables.items():
            ends = [*starts[1:], 1 << BITS[version]]
            for start, end, value in zip(starts, ends, values, strict=True):
                if value is not None:
                    yield Range(version, start, end - 1), value


def _flatten(spans: Sequence[tuple[int, int, T]]) -> tuple[Sequence[int], Sequence[T | None]]:
    """Cut nested and overlapping spans into disjoint pieces: starts, and the value from each start on."""
    order = sorted(range(len(spans)), key=lambda i: (spans[i][0], -spans[i][1], i))
    starts: list[int] = []
    values: list[T | None] = []
    open_: list[tuple[int, T]] = []  # (last, value), outermost first

    def piece(start: int, value: T | None) -> None:
        if starts and starts[-1] == start:
            values[-1] = value
        else:
            starts.append(start)
            values.append(value)

    def close(before: int | None) -> None:
        while open_ and (before is None or open_[-1][0] < before):
            last, _ = open_.pop()
            while open_ and open_[-1][0] <= last:  # overlapped, not nested: it ended under the inner one
                open_.pop()
            piece(last + 1, open_[-1][1] if open_ else None)

    for i in order:
        first, last, value = spans[i]
        close(first)
        piece(first, value)
        open_.append((last, value))
    close(None)
    return starts, values
