"""Classify what came in: facts from the store, places, services and labels in; rows for the store out.

Call it after a flush and at the end of an import, off the hot path of mail. A source is judged by the habits of its
whole domain, so when one source of a domain is touched, all of the domain's sources are looked at; only what changed
is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dmarcview.geo import Geo, Place, open_geo
from dmarcview.organisation import aligned, organisational
from dmarcview.services import Directory, Match, directory
from dmarcview.sources.case import Said
from dmarcview.sources.evidence import Who
from dmarcview.sources.rules import said
from dmarcview.sources.travel import Habits
from dmarcview.store.facts import Label, NamedAddress, SourceFacts, SourceRow

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store.blocks import Written
    from dmarcview.store.columns import Columns

EVER = -1  # a version before the first
BATCH = 60_000  # rows of the cube looked at together; a domain is never cut
HABITS_AGE = 900  # seconds for which the habits of a domain are trusted by a long-running process
Pair = tuple[str, str]  # (policy domain, source address)


class SourceBook(Protocol):
    """What classification asks of the store; `dmarcview.store.Store` has it."""

    def version(self) -> int: ...
    def classified(self) -> int: ...
    def domain_sizes(self, since: int) -> dict[str, int]: ...
    def touched_since(self, version: int) -> list[Pair]: ...
    def source_columns(self, domains: Sequence[str] | None = None, pairs: Sequence[Pair] | None = None) -> Columns: ...
    def source_table(self, domains: Sequence[str] | None = None, names: Sequence[str] = ...) -> Any: ...
    def put_source_table(self, table: Any, upto: int | None = None) -> Written: ...
    def put_sources(self, rows: Sequence[SourceRow], upto: int | None = None) -> None: ...
    def labels(self) -> list[Label]: ...
    def addresses(self, ips: Iterable[str]) -> dict[str, NamedAddress]: ...


class Refreshed(NamedTuple):
    """What one run did: sources looked at, rows written, sources whose class changed."""

    looked_at: int
    written: int
    moved: int

    def plus(self, other: Refreshed) -> Refreshed:
        """Both together."""
        return Refreshed(self.looked_at + other.looked_at, self.written + other.written, self.moved + other.moved)


@dataclass(slots=True)
class _Kept:
    habits: Habits
    at: int


class Refresher:
    """Keeps the classes of a store's sources up to date for as long as a process lives.

    The first run, a run after a changed label, and a run with `everything` look at all sources.
    """

    def __init__(self, geo: Geo, services: Directory, own_networks: Sequence[str], approved: Sequence[str]) -> None:
        self._geo = geo
        self._services = services
        self._own_networks = tuple(own_networks)
        self._approved = tuple(approved)
        self._labels: tuple[Label, ...] | None = None
        self._habits: dict[str, _Kept] = {}

    @classmethod
    def of(cls, config: Config) -> Refresher:
        """One by configuration. GeoError when a configured MMDB file cannot be read."""
        geo = open_geo(config.geo.country, config.geo.asn)
        return cls(geo, directory(), config.domains.own_networks, config.domains.approved)

    def run(self, store: SourceBook, now: int, *, everything: bool = False) -> Refreshed:
        """Classify what came in since the last run and write it. Cheap when nothing came in."""
        version = store.version()  # before the question: what comes in meanwhile is touched again next time
        labels = tuple(store.labels())
        everything = everything or labels != self._labels
        done = store.classified()
        sizes = store.domain_sizes(EVER if everything else done)
        if not everything and not sizes:
            return Refreshed(0, 0, 0)
        if everything:
            self._habits.clear()
        rules = said(self._own_networks, self._approved, labels)
        known = {domain for domain in sizes if self._fresh(domain, now)}
        total = Refreshed(0, 0, 0)
        if known:
            pairs = [pair for pair in store.touched_since(done) if pair[0] in known]
            total = total.plus(self._judge(store, store.source_columns(pairs=pairs), rules, now))
        for domains in _batches({domain: size for domain, size in sizes.items() if domain not in known}):
            total = total.plus(self._judge(store, store.source_columns(domains=domains), rules, now))
        store.put_sources([], upto=version)
        self._labels = labels
        return total

    def _fresh(self, domain: str, now: int) -> bool:
        """Are the habits of a domain known? Those that are too old are forgotten."""
        kept = self._habits.get(domain)
        if kept is not None and now - kept.at >= HABITS_AGE:
            del self._habits[domain]
        return domain in self._habits

    def _judge(self, store: SourceBook, found: Columns, rules: Said, now: int) -> Refreshed:
        """Classify these sources, and write what is new of it."""
        from dmarcview.sources.bulk import Judge
        from dmarcview.sources.traits import OLD, Knowledge

        if not len(found):
            return Refreshed(0, 0, 0)
        knowledge = Knowledge(self._geo, self._services, rules, self._who, store.addresses(found.ips))
        habits = {domain: self._habits[domain].habits for domain in found.domains if domain in self._habits}
        old = store.source_table(found.domains, OLD)
        size, table = len(found), Judge(found, knowledge, old, habits).table()
        del found, knowledge, old  # large, and what is written needs room as well
        for domain, known in habits.items():
            self._habits.setdefault(domain, _Kept(known, now))
        done = store.put_source_table(table)
        return Refreshed(size, done.rows, done.moved)

    def _who(self, fact: SourceFacts, place: Place, name: str | None) -> Who:
        spf = [n.name for n in fact.spf if n.passed and not aligned(n.name, fact.domain)]
        dkim = [n.name for n in fact.dkim if n.passed and not aligned(n.name, fact.domain)]
        operator = self._services.operator(fact.source_ip, host=name, spf=spf, asn=place.asn)
        signer = self._services.signer(dkim)
        return Who(*place, name, not_mine(operator, fact.domain), not_mine(signer, fact.domain))


def _batches(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Whole domains together, some ten thousand rows, so that a large store needs little memory."""
    batch: list[str] = []
    rows = 0
    for domain, size in sorted(sizes.items()):
        batch.append(domain)
        rows += size
        if rows >= BATCH:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def refresh(store: SourceBook, config: Config, now: int, *, everything: bool = False) -> Refreshed:
    """One run of its own: what an import calls at its end. Labels changed meanwhile need `everything`.

    `now` is seconds UTC. GeoError when a configured MMDB file cannot be read.
    """
    refresher = Refresher.of(config)
    if not everything:
        refresher._labels = tuple(store.labels())  # only what came in; whoever sets a label asks for everything
    return refresher.run(store, now, everything=everything)


def not_mine(match: Match | None, domain: str) -> Match | None:
    """A listed service that looks at its own domain's reports is no third party to itself."""
    if match is None:
        return None
    mine = organisational(domain)
    names = (*match.service.dkim, *match.service.spf, *match.service.hosts)
    return None if any(organisational(name) == mine for name in names) else match
