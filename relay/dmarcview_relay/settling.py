"""Makes durable what a try brought: outcome, row of the sent log and mail to the sender, all of it or nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from . import maillog
from .destination import Job
from .envelope import Mail, Queued, Ticket
from .outcome import Link, RemoteReply
from .queue import Gone, Queue, QueueError
from .returns import Returns
from .settings import Schedule
from .verdicts import Verdict, judge

log = logging.getLogger(__name__)

UNWRITTEN_SECONDS = 5.0  # after the queue could not be written


class Settling:
    """Judges replies and writes what follows. `schedule` and `returns` may be replaced at any time."""

    def __init__(
        self,
        queue: Queue,
        schedule: Schedule,
        returns: Returns,
        logged: Callable[[Ticket], str],
        clock: Callable[[], float],
    ) -> None:
        self.schedule, self.returns = schedule, returns
        self.stopping = False
        self._queue = queue
        self._logged = logged
        self._clock = clock

    async def write(
        self, job: Job, replies: Sequence[RemoteReply], link: Link, *, passed_on: bool
    ) -> tuple[Verdict, list[Queued]]:
        """The verdict and the mails that tell of it, once they are written. What was delivered must not be forgotten
        while we live, so a queue that cannot be written is waited for; only at the stop QueueError is raised then.
        Raises Gone when somebody deleted the mail.
        """
        now = self._clock()
        verdict = judge(
            job.queued, job.tickets, replies, link,
            now=now, schedule=self.schedule, logged=self._logged, passed_on=passed_on,
        )  # fmt: skip
        new = await self._told(job, verdict, now)
        while True:
            try:
                fresh = await self._queue.settle(job.queued, verdict.settled, new)
                break
            except QueueError as error:
                log.error("%s: its outcome cannot be written: %s", job.queued.id, error)
                if self.stopping:
                    raise
                await asyncio.sleep(UNWRITTEN_SECONDS)
        for settled in verdict.settled:
            maillog.tried(settled.attempt)
        return verdict, fresh

    async def _told(self, job: Job, verdict: Verdict, now: float) -> list[tuple[Mail, bytes]]:
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
        try:
            return self.returns.make(job.queued, verdict, content, now)
        except Exception:  # what happened is written all the same, and whoever got nothing waits for a person
            log.exception("%s: its sender could not be told", job.queued.id)
            verdict.bury()
            return []
