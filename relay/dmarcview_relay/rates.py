"""How much was sent in the last hour, by user, client and recipient domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

HOUR = 3_600
KEYS = 100_000  # most users, clients and domains that are counted in an hour; more are not limited

Key = tuple[str, str]  # kind, name


class Use(NamedTuple):
    """So many recipients more of one kind and name; `limit` by the hour, 0 is none."""

    kind: str  # user, client or domain
    name: str
    recipients: int
    limit: int


class HourlyRates:
    """Counts over a sliding hour: what this clock hour has, and of the one before the part that is still inside."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._hour = 0
        self._now: dict[Key, int] = {}
        self._before: dict[Key, int] = {}

    def full(self, uses: Sequence[Use]) -> Use | None:
        """The first that would go above its limit, if any. Nothing is counted."""
        passed = self._turn()
        for use in uses:
            key = use.kind, use.name
            had = self._now.get(key, 0) + int(self._before.get(key, 0) * (1 - passed))
            if use.limit and had + use.recipients > use.limit:
                return use
        return None

    def count(self, uses: Sequence[Use]) -> None:
        """These were sent."""
        self._turn()
        for use in uses:
            key = use.kind, use.name
            if use.limit and (key in self._now or len(self._now) < KEYS):
                self._now[key] = self._now.get(key, 0) + use.recipients

    def _turn(self) -> float:
        """Begin a new hour when it is time; the passed part of this hour, 0 to 1."""
        now = self._clock()
        hour = int(now // HOUR)
        if hour != self._hour:
            self._before = self._now if hour == self._hour + 1 else {}
            self._now, self._hour = {}, hour
        return now / HOUR - hour
