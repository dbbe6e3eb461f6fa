"""Shares out the connections of the worker, so that destinations that hang leave room for those that answer."""

from __future__ import annotations

from collections.abc import Iterator

from .destination import FAILED, NEW, PROVEN, Destination


class Slots:
    """At most `most` connections. Three quarters of them may be on their way to a host at once, one quarter to hosts
    that failed the last time: connections to such a host mostly end in a long wait for nothing.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self._connecting = {PROVEN: 0, NEW: 0, FAILED: 0}
        self._hungry: dict[str, dict[str, Destination]] = {PROVEN: {}, NEW: {}, FAILED: {}}

    def take(self, destination: Destination) -> str:
        """A slot for a connection that is about to be made; "" when there is none, and then it stands in line."""
        kind = destination.kind
        if not self._room(kind):
            self._hungry[kind][destination.hop.key] = destination
            return ""
        self.used += 1
        self._connecting[kind] += 1
        return kind

    def connected(self, kind: str) -> None:
        """The connection is made, or will not be."""
        self._connecting[kind] -= 1

    def left(self) -> None:
        """The connection has ended."""
        self.used -= 1

    def next(self) -> Iterator[Destination]:
        """Who has waited longest and may ask again now, as long as there is room."""
        for kind, line in self._hungry.items():
            while line and self._room(kind):
                yield line.pop(next(iter(line)))

    def _room(self, kind: str) -> bool:
        if self.used >= self.most:
            return False
        failed = self._connecting[FAILED]
        if kind == FAILED and failed >= max(1, self.most // 4):
            return False
        return kind == PROVEN or failed + self._connecting[NEW] < max(1, self.most * 3 // 4)
