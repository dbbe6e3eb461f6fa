"""One destination of the worker: what is ready for it, how many connections it has, whether it answers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from .envelope import Queued, Ticket
from .outcome import Link, RemoteReply
from .routes import Hop

FIRST_PAUSE, LONGEST_PAUSE = 60.0, 300.0  # seconds without a new connection after one failed, doubled each time
PROVEN, NEW, FAILED = "proven", "new", "failed"  # what is known of a destination


@dataclass(slots=True, eq=False)
class Job:
    """Recipients of one mail that go to one destination in one transaction."""

    queued: Queued
    tickets: tuple[Ticket, ...]
    content: bytes | None = None  # kept from the accept when there is memory for it
    repeated: bool = False  # an idle connection broke under it once


@dataclass(slots=True, eq=False)
class Destination:
    """Its mails leave only through its own connections, so that a dead one delays no other."""

    hop: Hop
    ready: deque[Job] = field(default_factory=deque)
    connections: int = 0
    live: int = 0  # of these, made and not yet ended
    idle: deque[asyncio.Future[None]] = field(default_factory=deque)  # connections that wait for a mail
    proven: bool = False  # a connection succeeded; until then one at a time tries
    pauses: int = 0  # failed connections in a row
    paused_until: float = 0.0  # seconds since 1970
    enough_until: float = 0.0  # the same: no more connections than there are, while there are some
    fault: tuple[RemoteReply, Link] | None = None  # of the last failed connection
    next_slot: float = 0.0  # for pacing, seconds of the monotonic clock: no mail before

    @property
    def kind(self) -> str:
        """What is known of it."""
        return PROVEN if self.proven else FAILED if self.fault else NEW

    def wants(self, now: float) -> bool:
        """Whether another connection would have something to do."""
        limit = self.hop.connections if self.proven else 1
        if not self.ready or self.idle or self.connections >= limit or self.pace() > 0.0:
            return False
        return not _ahead(self.enough_until if self.live else self.paused_until, now)

    def pace(self) -> float:
        """Seconds until the next mail may leave."""
        return self.next_slot - time.monotonic() if self.hop.per_minute else 0.0

    def paced(self) -> None:
        """One more mail leaves, at the next slot."""
        if self.hop.per_minute:
            self.next_slot = max(self.next_slot, time.monotonic()) + 60.0 / self.hop.per_minute

    def forgettable(self, now: float) -> bool:
        """Whether nothing is left that must be remembered of it."""
        return not (self.ready or self.connections) and (not self.fault or now > self.paused_until + LONGEST_PAUSE)

    def wake(self) -> bool:
        """Rouse a connection that waits for a mail, if there is one."""
        while self.idle:
            waiter = self.idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return True
        return False

    async def take(self, patience: float) -> Job | None:
        """The next mail, waited for at most `patience` seconds; None when none came."""
        try:
            async with asyncio.timeout(patience):
                while not self.ready:
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self.idle.append(waiter)
                    try:
                        await waiter
                    finally:
                        if waiter in self.idle:
                            self.idle.remove(waiter)
        except TimeoutError:
            return None
        return self.ready.popleft()

    def failed(self, now: float, reply: RemoteReply, link: Link) -> None:
        """A connection could not be made: none is tried for a while, unless the answer was final for these mails."""
        self.proven = False
        self.fault = (reply, link)
        if not reply.permanent:
            self.paused_until = now + min(FIRST_PAUSE * 2.0 ** min(self.pauses, 16), LONGEST_PAUSE)
            self.pauses += 1

    def enough(self, now: float) -> None:
        """It refused one more connection while others stand: these go on, and no more are tried for a while."""
        self.enough_until = now + FIRST_PAUSE

    def answered(self) -> None:
        """A connection was made."""
        self.live += 1
        self.proven, self.pauses, self.paused_until, self.fault = True, 0, 0.0, None


def _ahead(until: float, now: float) -> bool:
    """Whether a pause lasts. One that seems longer than any is of a clock that was set back since."""
    return now < until <= now + LONGEST_PAUSE
