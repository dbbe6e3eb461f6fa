"""The store kept in order beside the ingest: rows become files, sources get a class, old things leave."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from dmarcview import config as configuration
from dmarcview.config import Config
from dmarcview.store import Retention, Store, StoreDamaged, StoreError, incidents, records_seen

if TYPE_CHECKING:
    from dmarcview.sources import Refresher
    from dmarcview_reports.ingest import Judge
    from dmarcview_reports.model import Taken

log = logging.getLogger(__name__)

TICK = 1.0  # seconds between two looks at what is due
RETRY = 10.0  # seconds after the store failed
STOP_SECONDS = 15.0  # longest wait for the step under way
BOUNDING_SECONDS = 5.0  # between two looks at how much strangers sent
NAMES_SECONDS = 60.0  # between two rounds of reverse names
LATE_MAILS = 10_000  # mails in turn for another verification; more wait in the ledger until there is room
LATE_DAYS = 7  # how old they may be
SPELL = 5.0  # seconds after which verifications let other upkeep have its turn
RETRY_SECONDS = (60, 600, 3_600, 14_400)  # a verification that DNS failed is tried again after these


def open_store(config: Config, *, read_only: bool = False) -> Store:
    """The store that the settings name. Raises StoreError."""
    return Store.open(
        configuration.data_dir(config),
        url=config.data.url or None,
        read_only=read_only,
        watched=config.domains.watched,
    )


def retention(config: Config) -> Retention:
    """The retention that the settings ask for."""
    data = config.data
    return Retention(
        days=data.retention_days,
        raw_days=data.archive_days,
        domains=dict(data.domain_retention_days),
        refused_days=data.refused_days,
    )


def classify(store: Store, config: Config, now: int, *, everything: bool = False) -> None:
    """Give every source that is new or changed its class: one run of its own, as an import needs it."""
    from dmarcview.sources import refresh

    refresh(store, config, now, everything=everything)


class Late:
    """Mails whose verification DNS failed, as the ledger knows them: verified again, a few times after each start."""

    def __init__(self, store: Store, judge: Judge, config: Config, clock: Callable[[], float] = time.time) -> None:
        from dmarcview_reports.trust import with_own

        self._store, self._judge, self._clock = store, judge, clock
        self._limits = config.limits
        self._spokesmen = with_own(config.trust.also_speaks_for)
        self._waits = RETRY_SECONDS[: max(0, config.trust.tries - 1)]
        self._waiting: list[tuple[float, int, int]] = []  # when it is due, how often it was tried here, the input
        self._seen = 0  # the last input that was looked at

    def step(self) -> int:
        """Verify what is due again, for SPELL seconds; returns how many are believed now."""
        began = self._clock()
        self._look(began)
        believed = 0
        for one in sorted(one for one in self._waiting if one[0] <= began):
            self._waiting.remove(one)
            try:
                believed += self._again(*one)
            except StoreError:
                self._waiting.append(one)
                raise
            if self._clock() - began > SPELL:
                break
        return believed

    def _again(self, due: float, number: int, item: int) -> bool:
        """One more verification; is it believed now?"""
        taken = self._verified(item)
        if taken is None:
            return False
        if not taken.verdict.waits:
            self._store.settle([taken])
        elif number + 1 < len(self._waits):
            self._waiting.append((due + self._waits[number + 1], number + 1, item))
        return taken.verdict.auth == "pass"

    def _look(self, now: float) -> None:
        """Take up the mails that came since the last look; at the first one, also those of the days before."""
        room = LATE_MAILS - len(self._waiting)
        if room <= 0 or not self._waits:
            return
        found, self._seen = self._store.unsettled(self._seen, int(now) - LATE_DAYS * 86_400, room)
        self._waiting += [(max(now, one.received + self._waits[0]), 0, one.item) for one in found]

    def _verified(self, item: int) -> Taken | None:
        """A kept mail with the verdict of today; None when it is not kept any more."""
        from dmarcview_reports import reading
        from dmarcview_reports.model import Taken
        from dmarcview_reports.trust import of_reports

        try:
            kept = self._store.raw_item(item)
        except StoreDamaged as error:
            log.error("input %d stays unverified: %s", item, error)
            return None
        if kept is None:
            return None
        verdict = self._judge(kept.raw, kept.origin)
        found = reading.read(kept.raw, kept.origin.name, self._limits, int(self._clock()))
        return Taken(kept.origin, kept.raw, found, of_reports(verdict, found.reports, self._spokesmen))


class Upkeep(threading.Thread):
    """Runs beside the ingest with a store of its own, so that a long merge never holds a mail up."""

    def __init__(self, config: Config, judge: Judge | None, clock: Callable[[], float] = time.time) -> None:
        super().__init__(name="upkeep", daemon=True)
        self.config = config
        self.clock = clock
        self.store = open_store(config)
        self.late = Late(self.store, judge, config, clock) if judge else None
        self._ended = threading.Event()
        self._refresher: Refresher | None = None
        self._version = -1
        self._everything = threading.Event()  # names were found: the classes of all sources are due
        self._bounding = clock()
        self._big_round = clock() + min(60.0, config.ingest.upkeep_hours * 3_600)

    def run(self) -> None:
        """Until `stop`: look what is due each second."""
        if self.config.dns.reverse:
            threading.Thread(target=self._names, name="names", daemon=True).start()
        while not self._ended.wait(TICK):
            try:
                self.step()
            except StoreError as error:
                log.error("upkeep: %s; tried again", error)
                self._ended.wait(RETRY)
            except Exception:  # a bug on one input must not end the upkeep of all others, unseen
                log.exception("upkeep failed; tried again")
                self._ended.wait(RETRY)

    def stop(self) -> None:
        """End after the step under way."""
        self._ended.set()
        if self.is_alive():
            self.join(STOP_SECONDS)
        self.store.close()

    def step(self) -> None:
        """Do what is due now."""
        if self.late is not None:
            self.late.step()
        if self.store.flush_due():
            self.store.flush()
        self._classify()
        if self.clock() >= self._bounding:
            self._bounding = self.clock() + BOUNDING_SECONDS
            bound(self.store, self.config)
        if self.clock() >= self._big_round:
            self._big_round = self.clock() + self.config.ingest.upkeep_hours * 3_600
            big_round(self.store, self.config)

    def _classify(self) -> None:
        version = self.store.version()  # before the run: what comes in meanwhile is seen by the next one
        everything = self._everything.is_set()
        if version == self._version and not everything:
            return
        if self._refresher is None:
            self._refresher = _refresher(self.config)
        self._everything.clear()
        try:
            self._refresher.run(self.store, int(self.clock()), everything=everything)
        except StoreError:
            if everything:
                self._everything.set()
            raise
        self._version = version

    def _names(self) -> None:
        """Reverse names, slow by nature: in a thread that nobody waits for."""
        from dmarcview import reverse

        resolver = reverse.dns_resolver(self.config)
        with open_store(self.config) as store:
            while not self._ended.wait(NAMES_SECONDS):
                try:
                    if reverse.run(store, resolver, int(self.clock())).confirmed:
                        self._everything.set()
                except StoreError as error:
                    log.error("names: %s; tried again", error)


def _refresher(config: Config) -> Refresher:
    """The classifier of the settings; a geo file that cannot be read is told of and left out."""
    import dataclasses

    from dmarcview.geo import GeoError
    from dmarcview.sources import Refresher

    try:
        return Refresher.of(config)
    except GeoError as error:
        log.error("upkeep: %s; places of addresses come without it until the next start", error)
        without = dataclasses.replace(config.geo, country="", asn="")
        return Refresher.of(dataclasses.replace(config, geo=without))


def bound(store: Store, config: Config) -> None:
    """Keep what strangers sent within its share of the disk."""
    if config.data.refused_mb:
        from dmarcview.store.prune import bound_doubtful

        bound_doubtful(store, config.data.refused_mb * 1_000_000)


def big_round(store: Store, config: Config) -> None:
    """Compaction, retention and the sweep, one after the other."""
    store.compact()
    policy = retention(config)
    if policy != Retention():
        store.prune(policy)
    prune_sent(store, config)
    for one in (incidents, records_seen):
        one.prune(store.ledger, int(store.clock()), config.alerts.incident_days)
    store.sweep()


def prune_sent(store: Store, config: Config) -> int:
    """Let old rows of the sent log go, and old probes; gives how many rows went."""
    from dmarcview.store import probes, sent

    now, days = int(store.clock()), config.data.sent_days
    probes.prune(store.ledger, now, days)
    return sent.prune(store.ledger, now, days)
