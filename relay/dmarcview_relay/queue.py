"""The queue: mails that were answered 250 and are not delivered yet, durable, with all that was tried for them.

One thread writes: puts and settlements that wait at the same time share one transaction and one sync. Which mail is
being delivered is known in memory only, so no lock outlives the process. Held and dead recipients stay until a person
(or, for held ones, the DNS) frees them. Other processes change the queue by `queue_admin`; `changed` tells of it.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import secrets
import sqlite3
import string
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from dmarcview_smtp.address import Address
from dmarcview_smtp.commit import Closed, GroupCommitter

from . import bodies
from .daycap import DayCap
from .envelope import Mail, Queued, Ticket
from .outcome import DEFERRED, Attempt
from .queue_rows import MAIL, RECIPIENT, read_queued, signatures
from .queue_schema import BODIES, DRAFTS, INLINE_BYTES, Gone, QueueError, connect, meta
from .queue_writer import Put, Settle, Writer
from .sentlog import logged
from .suppress import Suppression, hard, lookup
from .suppress import row as suppression

__all__ = ["Gone", "Queue", "QueueError", "Settled"]

log = logging.getLogger(__name__)

PAGE_MAILS = 1_000  # `waiting` reads so many at once
BATCH_ITEMS, BATCH_BYTES = 500, 16_000_000
PATIENCE = 0.01  # seconds that a settlement waits for a mail to come, whose sync it then shares
DAY = 86_400.0
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase


class Settled(NamedTuple):
    """What became of one recipient. `dead` keeps one that failed on the dead list, for a person to look at."""

    ticket: Ticket
    attempt: Attempt
    next_at: float = 0.0  # of a deferred one, seconds since 1970
    warned: bool = False
    dead: bool = False


class Queue:
    """The queue of one data folder, for the one relay process that serves it.

    `reserve` bytes of the disk are left free. `suppress` is how long, in seconds, an address is refused after its host
    said that there is no such mailbox; 0 is never. Both may be set anew at any time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        reserve: int,
        clock: Callable[[], float] = time.time,
        free: Callable[[Path], int] | None = None,
        suppress: float = 7 * DAY,
    ) -> None:
        """Opens or creates it, and removes what a crash left behind. Raises QueueError."""
        self.folder = folder
        self.reserve, self.suppress = reserve, suppress
        self._clock, self._free = clock, free or _free_bytes
        self._stamp, self._suffix = 0, "".join(secrets.choice(_DIGITS) for _ in range(3))
        self._writer = Writer(folder)
        self._reader = connect(folder)
        try:
            self._salt = meta(self._reader, "salt")
            self._outside = meta(self._reader, "outside")
            self._cap = DayCap(self._reader, clock)
        except sqlite3.Error as error:
            raise QueueError(f"cannot use the queue {folder}: {error}") from None
        self._committer: GroupCommitter[Put | Settle, list[Queued]] = GroupCommitter(
            self._writer.write,
            batch_items=BATCH_ITEMS,
            batch_bytes=BATCH_BYTES,
            name="dmarcview-queue",
            patience=PATIENCE,
        )

    # in

    def has_room(self, size: int = 0) -> bool:
        """Whether a mail of this size would be taken now. Room inside the file counts as free."""
        try:
            return self._free(self.folder) + self._writer.spare - size >= self.reserve
        except OSError:
            return False

    def new_id(self) -> str:
        """An id for a mail to come: 12 letters and digits that sort by time."""
        self._stamp = max(self._stamp + 1, int(self._clock() * 1_000_000))
        stamp, text = self._stamp, ""
        for _ in range(9):
            stamp, digit = divmod(stamp, 62)
            text = _DIGITS[digit] + text
        return text + self._suffix

    async def put(self, mail: Mail, content: bytes, id: str = "") -> Queued:
        """Make a mail durable. Held when `mail.hold` says why. Raises QueueError, and then nothing of it is left."""
        if not self.has_room(len(content)):
            raise QueueError("less space than the reserve is left on the disk")
        put = await self._prepared(mail, content, id or self.new_id())
        put.counted.extend(self._cap.unsaved())
        return (await self._commit(put, len(content)))[0]

    async def _prepared(self, mail: Mail, content: bytes, id: str) -> Put:
        if mail.size != len(content):  # it decides where the body is
            mail = replace(mail, size=len(content))
        if len(content) <= INLINE_BYTES:
            return Put(id, mail, content)
        draft = self.folder / DRAFTS / id
        try:
            await asyncio.to_thread(bodies.write, draft, content)
        except OSError as error:
            raise QueueError(f"the queue cannot be written: {error.strerror}") from None
        return Put(id, mail, None)

    async def _commit(self, item: Put | Settle, size: int) -> list[Queued]:
        try:
            return await self._committer.put(item, size, patient=isinstance(item, Settle))
        except Closed:
            raise QueueError("the queue is closed") from None

    # out

    def waiting(self) -> Iterator[Queued]:
        """All that may be tried, now or later: neither held nor dead; oldest first, without bodies."""
        last = 0
        while True:
            page = self._read(
                f"select {MAIL} from mail where number > ? and exists (select 1 from recipient"
                " where mail = mail.number and hold = '' and not dead) order by number limit ?",
                (last, PAGE_MAILS),
            )
            if not page:
                return
            first, last = page[0][0], page[-1][0]
            rows = self._read(
                f"select {RECIPIENT} from recipient where mail between ? and ? and hold = '' and not dead"
                " order by mail, number",
                (first, last),
            )
            found = {mail: list(rows) for mail, rows in itertools.groupby(rows, key=lambda row: row[1])}
            for row in page:
                if row[0] in found:  # else somebody held it between the two questions
                    yield read_queued(row, found[row[0]])

    async def content(self, queued: Queued) -> bytes:
        """The bytes as they were put. Raises Gone when somebody deleted the mail, QueueError."""
        if queued.mail.size <= INLINE_BYTES:
            rows = self._read("select content from body where number = ?", (queued.number,))
            if not rows:
                raise Gone(f"{queued.id} is not in the queue")
            return bytes(rows[0][0])
        try:
            return await asyncio.to_thread((self.folder / BODIES / queued.id).read_bytes)
        except FileNotFoundError:
            raise Gone(f"{queued.id} is not in the queue") from None
        except OSError as error:
            raise QueueError(f"the body of {queued.id} cannot be read: {error.strerror}") from None

    async def settle(
        self, queued: Queued, results: Sequence[Settled], new: Sequence[tuple[Mail, bytes]] = ()
    ) -> list[Queued]:
        """Write what became of some recipients, and queue `new` mails (bounces), all or nothing; the new ones.

        Delivered, failed and expired recipients leave; deferred ones count a try and wait until `next_at`. Each gives
        a row of the sent log. The mail leaves with its last recipient. Raises QueueError.
        """
        now = self._clock()
        item = Settle(queued)
        for each in results:
            item.attempts.append(each.attempt)
            if each.attempt.outcome == DEFERRED or each.dead:
                item.stays(each.ticket, each.attempt, each.next_at, warned=each.warned, dead=each.dead)
            else:
                item.ends.append(each.ticket.number)
                if self.suppress and hard(each.attempt):
                    item.suppressed.append(
                        suppression(each.ticket.recipient.address, each.attempt.reply, now, now + self.suppress)
                    )
        for mail, content in new:
            item.new.append(await self._prepared(mail, content, self.new_id()))
        return await self._commit(item, sum(len(content) for _, content in new))

    # outside

    def changed(self) -> bool:
        """Whether somebody else changed the queue since the last call: read `waiting` again."""
        now = self._read("select value from meta where key = 'outside'")[0][0]
        before, self._outside = self._outside, str(now)
        return before != self._outside

    async def release(self, reason_prefix: str) -> list[Queued]:
        """Free what is held for a reason that begins so; those recipients, mail by mail."""
        return await self._commit(Settle(None, release=reason_prefix), 0)

    def suppressed(self, address: Address) -> Suppression | None:
        """Why no mail is taken for this address now, if so."""
        return lookup(self._reader, address, self._clock())

    def within_day(self, address: Address, most: int) -> bool:
        """Count one mail to this recipient today (UTC); False when it had `most` already, and then it counts not."""
        return self._cap.admit(address, most)

    def logged(self, address: Address, *, plain: bool) -> str:
        """How the sent log names a recipient: see `sentlog.logged`."""
        return logged(address, self._salt, plain=plain)

    def count(self) -> dict[str, int]:
        """How much there is: mails, bytes, and recipients waiting, held and dead; rows of the sent log."""
        mails, size = self._read("select count(*), total(size) from mail")[0]
        recipients = self._read("select count(*), total(hold != '' and not dead), total(dead) from recipient")[0]
        sent = self._read("select count(*) from sent")[0][0]
        total, held, dead = map(int, recipients)
        return {"mails": mails, "bytes": int(size), "waiting": total - held - dead, "held": held, "dead": dead,
                "sent": sent}  # fmt: skip

    def signatures(self) -> set[tuple[str, str]]:
        """d= and s= of every signature of the mails in the queue."""
        return {pair for (text,) in self._read("select distinct dkim from mail") for pair in signatures(text)}

    def close(self) -> None:
        """Write what waits, end the writer. Blocks until then."""
        self._committer.close()
        self._writer.close()
        self._reader.close()

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise QueueError(f"the queue cannot be read: {error}") from None


def _free_bytes(path: Path) -> int:
    state = os.statvfs(path)
    return state.f_bavail * state.f_frsize
