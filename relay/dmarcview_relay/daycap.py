"""How many mails each recipient got today, for `[relay.care] recipient_day`. Counted at once, saved with the mails."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from dmarcview_smtp.address import Address

DAY_SECONDS = 86_400


def key(address: Address) -> str:
    """The mailbox in one spelling: ASCII in lower case, domain in A-labels."""
    return f"{address.folded_local}@{address.ascii_domain}"


class DayCap:
    """Counts by UTC day. Only recipients for whom a limit is asked are counted."""

    def __init__(self, reader: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._day = int(clock()) // DAY_SECONDS
        self._counts: dict[str, int] = dict(
            reader.execute("select address, mails from day where day = ?", (self._day,)).fetchall()
        )
        self._unsaved: set[str] = set()

    def admit(self, address: Address, most: int) -> bool:
        """Count one mail; False when there were `most` already."""
        today = int(self._clock()) // DAY_SECONDS
        if today != self._day:
            self._day, self._counts, self._unsaved = today, {}, set()
        name = key(address)
        count = self._counts.get(name, 0)
        if count >= most:
            return False
        self._counts[name] = count + 1
        self._unsaved.add(name)
        return True

    def unsaved(self) -> list[tuple[int, str, int]]:
        """Rows for the table `day` that are not written yet; given once."""
        if not self._unsaved:
            return []
        rows = [(self._day, name, self._counts[name]) for name in self._unsaved]
        self._unsaved.clear()
        return rows
