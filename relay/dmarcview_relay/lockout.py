"""Guessing of passwords, counted by client and by user in a table of bounded size."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from dmarcview_smtp.gate import client_key

from .settings import Login

ENTRIES = 50_000  # most counters; some 15 MB
PLACES = 32  # addresses of one user that are known to be its own
LONGEST_DELAY = 30.0  # seconds


@dataclass(slots=True)
class _Count:
    failures: int = 0
    last: float = 0.0  # time of the last failure
    until: float = 0.0  # locked out until then


class Lockout:
    """Counts failures of clients (an IPv4 address or an IPv6 /64) and of user names, whether these exist or not.

    Where a user has logged in well before is its own place: strangers who lock its name out lock it out elsewhere
    only, and a forgotten password there is counted for that user at that place alone.
    """

    def __init__(self, login: Login, clock: Callable[[], float], *, entries: int = ENTRIES) -> None:
        """`clock` gives seconds and never goes back."""
        self.login = login  # may be set anew
        self._clock = clock
        self._entries = entries
        self._counts: OrderedDict[bytes, _Count] = OrderedDict()  # the longest untouched first
        self._places: dict[str, OrderedDict[str, None]] = {}

    def locked(self, address: str, user: str) -> bool:
        """Whether this client may not try this name now."""
        return any(self._count(key).until > self._clock() for key in self._keys(address, user))

    def failed(self, address: str, user: str) -> None:
        """Count a wrong password."""
        now = self._clock()
        for key in self._keys(address, user):
            count = self._counts.setdefault(key, _Count())
            if now - count.last > self.login.lockout:
                count.failures = 0
            count.failures += 1
            count.last = now
            if count.failures >= self.login.failures:
                count.until = now + self.login.lockout
            self._counts.move_to_end(key)
        while len(self._counts) > self._entries:
            self._counts.popitem(last=False)

    def passed(self, address: str, user: str) -> None:
        """Remember where the user is at home, and forget its own slips there."""
        places = self._places.setdefault(user, OrderedDict())
        place = client_key(address)
        places[place] = None
        places.move_to_end(place)
        while len(places) > PLACES:
            places.popitem(last=False)
        self._counts.pop(_digest("pair", place, user), None)

    def delay(self, address: str, tries: int) -> float:
        """Seconds to wait before the answer to the wrong password number `tries` of a connection."""
        failures = max(tries, self._count(_digest("client", client_key(address))).failures)
        return min(LONGEST_DELAY, self.login.delay * 2.0 ** min(failures - 1, 16))

    def _keys(self, address: str, user: str) -> list[bytes]:
        place = client_key(address)
        if place in self._places.get(user, ()):
            return [_digest("pair", place, user)]
        return [_digest("client", place), _digest("user", user)]

    def _count(self, key: bytes) -> _Count:
        return self._counts.get(key) or _Count()

    def __len__(self) -> int:
        return len(self._counts)


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()
