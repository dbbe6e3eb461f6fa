"""Classify what came in: facts from the store, places, services and labels in; rows for the store out.

Call it after a flush and at the end of an import, off the hot path of mail. A source is judged by the habits of its
whole domain, so when one source of a domain is touched, all of the domain's sources are looked at; only what changed
is written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dmarcview.geo import Geo, Place, open_geo
from dmarcview.organisation import aligned, organisational
from dmarcview.services import Directory, Match, directory
from dmarcview.sources.case import Said
from dmarcview.sources.evidence import Finding, Previous, Who
from dmarcview.sources.rules import classify, said
from dmarcview.sources.travel import Habits, habits
from dmarcview.store.facts import Label, NamedAddress, SourceFacts, SourceRow

if TYPE_CHECKING:
    from dmarcview.config import Config

EVER = -1  # a version before the first
BATCH = 20_000  # sources looked at together; a domain is never cut
HABITS_AGE = 900  # seconds for which the habits of a domain are trusted by a long-running process
Pair = tuple[str, str]  # (policy domain, source address)


class SourceBook(Protocol):
    """What classification asks of the store; `dmarcview.store.Store` has it."""

    def version(self) -> int: ...
    def classified(self) -> int: ...
    def touched_since(self, version: int) -> list[Pair]: ...
    def source_facts(self, pairs: Sequence[Pair] | None = None) -> list[SourceFacts]: ...
    def source_rows(self, domain: str | None = None) -> list[SourceRow]: ...
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
        touched = store.touched_since(store.classified()) if not everything else []
        if not everything and not touched:
            return Refreshed(0, 0, 0)
        rules = said(self._own_networks, self._approved, labels)
        done = self._all(store, rules, now, version) if everything else self._some(store, touched, rules, now, version)
        self._labels = labels
        return done

    def _all(self, store: SourceBook, rules: Said, now: int, version: int) -> Refreshed:
        """Whole domains at a time, some thousands of sources, so that a large store needs little memory."""
        self._habits.clear()
        total = Refreshed(0, 0, 0)
        batch: list[Pair] = []
        for _, pairs in groupby(sorted(store.touched_since(EVER)), key=itemgetter(0)):
            batch += pairs
            if len(batch) >= BATCH:
                total = total.plus(self._batch(store, batch, rules, now, None))
                batch = []
        return total.plus(self._batch(store, batch, rules, now, version))

    def _batch(
        self, store: SourceBook, pairs: Sequence[Pair], rules: Said, now: int, version: int | None
    ) -> Refreshed:  # fmt: skip
        old: dict[Pair, SourceRow] = {}
        for domain in sorted({domain for domain, _ in pairs}):
            old.update(_by_pair(store.source_rows(domain)))
        return self._write(store, self._judge(store, store.source_facts(pairs), rules, now, old), version)

    def _some(
        self, store: SourceBook, touched: Sequence[Pair], rules: Said, now: int, version: int
    ) -> Refreshed:  # fmt: skip
        pairs = set(touched)
        old: dict[Pair, SourceRow] = {}
        for domain in sorted({domain for domain, _ in touched}):
            rows = store.source_rows(domain)
            old.update(_by_pair(rows))
            kept = self._habits.get(domain)
            if kept is None or now - kept.at >= HABITS_AGE:
                self._habits.pop(domain, None)
                pairs |= {(row.domain, row.source_ip) for row in rows}
        return self._write(store, self._judge(store, store.source_facts(sorted(pairs)), rules, now, old), version)

    def _judge(
        self, store: SourceBook, facts: Sequence[SourceFacts], rules: Said, now: int, old: Mapping[Pair, SourceRow]
    ) -> list[tuple[SourceRow, SourceRow | None]]:
        """The new row of each source and its old one."""
        ips = {fact.source_ip for fact in facts}
        named = store.addresses(ips)
        places = self._geo.places(ips)
        by_domain: dict[str, list[tuple[SourceFacts, Who]]] = defaultdict(list)
        for fact in facts:
            before = old.get((fact.domain, fact.source_ip))
            answer = named.get(fact.source_ip)
            name = answer.reverse_dns if answer else before.reverse_dns if before else None
            by_domain[fact.domain].append((fact, self._who(fact, places[fact.source_ip], name)))
        out = []
        for domain, sources in by_domain.items():
            kept = self._habits.get(domain)
            if kept is None:
                kept = self._habits[domain] = _Kept(habits(sources), now)
            for fact, who in sources:
                before = old.get((fact.domain, fact.source_ip))
                finding = classify(fact, who, kept.habits, rules, _previous(before))
                out.append((_row(fact, who, finding), before))
        return out

    def _who(self, fact: SourceFacts, place: Place, name: str | None) -> Who:
        spf = [n.name for n in fact.spf if n.passed and not aligned(n.name, fact.domain)]
        dkim = [n.name for n in fact.dkim if n.passed and not aligned(n.name, fact.domain)]
        operator = self._services.operator(fact.source_ip, host=name, spf=spf, asn=place.asn)
        signer = self._services.signer(dkim)
        return Who(*place, name, _not_mine(operator, fact.domain), _not_mine(signer, fact.domain))

    def _write(
        self, store: SourceBook, judged: Sequence[tuple[SourceRow, SourceRow | None]], version: int | None
    ) -> Refreshed:
        new = [row for row, before in judged if row != before]
        moved = sum(before is None or before.source_class != row.source_class for row, before in judged)
        store.put_sources(new, upto=version)
        return Refreshed(len(judged), len(new), moved)


def refresh(store: SourceBook, config: Config, now: int, *, everything: bool = False) -> Refreshed:
    """One run of its own: what an import calls at its end. Labels changed meanwhile need `everything`.

    `now` is seconds UTC. GeoError when a configured MMDB file cannot be read.
    """
    refresher = Refresher.of(config)
    if not everything:
        refresher._labels = tuple(store.labels())  # only what came in; whoever sets a label asks for everything
    return refresher.run(store, now, everything=everything)


def _by_pair(rows: Iterable[SourceRow]) -> dict[Pair, SourceRow]:
    return {(row.domain, row.source_ip): row for row in rows}


def _not_mine(match: Match | None, domain: str) -> Match | None:
    """A listed service that looks at its own domain's reports is no third party to itself."""
    if match is None:
        return None
    mine = organisational(domain)
    names = (*match.service.dkim, *match.service.spf, *match.service.hosts)
    return None if any(organisational(name) == mine for name in names) else match


def _previous(row: SourceRow | None) -> Previous | None:
    if row is None or row.by != "rule":
        return None
    return Previous(row.source_class, row.messages, frozenset(str(reason.get("code")) for reason in row.evidence))


def _row(fact: SourceFacts, who: Who, finding: Finding) -> SourceRow:
    return SourceRow(
        fact.domain,
        fact.source_ip,
        finding.source_class,
        by=finding.by,
        confidence=finding.confidence,
        evidence=tuple({"code": e.code, "text": e.text, **e.numbers} for e in finding.evidence),
        service=finding.service,
        service_type=finding.service_type,
        country=who.country,
        asn=who.asn,
        as_name=who.as_name,
        reverse_dns=who.reverse_dns,
        first_seen=fact.first_seen,
        last_seen=fact.last_seen,
        messages=fact.messages,
    )
