"""Addresses that get no mail for a time, because their host said that there is no such mailbox, or a person said so."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from dmarcview_smtp.address import Address

from .daycap import key
from .outcome import FAILED, Attempt, RemoteReply
from .queue_rows import Row, plain

NO_SUCH_MAILBOX = ("5.1.1", "5.1.10")  # RFC 3463 section 3.2; RFC 7505 section 4.2
ADD = "insert or replace into suppressed (address, reason, until, at) values (?, ?, ?, ?)"
ENDED = "delete from suppressed where until <= ?"
FOR_EVER = 253_402_300_799.0  # the end of the year 9999


class Suppression(NamedTuple):
    """One line of the list; times are seconds since 1970, UTC."""

    address: str  # lower case, domain in A-labels
    reason: str
    until: float
    at: float


def hard(attempt: Attempt) -> bool:
    """Whether this try proved that the address does not exist."""
    return attempt.outcome == FAILED and attempt.reply.enhanced in NO_SUCH_MAILBOX


def row(address: Address, reason: str | RemoteReply, at: float, until: float) -> Row:
    """For ADD."""
    return key(address), plain(str(reason)), until, at


def lookup(link: sqlite3.Connection, address: Address, now: float) -> Suppression | None:
    """The line that holds now for this address, if any."""
    sql = "select address, reason, until, at from suppressed where address = ? and until > ?"
    found = link.execute(sql, (key(address), now)).fetchone()
    return Suppression(*found) if found else None
