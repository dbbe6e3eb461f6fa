"""What waits for its time: mails in memory, without their bodies, by the moment of their next try."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence

from .envelope import Queued, Ticket

Planned = tuple[Queued, tuple[Ticket, ...]]


class Agenda:
    """Each recipient stands in it once at most. Times are seconds since 1970."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Queued, tuple[Ticket, ...]]] = []
        self._order = itertools.count()
        self._numbers: set[int] = set()

    def __contains__(self, number: int) -> bool:
        """Whether a ticket of this number is planned."""
        return number in self._numbers

    def __len__(self) -> int:
        """How many recipients are planned."""
        return len(self._numbers)

    def plan(self, at: float, queued: Queued, tickets: Sequence[Ticket]) -> None:
        """Try these recipients of a mail together at that time."""
        self._numbers.update(ticket.number for ticket in tickets)
        heapq.heappush(self._heap, (at, next(self._order), queued, tuple(tickets)))

    def due(self, now: float, most: int) -> list[Planned]:
        """The `most` mails that have waited longest of those whose time has come; they are planned no more."""
        found: list[Planned] = []
        while self._heap and self._heap[0][0] <= now and len(found) < most:
            _, _, queued, tickets = heapq.heappop(self._heap)
            self._numbers.difference_update(ticket.number for ticket in tickets)
            found.append((queued, tickets))
        return found

    def wait(self, now: float) -> float:
        """Seconds until something is due; infinite when nothing is planned."""
        return max(0.0, self._heap[0][0] - now) if self._heap else float("inf")

    def clear(self) -> None:
        """Plan nothing any more."""
        self._heap.clear()
        self._numbers.clear()
