"""How the queue fares: how much there is, since when it waits, why something is held. Looks, and changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

from .queue_schema import QueueError, connect

T = TypeVar("T")


class State(NamedTuple):
    """Mails and their bytes; recipients that wait, are held, or dead; rows of the sent log that are not in the store
    yet. Times are seconds since 1970, 0 is none: when the oldest mail that waits was accepted, and the newest of all.
    """

    mails: int
    bytes: int
    waiting: int
    held: int
    dead: int
    sent: int
    oldest: float
    newest: float


class Reason(NamedTuple):
    """Why recipients are held, how many, and when the first of their mails was accepted."""

    text: str
    recipients: int
    since: float


class Late(NamedTuple):
    """A recipient domain whose mail has waited for long: how many recipients, when the first of their mails was
    accepted, and what was last heard about one of them ("": it was never tried)."""

    domain: str
    recipients: int
    since: float
    reply: str


def state(folder: Path) -> State:
    """The state of a folder's queue, by a connection of its own. Raises QueueError, Gone."""

    def read(link: sqlite3.Connection) -> State:
        mails, size, newest = link.execute("select count(*), total(size), max(accepted) from mail").fetchone()
        total, held, dead = link.execute(
            "select count(*), total(hold != '' and not dead), total(dead) from recipient"
        ).fetchone()
        # mails are numbered as they come: the first one that waits is the oldest
        oldest = link.execute(
            "select accepted from mail where exists (select 1 from recipient where mail = mail.number and hold = ''"
            " and not dead) order by number limit 1"
        ).fetchone()
        (sent,) = link.execute("select count(*) from sent").fetchone()
        return State(
            mails, int(size), total - int(held) - int(dead), int(held), int(dead), sent,
            oldest[0] if oldest else 0.0, newest or 0.0,
        )  # fmt: skip

    return _asked(folder, read)


def reasons(folder: Path, most: int) -> list[Reason]:
    """Why recipients are held, the most frequent reasons first. Raises QueueError, Gone."""
    sql = (
        "select hold, count(*), min(accepted) from recipient join mail on mail.number = recipient.mail "
        "where hold != '' and not dead group by hold order by 2 desc, 1 limit ?"
    )
    return _asked(folder, lambda link: [Reason(*row) for row in link.execute(sql, (most,))])


def late(folder: Path, before: float, most: int) -> list[Late]:
    """Domains with mail that was accepted before a moment and still waits, most recipients first.

    Raises QueueError, Gone.
    """
    sql = (
        "select recipient.domain, count(*), min(accepted), coalesce(max(text), '') from recipient "
        "join mail on mail.number = recipient.mail where hold = '' and not dead and accepted < ? "
        "group by recipient.domain order by 2 desc, 1 limit ?"
    )
    return _asked(folder, lambda link: [Late(*row) for row in link.execute(sql, (before, most))])


def buried(folder: Path) -> float:
    """When the first recipient died that still lies in the queue (seconds since 1970); 0 when there is none.

    Raises QueueError, Gone.
    """
    sql = (
        "select coalesce(min(coalesce(last_at, accepted)), 0) from recipient "
        "join mail on mail.number = recipient.mail where dead"
    )
    return _asked(folder, lambda link: float(link.execute(sql).fetchone()[0]))


def _asked(folder: Path, read: Callable[[sqlite3.Connection], T]) -> T:
    with closing(connect(folder)) as link:
        try:
            link.execute("begin")  # one moment for all questions
            found = read(link)
            link.execute("rollback")
        except sqlite3.Error as error:
            raise QueueError(f"the queue cannot be read: {error}") from None
        return found
