"""Delivers what the queue holds: each destination by its own connections, each mail at its time.

What is claimed is known in memory only. A process that dies leaves no claim behind: the next one finds every mail that
was not settled, so that a mail is delivered at least once (RFC 5321 section 4.5.3.2.6 says why never exactly once).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from .agenda import Agenda
from .deliver import Courier, NotConnected, Session
from .destination import Destination, Job
from .envelope import Queued, Ticket
from .outcome import Link, RemoteReply
from .queue import Gone, Queue, QueueError
from .retry import due_at, next_try
from .returns import Returns
from .routes import hop
from .settings import RelaySettings
from .settling import Settling
from .slots import Slots

log = logging.getLogger(__name__)

CONTENT_BYTES = 64_000_000  # of mails just accepted so much is kept for their first delivery
TURN_MAILS = 500  # are read from the queue, begun or put off at a stretch
LOOK_SECONDS = 0.5  # between two looks for what another process changed in the queue
CLOCK_BACK_SECONDS = 60.0  # a clock that went back so far was set: what waits is planned anew


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
        self._clock = clock
        self._settling = Settling(queue, settings.queue, returns, logged, clock)
        self._agenda = Agenda()
        self._destinations: dict[str, Destination] = {}
        self._slots = Slots(settings.delivery.connections)
        self._kept = 0  # bytes of contents in memory
        self._claimed: set[int] = set()  # tickets that wait for a connection or are under way
        self._touched: set[int] | None = None  # tickets that were settled while the queue is read again
        self._withdrawn: set[int] = set()  # tickets that somebody held or deleted while they were under way
        self._unread = True  # whether the queue is to be read again
        self._wake = asyncio.Event()
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    # coming in

    def add(self, queued: Queued, content: bytes | None = None) -> None:
        """A mail that was just queued or released; `content` saves reading it back."""
        if queued.mail.hold:
            return
        self._withdrawn.difference_update(ticket.number for ticket in queued.tickets)
        # Whoever read the queue since the mail was written may have found it there.
        tickets = [ticket for ticket in queued.tickets if not self._knows(ticket)]
        if content is not None and self._kept + len(content) > CONTENT_BYTES:
            content = None
        now = self._clock()
        times = [(ticket, due_at(ticket, now, self.settings.queue)) for ticket in tickets]
        self._schedule(queued, [ticket for ticket, at in times if at > now])
        self._ready(queued, [ticket for ticket, at in times if at <= now], content)

    async def run(self) -> None:
        """Load the queue, then deliver until `stop`."""
        looked, clock = 0.0, self._clock()
        while not self._stopping:
            before, clock = clock, self._clock()
            if clock < before - CLOCK_BACK_SECONDS:
                log.warning("the clock was set back by %.0f s: what waits is planned anew", before - clock)
                self._unread = True
            if time.monotonic() - looked >= LOOK_SECONDS:
                await self._look()
                looked = time.monotonic()
            more = self._start_due()
            self._wake.clear()
            try:
                async with asyncio.timeout(0.0 if more else min(LOOK_SECONDS, self._agenda.wait(self._clock()))):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def stop(self, grace: float) -> None:
        """Begin nothing more; let transactions under way end within `grace` seconds, then cut them."""
        self._stopping = self._settling.stopping = True
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
        self.settings = settings
        self._settling.schedule, self._settling.returns = settings.queue, returns
        self._slots.most = settings.delivery.connections
        waiting = [job for destination in self._destinations.values() for job in destination.ready]
        for destination in self._destinations.values():
            destination.ready.clear()
        self._destinations = {key: each for key, each in self._destinations.items() if each.connections}
        for destination in self._destinations.values():
            destination.paused_until = destination.enough_until = 0.0
        for job in waiting:
            self._let_go(job)
            self._ready(job.queued, job.tickets, job.content)

    def nudge(self) -> None:
        """Look at the queue now."""
        self._wake.set()

    # what waits

    def _knows(self, ticket: Ticket) -> bool:
        return ticket.number in self._claimed or ticket.number in self._agenda

    async def _look(self) -> None:
        """See to what others changed, and to destinations whose pause is over."""
        try:
            if self._queue.changed() or self._unread:
                await self._read_again()
        except QueueError as error:
            self._unread = True
            log.error("what waits cannot be read: %s", error)
        self._resume()

    async def _read_again(self) -> None:
        """Plan what waits from the queue alone, without losing what happens meanwhile. Raises QueueError."""
        self._agenda.clear()
        for destination in self._destinations.values():
            for job in destination.ready:
                self._let_go(job)
            destination.ready.clear()
        under_way = frozenset(self._claimed)
        self._touched, self._withdrawn = set(), set()
        missing = set(under_way)
        try:
            for count, queued in enumerate(self._queue.waiting(), 1):
                numbers = {ticket.number for ticket in queued.tickets}
                missing -= numbers
                self._schedule(
                    queued,
                    [t for t in queued.tickets if not (t.number in self._touched or self._knows(t))],
                )
                if count % TURN_MAILS == 0:
                    self._start_due()
                    await asyncio.sleep(0)  # clients and deliveries go on meanwhile
        finally:
            self._touched = None
        self._withdrawn = missing
        self._unread = False

    def _schedule(self, queued: Queued, tickets: Iterable[Ticket]) -> None:
        now, times = self._clock(), defaultdict(list)
        for ticket in tickets:
            times[due_at(ticket, now, self.settings.queue)].append(ticket)
        for at, group in times.items():
            self._agenda.plan(at, queued, group)
        if times:
            self._wake.set()

    def _start_due(self) -> bool:
        """Begin what is due, some of it; whether there is more."""
        due = self._agenda.due(self._clock(), TURN_MAILS)
        for queued, tickets in due:
            self._ready(queued, [ticket for ticket in tickets if ticket.number not in self._withdrawn])
        return len(due) == TURN_MAILS

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
            if any(ticket.tries and not ticket.next_at for ticket in group):
                destination.paused_until = 0.0  # somebody wants it tried now, and may have mended what was wrong
            for start in range(0, len(group), most):
                job = Job(queued, tuple(group[start : start + most]), content)
                self._claimed.update(ticket.number for ticket in job.tickets)
                self._kept += len(content or b"")
                destination.ready.append(job)
            self._kick(destination)

    def _let_go(self, job: Job) -> None:
        """The job is no longer under way."""
        numbers = [ticket.number for ticket in job.tickets]
        self._claimed.difference_update(numbers)
        if self._touched is not None:
            self._touched.update(numbers)
        self._kept -= len(job.content or b"")

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
        if kind := self._slots.take(destination):
            destination.connections += 1
            self._task(self._serve(destination, kind))

    def _resume(self) -> None:
        """Destinations whose pause is over, and forgotten ones."""
        now = self._clock()
        for key, destination in list(self._destinations.items()):
            if destination.ready:
                self._kick(destination)
            elif destination.forgettable(now):
                del self._destinations[key]

    async def _serve(self, destination: Destination, kind: str) -> None:
        """One connection, from its beginning to its end."""
        try:
            if session := await self._connected(destination, kind):
                try:
                    await self._converse(destination, session)
                finally:
                    destination.live -= 1
                    await session.close()
        except Exception:
            log.exception("%s: a connection broke", destination.hop.key)
        finally:
            destination.connections -= 1
            self._slots.left()
            self._feed()
            self._kick(destination)

    async def _connected(self, destination: Destination, kind: str) -> Session | None:
        """A session; None when there can be none now, and then what waited for it is put off."""
        try:
            session = await self._courier.connect(destination.hop)
        except NotConnected as failure:
            reply, link = failure.reply, failure.link
        except Exception:
            log.exception("%s: cannot connect", destination.hop.key)
            reply, link = RemoteReply(451, "4.3.0", "local error, see the log", "connect", False), Link()
        else:
            destination.answered()
            return session
        finally:
            self._slots.connected(kind)
            self._feed()
        log.info("%s: no connection: %s", destination.hop.key, reply)
        if destination.live:
            destination.enough(self._clock())
        else:
            destination.failed(self._clock(), reply, link)
            await self._put_off(destination, reply, link)
        return None

    def _feed(self) -> None:
        """Give free connections to those who wait for one."""
        if not self._stopping:
            for destination in self._slots.next():
                self._kick(destination)

    async def _converse(self, destination: Destination, session: Session) -> None:
        idle = self.settings.delivery.idle
        for count in range(self.settings.delivery.mails_per_connection):
            job = await destination.take(0.0 if self._stopping else idle)
            if job is None:
                return
            wait = destination.pace()
            if wait > idle:  # longer than a host may be kept waiting
                destination.ready.appendleft(job)
                return
            destination.paced()
            if not count:
                self._kick(destination)  # one more connection, when there is more to do than this
            if wait > 0.0:
                await asyncio.sleep(wait)
            await self._deliver(destination, session, job, fresh=count == 0)
            if not session.usable or self._stopping:
                return

    async def _put_off(self, destination: Destination, reply: RemoteReply, link: Link) -> None:
        """What waits for a destination that does not answer: each mail by its own schedule, with the reason."""
        jobs = list(destination.ready)
        destination.ready.clear()
        for start in range(0, len(jobs), TURN_MAILS):
            some = jobs[start : start + TURN_MAILS]
            await asyncio.gather(*(self._refused(job, reply, link) for job in some))

    async def _refused(self, job: Job, reply: RemoteReply, link: Link) -> None:
        try:
            await self._settle(job, [reply] * len(job.tickets), link, passed_on=False)
        except Exception:
            self._broke(job)

    # one mail

    async def _deliver(self, destination: Destination, session: Session, job: Job, *, fresh: bool) -> None:
        try:
            await self._try(destination, session, job, fresh=fresh)
        except Exception:
            self._broke(job)

    def _broke(self, job: Job) -> None:
        """A fault of ours: the mail comes again by its schedule, less and less often, and the log has all of it.

        What has reached its end stays in the queue, untried until the next start: a fault of ours returns no mail.
        """
        log.exception("%s: a delivery broke", job.queued.id)
        self._let_go(job)
        now, accepted = self._clock(), job.queued.mail.accepted
        again = []
        for ticket in job.tickets:
            at = next_try(ticket.tries + 1, accepted, now, self.settings.queue)
            if at is not None:
                again.append(ticket._replace(tries=ticket.tries + 1, next_at=at))
        self._schedule(job.queued, again)

    async def _try(self, destination: Destination, session: Session, job: Job, *, fresh: bool) -> None:
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
        """Make durable what happened, and see to what comes next."""
        try:
            verdict, fresh = await self._settling.write(job, replies, link, passed_on=passed_on)
        except Gone:
            self._let_go(job)
            return
        except QueueError:  # at the stop: the next start finds it
            return
        self._let_go(job)
        self._schedule(
            job.queued,
            [
                each.ticket._replace(tries=each.ticket.tries + 1, next_at=each.next_at, warned=each.warned)
                for each in verdict.settled
                if each.next_at and each.ticket.number not in self._withdrawn
            ],
        )
        for each in fresh:
            self.add(each)


def _idle_break(reply: RemoteReply) -> bool:
    """Whether the connection was gone, or the other side had enough of it, before the transaction began."""
    return reply.stage == "mail" and reply.code == 421
