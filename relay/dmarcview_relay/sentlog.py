"""The sent log: what was tried for whom and what came of it, row by row, until the house has taken it.

Rows are written by the queue in the transaction that settles a mail; here they are read and let go, usually by another
process. Numbers grow and are never used again, so whoever stores (instance, number) stores no row twice.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dmarcview_smtp.address import Address

from .outcome import Attempt
from .queue_rows import SENT, read_attempt
from .queue_schema import QueueError, connect, meta

HASH_CHARACTERS = 24  # 96 bits: enough that two people do not meet


def logged(address: Address, salt: str, *, plain: bool) -> str:
    """A recipient as the log names it: as written, or with its local part as a hash that only this queue makes."""
    domain = address.ascii_domain
    if plain:
        return str(address)
    made = hashlib.sha256(f"{salt}:{address.local.lower()}@{domain}".encode("utf-8", "replace")).hexdigest()
    return f"{made[:HASH_CHARACTERS]}@{domain}" if domain else made[:HASH_CHARACTERS]


class SentLog:
    """The log of one relay. Raises QueueError when it cannot be used, Gone while the folder holds no queue yet."""

    def __init__(self, folder: Path) -> None:
        self._link = connect(folder)
        self.instance = meta(self._link, "instance")  # of this queue, as long as it lives
        self._salt = meta(self._link, "salt")

    def pending(self, limit: int) -> list[tuple[int, Attempt]]:
        """The oldest rows that were not let go, with their numbers, in order."""
        rows = self._run(f"select {SENT} from sent order by number limit ?", (limit,))
        return [read_attempt(row) for row in rows]

    def of(self, queue_id: str) -> list[Attempt]:
        """The rows of one mail that were not let go, in order."""
        rows = self._run(f"select {SENT} from sent where queue_id = ? order by number", (queue_id,))
        return [read_attempt(row)[1] for row in rows]

    def shipped(self, up_to: int) -> None:
        """Rows up to this number are stored elsewhere: let them go."""
        self._run("delete from sent where number <= ?", (up_to,))

    def prune(self, before: float) -> None:
        """Let rows go that are older than this time and that nobody took."""
        self._run("delete from sent where at < ?", (before,))

    def logged(self, address: Address, *, plain: bool) -> str:
        """How this log names a recipient."""
        return logged(address, self._salt, plain=plain)

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _run(self, sql: str, values: Sequence[Any]) -> list[Any]:
        try:
            return self._link.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise QueueError(f"the sent log cannot be used: {error}") from None


def prune(folder: Path, before: float) -> None:
    """Let go, in a folder that a relay uses, what is older than this time (seconds since 1970). Raises QueueError."""
    sentlog = SentLog(folder)
    try:
        sentlog.prune(before)
    finally:
        sentlog.close()
