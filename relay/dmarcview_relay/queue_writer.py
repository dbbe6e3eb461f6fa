"""The one thread that writes the queue: whatever waits becomes one transaction with one sync."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import bodies
from .envelope import Mail, Queued, Ticket
from .outcome import Attempt
from .queue_rows import MAIL, RECIPIENT, SENT, Row, mail_row, places, plain, read_queued, recipient_row, sent_row
from .queue_schema import BODIES, DRAFTS, INLINE_BYTES, PAGE_BYTES, QueueError, connect, numbers
from .suppress import ADD, ENDED

log = logging.getLogger(__name__)

TIDY_BATCHES = 500  # after so many transactions we look whether the file is mostly empty
SPARE_BYTES = 64_000_000  # so much empty room in the file is kept for the next rush
VACUUM_BYTES = 32_000_000  # more than that is not moved while mails wait to be taken

_STAYS = (
    "update recipient set tries = tries + 1, next_at = ?, warned = warned or ?, dead = ?, last_at = ?, code = ?,"
    " enhanced = ?, text = ?, stage = ?, said = ?, host = ?, address = ? where number = ?"
)
_EMPTY_MAIL = "delete from mail where number = ? and not exists (select 1 from recipient where mail = mail.number)"
_EMPTY_BODY = "delete from body where number = ? and not exists (select 1 from mail where number = body.number)"


@dataclass(slots=True)
class Put:
    """A mail to come; `content` is None when its body is a synced draft under its id."""

    id: str
    mail: Mail
    content: bytes | None
    counted: list[Row] = field(default_factory=list)  # rows of the table `day`


@dataclass(slots=True)
class Settle:
    """Changes to one mail, and mails that come of it; or the release of held ones, which belongs to no mail."""

    queued: Queued | None
    attempts: list[Attempt] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)  # numbers of tickets
    kept: list[Row] = field(default_factory=list)
    suppressed: list[Row] = field(default_factory=list)
    new: list[Put] = field(default_factory=list)
    release: str | None = None

    def stays(self, ticket: Ticket, attempt: Attempt, next_at: float, *, warned: bool, dead: bool) -> None:
        """The recipient is tried again later, or is dead."""
        reply, link = attempt.reply, attempt.link
        self.kept.append(
            (next_at, warned, dead, attempt.at, reply.code, plain(reply.enhanced), plain(reply.text), reply.stage,
             reply.said, plain(link.host), plain(link.address), ticket.number)
        )  # fmt: skip


class Writer:
    """Owns the writing connection. `spare` is the room inside the file, in bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._link: sqlite3.Connection | None = connect(folder, create=True)
        self._batches = 0
        self.spare = 0
        try:
            self._mend(self._link)
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise QueueError(f"cannot use the queue {folder}: {error}") from None
        self._tidy()

    def write(self, batch: Sequence[Put | Settle]) -> list[list[Queued]]:
        """Runs in the committer's thread. All or nothing; QueueError, and then no file of the batch is left."""
        puts = [new for item in batch for new in ([item] if isinstance(item, Put) else item.new)]
        drafts = [
            (self._folder / DRAFTS / put.id, self._folder / BODIES / put.id) for put in puts if put.content is None
        ]
        try:
            if drafts:
                bodies.place(drafts, self._folder / BODIES)
            results, gone = self._transaction(batch, puts)
        except (OSError, sqlite3.Error, OverflowError, ValueError, QueueError) as error:
            self._undo()
            bodies.remove(path for pair in drafts for path in pair)
            log.error("queue: %d changes not written: %s", len(batch), error)
            raise QueueError(f"the queue cannot be written: {error}") from error
        bodies.remove(self._folder / BODIES / name for name in gone)
        self._batches += 1
        if self._batches % TIDY_BATCHES == 0:
            self._tidy()
        return results

    def close(self) -> None:
        """Close the connection; the last one writes all back into the file."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _transaction(self, batch: Sequence[Put | Settle], puts: list[Put]) -> tuple[list[list[Queued]], list[str]]:
        if self._link is None:
            self._link = connect(self._folder)
        link = self._link
        settles = [item for item in batch if isinstance(item, Settle)]
        link.execute("begin immediate")
        rows = sum(1 + len(put.mail.recipients) for put in puts) + sum(len(item.attempts) for item in settles)
        number = numbers(link, rows) if rows else 0
        made: dict[str, Queued] = {}
        for put in puts:
            made[put.id] = queued = _queued(put, number)
            number += 1 + len(queued.tickets)
        if puts:
            _insert(link, puts, made)
        gone = _settle(link, settles, number) if settles else []
        results = [
            [made[item.id]]
            if isinstance(item, Put)
            else [made[new.id] for new in item.new] + ([] if item.release is None else _release(link, item.release))
            for item in batch
        ]
        (empty,) = link.execute("pragma freelist_count").fetchone()
        link.execute("commit")
        self.spare = empty * PAGE_BYTES
        return results, gone

    def _mend(self, link: sqlite3.Connection) -> None:
        """What a crash left: files of nobody go, and a mail whose file is not there waits for a person."""
        large = link.execute("select number, id from mail where size > ?", (INLINE_BYTES,)).fetchall()
        bodies.sweep(self._folder / DRAFTS, self._folder / BODIES, {name for _, name in large})
        for number, name in large:
            if not (self._folder / BODIES / name).exists():
                log.error("queue: the content of %s is lost", name)
                link.execute("update recipient set dead = 1, text = 'its content is lost' where mail = ?", (number,))

    def _undo(self) -> None:
        """Roll back; a connection that cannot even do that is dropped, and SQLite recovers with the next one."""
        try:
            if self._link is not None and self._link.in_transaction:
                self._link.execute("rollback")
        except sqlite3.Error as error:
            log.error("queue: %s; opening it anew", error)
            self.close()

    def _tidy(self) -> None:
        """After a rush the file is mostly empty: give the room back when what is left is moved in a moment."""
        link = self._link
        if link is None:
            return
        try:
            (pages,) = link.execute("pragma page_count").fetchone()
            (empty,) = link.execute("pragma freelist_count").fetchone()
            if empty * PAGE_BYTES > SPARE_BYTES and (pages - empty) * PAGE_BYTES < VACUUM_BYTES:
                link.execute("vacuum")
                link.execute("pragma wal_checkpoint(passive)")  # only this makes the file shorter
                empty = 0
            self.spare = empty * PAGE_BYTES
        except sqlite3.Error as error:  # no room, or somebody reads just now: the next time will do
            log.info("queue: not shrunk: %s", error)


def _queued(put: Put, number: int) -> Queued:
    mail = put.mail
    tickets = tuple(Ticket(number + at, each, 0, mail.accepted, False) for at, each in enumerate(mail.recipients, 1))
    return Queued(put.id, number, mail, tickets)


def _insert(link: sqlite3.Connection, puts: list[Put], made: dict[str, Queued]) -> None:
    mails = [(put, made[put.id]) for put in puts]
    link.executemany(
        f"insert into mail ({MAIL}) values ({places(MAIL)})",
        [mail_row(queued.number, put.id, put.mail) for put, queued in mails],
    )
    link.executemany(
        "insert into body values (?, ?)",
        [(queued.number, put.content) for put, queued in mails if put.content is not None],
    )
    link.executemany(
        f"insert into recipient ({RECIPIENT}) values ({places(RECIPIENT)})",
        [recipient_row(ticket, queued.number, put.mail.hold) for put, queued in mails for ticket in queued.tickets],
    )
    if counted := [row for put in puts for row in put.counted]:
        link.executemany("insert or replace into day values (?, ?, ?)", counted)
        link.execute("delete from day where day < ?", (counted[-1][0],))


def _settle(link: sqlite3.Connection, settles: list[Settle], number: int) -> list[str]:
    """Gives the ids of those that are gone and had a file."""
    attempts = [attempt for item in settles for attempt in item.attempts]
    link.executemany(
        f"insert into sent ({SENT}) values ({places(SENT)})",
        [sent_row(number + at, attempt) for at, attempt in enumerate(attempts)],
    )
    if kept := [row for item in settles for row in item.kept]:
        link.executemany(_STAYS, kept)
    if suppressed := [row for item in settles for row in item.suppressed]:
        link.execute(ENDED, (max(at for *_, at in suppressed),))
        link.executemany(ADD, suppressed)
    ended = [item.queued for item in settles if item.ends and item.queued]
    link.executemany("delete from recipient where number = ?", [(n,) for item in settles for n in item.ends])
    link.executemany(_EMPTY_MAIL, [(queued.number,) for queued in ended])
    link.executemany(_EMPTY_BODY, [(queued.number,) for queued in ended])
    large = [queued for queued in ended if queued.mail.size > INLINE_BYTES]
    still = "select 1 from mail where number = ?"
    return [queued.id for queued in large if not link.execute(still, (queued.number,)).fetchone()]


def _release(link: sqlite3.Connection, prefix: str) -> list[Queued]:
    held = "hold != '' and not dead and substr(hold, 1, length(?)) = ?"
    rows = link.execute(f"select {RECIPIENT} from recipient where {held} order by mail, number", (prefix, prefix))
    found: dict[int, list[Row]] = {}
    for row in rows.fetchall():
        found.setdefault(row[1], []).append(row)
    link.execute(f"update recipient set hold = '' where {held}", (prefix, prefix))
    return [
        read_queued(link.execute(f"select {MAIL} from mail where number = ?", (mail,)).fetchone(), recipients)
        for mail, recipients in found.items()
    ]
