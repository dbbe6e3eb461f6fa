"""The clock of alerts: looks when something has come in and each hour, remembers, and lets messages go out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dmarcview.store import StoreError, sent

from . import memory
from .dnswatch import Watch
from .evaluate import evaluate
from .explain import explained
from .machinewatch import Machine
from .model import Change, Finding
from .post import Post

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store import Store
    from dmarcview_reports.trust_dns import Resolver

log = logging.getLogger(__name__)

TICK = 1.0  # seconds between two looks whether something is due
QUIET = 5.0  # seconds without news after which what has come in is judged, or at the latest after
LATEST = 60.0
HOURLY = 3_600.0  # what depends on the time alone: reporters that are overdue, queues that wait
REST = 10.0  # times as long as a look took, nothing looks again: a large store is not looked at all the time
RETRY = 30.0
STOP_SECONDS = 15.0


class Watches(NamedTuple):
    """What looks beyond the rows: at the DNS and at this machine."""

    dns: Watch
    machine: Machine


def watches(
    config: Config, store: Store, *, ask: Callable[[], Resolver] | None = None, clock: Callable[[], float] = time.time
) -> Watches:
    """The watches of these settings; `ask` gives resolvers."""
    return Watches(Watch(config, store, ask=ask, clock=clock), Machine(config, store.ledger, clock=clock))


def look(store: Store, config: Config, now: int, watching: Watches) -> list[Finding]:
    """Everything that is wrong at `now`, told by its cause, and what was and has ended.

    The DNS is not asked: what was last seen there counts. What a graver finding explains is its member.
    """
    found = [*evaluate(store, config, now), *watching.dns.findings(), *watching.machine.findings()]
    told, silenced = explained([one for one in found if one.cleared is None])
    for one in silenced:
        log.debug("%s is explained by %s", one.finding.title, one.by.title)
    return [*told, *past([one for one in found if one.cleared is not None])]


def past(over: Sequence[Finding]) -> list[Finding]:
    """What has ended, told by its cause as it would have been; incidents of one name at other times stay apart."""
    first = {one.fingerprint: one for one in reversed(over)}
    told, _ = explained(list(first.values()))
    return [*told, *(one for one in over if first[one.fingerprint] is not one)]


def check(store: Store, config: Config, now: int, watching: Watches) -> list[Change]:
    """Look, and remember: gives what was opened, got worse or better, or has cleared."""
    changes = memory.settle(store.ledger, look(store, config, now, watching), now)
    for change in changes:
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
        self._seen: tuple[int, int] | None = None  # versions that were judged
        self._news: tuple[tuple[int, int], float, float] | None = None  # newest versions, since when, and first news
        self._next, self._hourly = 0.0, clock()
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
        """End after the steps under way."""
        self._ended.set()
        for thread in (self, *self._others):
            if thread.is_alive():
                thread.join(STOP_SECONDS)
        self.store.close()

    def step(self) -> bool:
        """Look if it is time; was it?"""
        now = self.clock()
        versions = (self.store.version(), sent.version(self.store.ledger))
        if versions != self._seen and (self._news is None or self._news[0] != versions):
            self._news = (versions, now, now if self._news is None else self._news[2])
        due = self._news is not None and (now - self._news[1] >= QUIET or now - self._news[2] >= LATEST)
        if now < self._next or not (due or now - self._hourly >= HOURLY):
            return False
        began = time.monotonic()
        check(self.store, self.config, int(now), self.watching)
        self._seen, self._news, self._hourly = versions, None, now
        self._next = now + REST * (time.monotonic() - began)
        return True

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
            except Exception:
                log.exception("%s failed; tried again", name)
                wait = RETRY
