"""Delivers what the queue holds: each destination by its own connections, each mail at its time.

What is claimed is known in memory only. A process that dies leaves no claim behind: the next one finds every mail that
was not settled, so that a mail is delivered at least once (RFC 5321 section 4.5.3.2.6 says why never exactly once).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from . import maillog
from .deliver import Courier, NotConnected, Session
from .destination import Destination, Job
from .envelope import Mail, Queued, Ticket
from .outcome import Link, RemoteReply
from .queue import Gone, Queue, QueueError
from .retry import due_at
from .returns import Returns
from .routes import hop
from .settings import RelaySettings
from .verdicts import Verdict, judge

log = logging.getLogger(__name__)

CONTENT_BYTES = 64_000_000  # of mails just accepted so much is kept for their first delivery
PAGE_MAILS = 500  # of the queue are read at a stretch
LOOK_SECONDS = 0.5  # between two looks for what another process changed in the queue
UNWRITTEN_SECONDS = 5.0  # after the queue could not be written


class Worker:
    """The delivering half of the relay. Everything runs in one event loop."""

    def __init__(
        self,
        settings: RelaySettings,
        queue: Queue,
        courier: Courier,
        *,
        returns: Returns,
        logged: Callable[[Ticket], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`logged` writes a recipient as the sent log may hold it."""
        self.settings = settings
        self._queue = queue
        self._courier = courier
        self._returns = returns
        self._logged = logged
        self._clock = clock
        self._later: list[tuple[float, int, Queued, tuple[Ticket, ...]]] = []
        self._order = itertools.count()
        self._destinations: dict[str, Destination] = {}
        self._starved: dict[str, Destination] = {}  # would connect, but all connections are in use
        self._connections = 0
        self._kept = 0  # bytes of contents in memory
        self._claimed: set[int] = set()  # tickets under way
        self._touched: set[int] | None = None  # tickets that changed while the queue is read again
        self._wake = asyncio.Event()
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    # coming in

    def add(self, queued: Queued, content: bytes | None = None) -> None:
        """A mail that was just queued; `content` saves reading it back."""
        if queued.mail.hold:
            return
        self._touch(queued.tickets)
        if content is not None and self._kept + len(content) > CONTENT_BYTES:
            content = None
        now = self._clock()
        due = tuple(ticket for ticket in queued.tickets if ticket.next_at <= now)
        self._schedule(queued, [ticket for ticket in queued.tickets if ticket.next_at > now])
        self._ready(queued, due, content)

    async def run(self) -> None:
        """Load the queue, then deliver until `stop`."""
        await self._read_again()
        looked = time.monotonic()
        while not self._stopping:
            self._start_due()
            if time.monotonic() - looked >= LOOK_SECONDS:
                looked = time.monotonic()
                if self._queue.changed():
                    await self._read_again()
                    continue
                self._resume()
            self._wake.clear()
            wait = LOOK_SECONDS
            if self._later:
                wait = min(wait, max(0.0, self._later[0][0] - self._clock()))
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def stop(self, grace: float) -> None:
        """Begin nothing more; let transactions under way end within `grace` seconds, then cut them."""
        self._stopping = True
        self._wake.set()
        for destination in self._destinations.values():
            destination.ready.clear()  # it is all in the queue
            while destination.wake():
                pass
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=max(grace, 0.01))
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def reroute(self, settings: RelaySettings, returns: Returns) -> None:
        """New settings: what waits goes by the new routes, what is under way ends by the old ones."""
        self.settings, self._returns = settings, returns
        waiting = [job for destination in self._destinations.values() for job in destination.ready]
        for destination in self._destinations.values():
            destination.ready.clear()
        self._destinations = {key: each for key, each in self._destinations.items() if each.connections}
        for destination in self._destinations.values():
            destination.paused_until = 0.0
        for job in waiting:
            self._let_go(job)
            self._ready(job.queued, job.tickets, job.content)

    def nudge(self) -> None:
        """Look at the queue now."""
        self._wake.set()

    # what waits

    async def _read_again(self) -> None:
        """Take over what another process changed, without losing what happens meanwhile."""
        self._touched = set()
        found = []
        try:
            for queued in self._queue.waiting():
                found.append(queued)
                if len(found) % PAGE_MAILS == 0:
                    await asyncio.sleep(0)  # clients and deliveries go on meanwhile
        except QueueError as error:
            log.error("the queue cannot be read: %s", error)
            return
        finally:
            touched, self._touched = self._touched or set(), None
        for destination in self._destinations.values():
            for job in [job for job in destination.ready if not touched.issuperset(t.number for t in job.tickets)]:
                destination.ready.remove(job)
                self._let_go(job)
        skip = touched | self._claimed
        self._later = [entry for entry in self._later if any(ticket.number in touched for ticket in entry[3])]
        heapq.heapify(self._later)
        for queued in found:
            self._schedule(queued, [ticket for ticket in queued.tickets if ticket.number not in skip])

    def _schedule(self, queued: Queued, tickets: Sequence[Ticket]) -> None:
        now, times = self._clock(), defaultdict(list)
        for ticket in tickets:
            times[due_at(ticket, now, self.settings.queue)].append(ticket)
        for at, group in times.items():
            heapq.heappush(self._later, (at, next(self._order), queued, tuple(group)))
        if times:
            self._wake.set()

    def _start_due(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            _, _, queued, tickets = heapq.heappop(self._later)
            self._ready(queued, tickets)

    def _ready(self, queued: Queued, tickets: Sequence[Ticket], content: bytes | None = None) -> None:
        """Give each recipient to its destination, by the routes of this moment."""
        parts: dict[str, list[Ticket]] = defaultdict(list)
        for ticket in tickets:
            way = hop(ticket.recipient.address.ascii_domain, self.settings)
            destination = self._destinations.get(way.key)
            if destination is None:
                destination = self._destinations[way.key] = Destination(way)
            destination.hop = way
            parts[way.key].append(ticket)
        most = self.settings.delivery.recipients
        for key, group in parts.items():
            destination = self._destinations[key]
            for start in range(0, len(group), most):
                job = Job(queued, tuple(group[start : start + most]), content)
                self._claimed.update(ticket.number for ticket in job.tickets)
                self._kept += len(content or b"")
                destination.ready.append(job)
            if destination.fault and self._clock() < destination.paused_until:
                self._task(self._put_off(destination))
            else:
                self._kick(destination)

    def _let_go(self, job: Job) -> None:
        """The job is no longer under way."""
        self._claimed.difference_update(ticket.number for ticket in job.tickets)
        self._kept -= len(job.content or b"")

    def _touch(self, tickets: Iterable[Ticket]) -> None:
        if self._touched is not None:
            self._touched.update(ticket.number for ticket in tickets)

    # connections

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _kick(self, destination: Destination) -> None:
        """Rouse or open a connection when there is something for it."""
        if destination.wake():
            return
        if self._stopping or not destination.wants(self._clock()):
            return
        if self._connections >= self.settings.delivery.connections:
            self._starved[destination.hop.key] = destination
            return
        destination.connections += 1
        self._connections += 1
        self._task(self._serve(destination))

    def _resume(self) -> None:
        """Destinations whose pause is over, and forgotten ones."""
        now = self._clock()
        for key, destination in list(self._destinations.items()):
            if destination.ready:
                self._kick(destination)
            elif destination.forgettable(now):
                del self._destinations[key]

    async def _serve(self, destination: Destination) -> None:
        """One connection, from its beginning to its end."""
        try:
            await self._converse(destination)
        except Exception:
            log.exception("%s: a delivery broke", destination.hop.key)
            destination.failed(self._clock(), RemoteReply(451, "4.3.0", "local error", "connect", False), Link())
            await self._put_off(destination)
        finally:
            destination.connections -= 1
            self._connections -= 1
            if not self._stopping:
                while self._starved and self._connections < self.settings.delivery.connections:
                    self._kick(self._starved.pop(next(iter(self._starved))))
                self._kick(destination)

    async def _converse(self, destination: Destination) -> None:
        try:
            session = await self._courier.connect(destination.hop)
        except NotConnected as failure:
            log.info("%s: no connection: %s", destination.hop.key, failure.reply)
            destination.failed(self._clock(), failure.reply, failure.link)
            await self._put_off(destination)
            return
        destination.answered()
        self._kick(destination)  # one more, when there is more
        try:
            for count in range(self.settings.delivery.mails_per_connection):
                await self._pace(destination)
                job = await destination.take(0.0 if self._stopping else self.settings.delivery.idle)
                if job is None:
                    break
                await self._deliver(destination, session, job, fresh=count == 0)
                if not session.usable or self._stopping:
                    break
        finally:
            await session.close()

    async def _pace(self, destination: Destination) -> None:
        """Leave the distance between two mails that the settings ask for."""
        if not destination.hop.per_minute or not destination.ready:
            return
        now = time.monotonic()
        wait = destination.next_slot - now
        destination.next_slot = max(destination.next_slot, now) + 60.0 / destination.hop.per_minute
        if wait > 0:
            await asyncio.sleep(wait)

    async def _put_off(self, destination: Destination) -> None:
        """What waits for a destination that does not answer: each mail by its own schedule, with the reason."""
        jobs = list(destination.ready)
        destination.ready.clear()
        if not jobs:
            return
        assert destination.fault is not None
        reply, link = destination.fault
        await asyncio.gather(*(self._settle(job, [reply] * len(job.tickets), link, passed_on=False) for job in jobs))

    # one mail

    async def _deliver(self, destination: Destination, session: Session, job: Job, *, fresh: bool) -> None:
        try:
            content = job.content if job.content is not None else await self._queue.content(job.queued)
        except Gone:  # somebody deleted it a moment ago
            self._let_go(job)
            return
        except QueueError as error:
            log.error("%s: its content cannot be read: %s", job.queued.id, error)
            replies = [RemoteReply(451, "4.3.0", f"the queue cannot be read: {error}", "body", False)]
            await self._settle(job, replies * len(job.tickets), Link(), passed_on=False)
            return
        recipients = [ticket.recipient for ticket in job.tickets]
        replies = await session.send(job.queued.mail, recipients, content)
        if not fresh and not job.repeated and not session.usable and all(_idle_break(reply) for reply in replies):
            job.repeated = True  # the other side had closed an idle connection: nothing was tried
            destination.ready.appendleft(job)
            return
        await self._settle(job, replies, session.link, passed_on=session.dsn)

    async def _settle(self, job: Job, replies: Sequence[RemoteReply], link: Link, *, passed_on: bool) -> None:
        """Make durable what happened, tell the sender what is to be told, and see to what comes next."""
        queued = job.queued
        now = self._clock()
        verdict = judge(
            queued, job.tickets, replies, link,
            now=now, schedule=self.settings.queue, logged=self._logged, passed_on=passed_on,
        )  # fmt: skip
        try:
            new = await self._returned(job, verdict, now)
        except Gone:
            self._let_go(job)
            return
        while True:
            try:
                fresh = await self._queue.settle(queued, verdict.settled, new)
                break
            except QueueError as error:  # what was delivered must not be forgotten while we live
                log.error("%s: its outcome cannot be written: %s", queued.id, error)
                if self._stopping:
                    return
                await asyncio.sleep(UNWRITTEN_SECONDS)
        for settled in verdict.settled:
            maillog.tried(settled.attempt)
        self._touch(job.tickets)
        self._let_go(job)
        self._schedule(
            queued,
            [
                each.ticket._replace(tries=each.ticket.tries + 1, next_at=each.next_at, warned=each.warned)
                for each in verdict.settled
                if each.next_at
            ],
        )
        for each in fresh:
            self.add(each)

    async def _returned(self, job: Job, verdict: Verdict, now: float) -> list[tuple[Mail, bytes]]:
        """The mails that tell the sender what became of this one. Raises Gone."""
        if not verdict.tells:
            return []
        content = job.content
        if content is None:
            try:
                content = await self._queue.content(job.queued)
            except Gone:
                raise
            except QueueError as error:  # a bounce without what it returns is better than none
                log.error("%s: its content cannot be read: %s", job.queued.id, error)
                content = b""
        return self._returns.make(job.queued, verdict, content, now)


def _idle_break(reply: RemoteReply) -> bool:
    """Whether the connection was gone before the transaction began."""
    return not reply.said and reply.stage == "mail" and reply.code == 421
