"""The watch over the DNS: whose records are of interest, when each domain is due, the looks, and what they come to.

A domain is due some hours after its last look, and a few minutes after one that found something new: what a second look
does not find again was a slip. When it is due stands in the ledger, so a restart forgets nothing and several processes
share the work.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from dmarcview import query
from dmarcview.config import data_dir
from dmarcview.dns import resolver
from dmarcview.dns.looks import look
from dmarcview.dns.sender import sending_domains
from dmarcview.organisation import aligned
from dmarcview.query import Filters
from dmarcview.store import records_seen
from dmarcview.store.records_seen import Observed, Seen
from dmarcview_relay.keyfile import KeyFault
from dmarcview_relay.keys import RETIRING, KeyRing, checked_domain, checked_selector
from dmarcview_reports.trust_dns import DnsFailure, Metered, Resolver

from .dnsdrift import Interest, InUse, findings
from .model import Finding

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store import Store

DOMAINS = 1_000  # most that are watched
LARGEST = 50  # of those that recent reports are about, beside the ones that are named in the settings
SELECTORS = 20  # most of one domain: those whose key was seen, then those that most reporters name
LEAST = 5  # messages with a selector that never passed, before it counts as in use
REPORT_DAYS = 14  # of reports that tell which selectors are in use
INTEREST_SECONDS = 900  # so long it is remembered whom to watch
CONFIRM_SECONDS = 300  # until the second look at what is new
REST_SECONDS = 30.0  # at most between two askings whether something is due
STOP_SECONDS = 0.5  # between two askings whether to end
AT_ONCE = 8  # domains looked at together
SPELL = 20.0  # seconds of looking after which others have their turn
LOOKUPS, SECONDS = 300, 60.0  # most for one domain

log = logging.getLogger(__name__)


class Tried(NamedTuple):
    """The last try to look at a domain, answered or not: when, and at which keys."""

    at: float
    names: frozenset[str]


class Watch:
    """Looks at what is due, and says what is wrong.

    One thread makes the steps; `findings`, `interests` and `stop` may be called from others meanwhile.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        ask: Callable[[], Resolver] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`ask` gives a resolver for one round of looks: one that has not answered before, else it answers the same."""
        self._config, self._store, self._clock = config, store, clock
        self._ask = ask or (lambda: resolver(config))
        self._tried: dict[str, Tried] = {}
        self._lock = threading.Lock()  # of the interests
        self._interests: tuple[float, list[Interest]] | None = None
        self._rest: tuple[float, float] | None = None  # from when until when nothing needs to be looked at
        self._ended = threading.Event()

    def interests(self) -> list[Interest]:
        """The domains to watch, with their keys in use."""
        now = self._clock()
        with self._lock:
            if self._interests is None or not 0 <= now - self._interests[0] < INTEREST_SECONDS:
                self._interests = (now, interests(self._config, self._store, now))
            return self._interests[1]

    def step(self) -> int:
        """Look at what is due, for a while; gives how many domains answered. Raises StoreError."""
        hours = self._config.alerts.dns_hours
        if not hours:
            return 0
        now = self._clock()
        if self._rest is not None and self._rest[0] <= now < self._rest[1]:
            return 0
        self._rest = None
        watched = self.interests()
        rows = records_seen.newest(self._store.ledger, [one.domain for one in watched])
        when = times(watched, rows, self._tried, hours * 3_600)
        waiting = [one for one, at in when if at <= now]
        if not waiting:
            self._rest = now, min([now + REST_SECONDS, *(at for _, at in when)])
            return 0
        return self._round(waiting)

    def stop(self) -> None:
        """Let the step under way end soon: what it has not looked at yet is due again."""
        self._ended.set()

    def findings(self) -> list[Finding]:
        """What is wrong, by all looks up to now. Raises StoreError."""
        if not self._config.alerts.dns_hours:
            return []
        watched = self.interests()
        history = records_seen.history(self._store.ledger, [one.domain for one in watched])
        return findings(history, watched, int(self._clock()), self._config.receive.rua)

    def _round(self, waiting: Sequence[Interest]) -> int:
        """Look at these; a DNS that answers nothing at all is left alone until the next time."""
        try:
            ask = self._ask()
        except DnsFailure as failure:
            log.warning("what domains publish is not looked at: %s", failure)
            self._mark(waiting, self._clock())
            return 0
        answered, began = 0, time.monotonic()
        for at in range(0, len(waiting), AT_ONCE):
            batch = waiting[at : at + AT_ONCE]
            now = self._clock()
            looked = self._together(batch, ask)
            if looked is None:
                break
            self._mark(batch, now)
            records_seen.note(self._store.ledger, [one for found in looked for one in found], int(now))
            answered += sum(bool(found) for found in looked)
            if not any(looked):
                log.warning("the DNS does not answer for %s", ", ".join(one.domain for one in batch))
                self._mark(waiting[at:], now)
                break
            if time.monotonic() - began > SPELL:
                break
        return answered

    def _together(self, batch: Sequence[Interest], ask: Resolver) -> list[list[Observed]] | None:
        """Look at these at once, each in a thread that no process waits for at its end; None: `stop` came before."""
        looks = [_Look(one, ask) for one in batch]
        for each in looks:
            each.start()
        for each in looks:
            while each.is_alive() and not self._ended.is_set():
                each.join(STOP_SECONDS)
        if self._ended.is_set():
            return None
        for each in looks:
            if each.fault is not None:
                raise each.fault
        return [each.found for each in looks]

    def _mark(self, looked: Iterable[Interest], now: float) -> None:
        self._tried.update({one.domain: Tried(now, frozenset(one.names)) for one in looked})


class _Look(threading.Thread):
    """One look at a domain: what it found, or the fault of ours that ended it."""

    def __init__(self, one: Interest, ask: Resolver) -> None:
        super().__init__(name="alerts-dns-look", daemon=True)
        self._one, self._ask = one, Metered(ask, LOOKUPS, SECONDS)
        self.found: list[Observed] = []
        self.fault: Exception | None = None

    def run(self) -> None:
        """See threading.Thread."""
        try:
            self.found = look(self._one.domain, self._one.names, self._ask)
        except Exception as fault:  # raised again by the thread that waits for it
            self.fault = fault


def times(
    watched: Iterable[Interest], newest: Iterable[Seen], tried: Mapping[str, Tried], every: float
) -> list[tuple[Interest, float]]:
    """When each is due: `every` seconds after the last look, or soon after one that left something open.

    `newest` are the newest rows of their records.
    """
    by: dict[str, list[Seen]] = {}
    for row in newest:
        by.setdefault(row.domain, []).append(row)
    found = []
    for one in watched:
        rows = by.get(one.domain, [])
        last = max((row.last for row in rows), default=0)
        last_try = tried.get(one.domain, Tried(0.0, frozenset()))
        soon = max(last, last_try.at) + CONFIRM_SECONDS
        unsure = any(not row.lasts and soon - row.first < every for row in rows)
        unseen = set(one.names) - {row.name for row in rows} - last_try.names
        found.append((one, soon if unsure or unseen else max(last + every, last_try.at + CONFIRM_SECONDS)))
    return found


def interests(config: Config, store: Store, now: float) -> list[Interest]:
    """Whose records are watched: the domains of the settings, those the relay signs for, and the largest of recent
    reports; each with the keys that its mail is signed with. Raises StoreError."""
    ring = KeyRing(data_dir(config) / "relay" / "keys")
    sends = bool(config.relay.senders)
    try:
        ring.refresh()
    except KeyFault as fault:
        log.warning("the relay's keys are not watched: %s", fault)
    since = (datetime.fromtimestamp(now, UTC) - timedelta(days=REPORT_DAYS)).date()
    largest = query.domains(store, Filters(since=since))["domain"].tolist()[:LARGEST]
    named = [*config.domains.watched, *(sending_domains(config, ring) if sends else ()), *largest]
    domains = list(dict.fromkeys(name for text in named if (name := _checked(text))))[:DOMAINS]
    reported = _reported(store, domains, Filters(since=since))
    out = []
    for domain in domains:
        ours = [*ring.signing(domain), *(key for key in ring.all() if key.domain == domain and key.state == RETIRING)]
        keys = {key.name: InUse(key.domain, key.selector, key) for key in ours} if sends else {}
        keys |= {key.name: key for key in reported.get(domain, ()) if key.name not in keys}
        out.append(Interest(domain, tuple(keys.values())))
    return out


def _checked(text: str) -> str:
    try:
        return checked_domain(text)
    except KeyFault:
        return ""


def _reported(store: Store, domains: Sequence[str], filters: Filters) -> dict[str, list[InUse]]:
    """The keys of each domain's organisation that mail of its vouched senders carried, the surest first.

    One reporter may claim any number of messages: how many reporters and days name a key counts before that.
    """
    found: dict[str, list[tuple[tuple[bool, int, int, int], InUse]]] = {domain: [] for domain in domains}
    columns = ["domain", "dkim_domain", "selector", "messages", "passed", "last_day", "days", "organisations"]
    rows = query.selectors(store, filters, limit=None)[columns].to_numpy().tolist()
    seen = {(row.domain, row.name) for row in records_seen.history(store.ledger, domains) if row.lasts and row.value}
    for domain, signer, selector, messages, passed, last, days, organisations in rows:
        if domain not in found or (not passed and messages < LEAST):
            continue
        try:
            key = InUse(checked_domain(signer), checked_selector(selector), None, messages, last.date(), organisations)
        except KeyFault:  # what a report says is not always a name
            continue
        if aligned(key.domain, domain):
            found[domain].append((((domain, key.name) in seen, organisations, days, messages), key))
    return {
        domain: [key for _, key in heapq.nlargest(SELECTORS, keys, lambda one: one[0])]
        for domain, keys in found.items()
    }
