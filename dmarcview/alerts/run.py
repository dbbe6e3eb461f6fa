"""The clock of alerts: looks when something has come in and each hour, remembers, and lets messages go out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from dmarcview.store import StoreError

from . import memory
from .dnswatch import Watch
from .evaluate import Evaluator
from .explain import explained
from .machinewatch import Machine
from .model import CHANGED, Change, Finding
from .post import Post

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store import Store
    from dmarcview_reports.trust_dns import Resolver

log = logging.getLogger(__name__)

TICK = 1.0  # seconds between two looks whether something is due
QUIET = 5.0  # seconds without news after which what has come in is judged, or at the latest after
LATEST = 60.0
HOURLY = 3_600.0  # what depends on the time alone: reporters that are overdue; what was sent and is reported later
MACHINE_SECONDS = 60.0  # between two looks at this machine, whose faults do not wait for reports
REST = 10.0  # times as long as a look took, nothing looks again: a large store is not looked at all the time
RETRY = 30.0
STOP_SECONDS = 8.0  # for all threads together


class Watches(NamedTuple):
    """What looks, again and again: at the DNS, at this machine, and at the rows."""

    dns: Watch
    machine: Machine
    rows: Evaluator


def watches(
    config: Config, store: Store, *, ask: Callable[[], Resolver] | None = None, clock: Callable[[], float] = time.time
) -> Watches:
    """The watches of these settings; `ask` gives resolvers."""
    machine = Machine(config, store.ledger, clock=clock)
    return Watches(Watch(config, store, ask=ask, clock=clock), machine, Evaluator())


class Look(NamedTuple):
    """What one look found: what is wrong, what was and has ended, and what a graver finding explains."""

    findings: list[Finding]
    explained: list[Finding]


def look(store: Store, config: Config, now: int, watching: Watches) -> Look:
    """Everything that is wrong at `now`, told by its cause, and what was and has ended.

    The DNS is not asked: what was last seen there counts. What a graver finding explains is its member.
    """
    found = [*watching.rows(store, config, now), *watching.dns.findings(), *watching.machine.findings()]
    told, silenced = explained([one for one in found if one.cleared is None])
    others = [replace(one.finding, explained_by=one.by.title) for one in silenced]
    return Look([*told, *past([one for one in found if one.cleared is not None])], others)


def past(over: Sequence[Finding]) -> list[Finding]:
    """What has ended, told by its cause as it would have been; incidents of one name at other times stay apart."""
    first = {one.fingerprint: one for one in reversed(over)}
    told, _ = explained(list(first.values()))
    return [*told, *(one for one in over if first[one.fingerprint] is not one)]


def check(store: Store, config: Config, now: int, watching: Watches) -> list[Change]:
    """Look, and remember: gives what was opened, got worse or better, or has ended."""
    version = store.version()  # before the look: who judged more meanwhile has the last word
    found = look(store, config, now, watching)
    changes = memory.settle(
        store.ledger, found.findings, now, explained=found.explained, version=version,
        keep_days=config.alerts.incident_days,
    )  # fmt: skip
    for change in changes:
        if change.kind != CHANGED:
            log.info("%s: %s", change.kind, change.incident.finding.title)
    return changes


class Alerts(threading.Thread):
    """Runs beside the ingest with a store of its own, so that a long look never holds a mail up."""

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        ask: Callable[[], Resolver] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`store` is closed by `stop`. `ask` gives resolvers for the watch over the DNS."""
        super().__init__(name="alerts", daemon=True)
        self.config, self.store, self.clock = config, store, clock
        self.watching = watches(config, store, ask=ask, clock=clock)
        self.post = Post(config, store)
        self._ended = threading.Event()
        self._seen = -1  # version that was judged
        self._news: tuple[int, float, float] | None = None  # newest version, since when, and first news
        self._next, self._hourly, self._last = 0.0, clock(), clock()
        self._machine_at = clock() + MACHINE_SECONDS
        self._faults: set[str] | None = None  # of this machine, at the last look
        self._unjudged = False  # have they changed since the last check that went well?
        self._others = [
            threading.Thread(target=self._each, args=(name, step), name=name, daemon=True)
            for name, step in (("alerts-dns", self.watching.dns.step), ("alerts-post", self._send))
        ]

    def run(self) -> None:
        """Until `stop`."""
        for thread in self._others:
            thread.start()
        self._each("alerts", self.step)

    def stop(self) -> None:
        """End after the steps under way; a step that takes longer is left, for it is a daemon's."""
        self._ended.set()
        self.watching.dns.stop()
        self.post.stop()
        until = time.monotonic() + STOP_SECONDS
        threads = [thread for thread in (self, *self._others) if thread.is_alive()]
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if not any(thread.is_alive() for thread in threads):
            self.store.close()

    def step(self) -> bool:
        """Look if it is time; was it?"""
        now = self.clock()
        if now < self._last:  # the clock was set back
            self._next, self._hourly, self._news = 0.0, now, None
        self._last = now
        version = self.store.version()
        if version != self._seen and (self._news is None or self._news[0] != version):
            self._news = (version, now, now if self._news is None else self._news[2])
        due = self._news is not None and (now - self._news[1] >= QUIET or now - self._news[2] >= LATEST)
        self._look_at_machine(now)
        due = due or now - self._hourly >= HOURLY or self._unjudged
        if now < self._next or not due:
            return False
        began = time.monotonic()
        try:
            check(self.store, self.config, int(now), self.watching)
            self._seen, self._news, self._hourly, self._unjudged = version, None, now, False
        finally:
            self._next = now + REST * (time.monotonic() - began)
        return True

    def _look_at_machine(self, now: float) -> None:
        """Each minute: are other things wrong with this machine than at the last look?"""
        if abs(now - self._machine_at) < MACHINE_SECONDS and now < self._machine_at:
            return
        self._machine_at = now + MACHINE_SECONDS
        before, self._faults = self._faults, {one.fingerprint for one in self.watching.machine.findings()}
        self._unjudged = self._unjudged or (before is not None and before != self._faults)

    def _send(self) -> None:
        now = int(self.clock())
        self.post.ask(now)
        self.post.step(now)

    def _each(self, name: str, step: Callable[[], object]) -> None:
        """Call `step` again and again; a fault of one round never ends the others."""
        wait = 0.0
        while not self._ended.wait(wait):
            try:
                step()
                wait = TICK
            except StoreError as error:
                log.error("%s: %s; tried again", name, error)
                wait = RETRY
            except Exception:  # a bug in one look must not end all others, unseen
                log.exception("%s failed; tried again", name)
                wait = RETRY
