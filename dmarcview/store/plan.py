"""Decide what a call changes: which reports are new, sent again, in conflict, or of a domain that nobody watches.

Reads the ledger and changes nothing, so it can run before the write transaction (to prepare) and within it (to decide).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sqlalchemy import Connection, select

from dmarcview_reports import rows as report_rows
from dmarcview_reports.model import Report, Stored, Taken

from . import verdicts
from .archive import Place, clean
from .files import Filed
from .history import SAID, Said, imported, kin, said_by, said_in, short_identity
from .ledger import chunks
from .tables import items, reports

MAIN, DOUBT, APART = "main", "doubt", "apart"  # shelves: counted and believed; counted if doubt is allowed; kept only
BELIEVED = ("pass", "unknown")  # verdicts on a report mail that count by default (an import has nothing to check)
CONFLICT, UNKNOWN_DOMAIN = "conflict", "unknown_domain"
OUTCOME = tuple(Stored.__dataclass_fields__)


def shelf_of(auth: str, apart: str | None) -> str:
    """Where a report's rows are kept."""
    if apart is not None:
        return APART
    return MAIN if auth in BELIEVED else DOUBT


def raw_hash(raw: bytes) -> str:
    """The key of raw bytes: hex, 128 bits."""
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def watched_by(domain: str, watched: frozenset[str]) -> bool:
    """Is this policy domain, or a parent of it, among the watched ones? With none configured, all are."""
    if not watched:
        return True
    labels = domain.split(".")
    return any(".".join(labels[i:]) in watched for i in range(len(labels)))


def doubtful(stored: Stored, auth: str) -> bool:
    """Did an input with this verdict bring nothing that is believed: refused, unverified, or for a foreign domain?"""
    return auth not in BELIEVED or not (stored.reports + stored.duplicates + stored.conflicts + stored.others)


class Known(NamedTuple):
    """A report that the ledger has: enough to tell duplicate, conflict and promotion."""

    id: int
    content_hash: str
    apart: str | None
    auth: str
    said: Said


@dataclass(slots=True)
class Fresh:
    """A report to insert."""

    report: Report
    taken: int  # index of its input in this call
    auth: str
    received: int
    apart: str | None
    body: bytes | None = None
    duplicates: int = 0  # times more in this call

    @property
    def shelf(self) -> str:
        """Where its rows will be."""
        return shelf_of(self.auth, self.apart)

    def is_one_with(self, other: Report) -> bool:
        """Is the other the same report: by identity, or because one of them was cut short by a history?"""
        return self.report.identity == other.identity or imported(self.report) or imported(other)

    def filed(self) -> Filed:
        """The report as a record file takes it."""
        values = report_rows.report_columns(self.report, self.received, self.auth)
        return Filed(tuple(clean(v) if isinstance(v, str) else v for v in values), self.report.records)

    def packed(self) -> bytes:
        """Its records as the ledger keeps them until they are in a file."""
        if self.body is None:
            self.body = report_rows.encode(self.report.records)
        return self.body


@dataclass(slots=True)
class Plan:
    """What one call will change."""

    fresh: list[Fresh] = field(default_factory=list)
    resent: dict[int, int] = field(default_factory=dict)  # known report id -> times seen again
    believed: dict[int, str] = field(default_factory=dict)  # known report id -> the better verdict
    ousted: list[int] = field(default_factory=list)  # known report ids that a believed report takes the place of
    admitted: set[int] = field(default_factory=set)  # ids of those believed that were in conflict and count from now on
    stored: list[Stored] = field(default_factory=list)  # one an input
    new_items: list[int] = field(default_factory=list)  # indexes of inputs to record
    again: list[int] = field(default_factory=list)  # indexes of recorded inputs that were read again
    settled: list[int] = field(default_factory=list)  # indexes of recorded inputs with a new verdict

    @property
    def rows(self) -> int:
        """Records to insert."""
        return sum(len(f.report.records) for f in self.fresh)

    @property
    def shape(self) -> list[tuple[str, str]]:
        """What makes two plans write the same files."""
        return [(f.report.report_key, f.shelf) for f in self.fresh]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of `append_many`: its inputs and how to take them."""

    taken: Sequence[Taken]
    hashes: Sequence[str]
    watched: frozenset[str]
    again: bool  # read known inputs anew: replay
    settles: bool  # known inputs with a new verdict: what they hold is not sent again
    now: int

    def key(self, i: int) -> tuple[str, str, str]:
        """What makes an input known."""
        origin = self.taken[i].origin
        return origin.channel, clean(origin.name), self.hashes[i]


def known_items(conn: Connection, hashes: Sequence[str]) -> tuple[dict[tuple[str, str, str], Stored], dict[str, Place]]:
    """Recorded inputs with these raw bytes: their outcome by key, and by hash where the bytes are for good."""
    outcome: dict[tuple[str, str, str], Stored] = {}
    places: dict[str, Place] = {}
    for part in chunks(hashes):
        for r in conn.execute(select(items).where(items.c.raw_hash.in_(part))).mappings():
            outcome[(r["channel"], r["name"], r["raw_hash"])] = Stored(*(r[n] for n in OUTCOME))
            place = verdicts.place_of(r)
            if place is not None and not place.doubtful:  # what is believed must not lie where anything may leave
                places[r["raw_hash"]] = place
    return outcome, places


_KNOWN = (reports.c.id, reports.c.content_hash, reports.c.apart, reports.c.auth, *SAID)


def _known_reports(conn: Connection, found: Sequence[Report]) -> dict[str, list[Known]]:
    """Reports of the ledger with the identities of these, or that are one with them by a history."""
    known: dict[str, list[Known]] = {}
    for part in chunks([report.identity for report in found]):
        for r in conn.execute(select(reports.c.identity, *_KNOWN).where(reports.c.identity.in_(part))):
            known.setdefault(r[0], []).append(Known(*r[1:5], said_in(*r[5:])))
    for identity, rows in kin(conn, found, _KNOWN).items():
        known.setdefault(identity, []).extend(Known(r[0], r[1], r[2], r[3], said_in(*r[4:])) for r in rows)
    return known


def plan(conn: Connection, call: Call) -> Plan:
    """Hold the inputs of a call against the ledger, in order."""
    out = Plan()
    items_known, _ = known_items(conn, call.hashes)
    known = _known_reports(conn, [r for t in call.taken for r in t.reading.reports])
    ours: dict[str, list[Fresh]] = {}
    for i, t in enumerate(call.taken):
        key = call.key(i)
        earlier = items_known.get(key)
        if earlier is not None and t.origin.channel != "file" and not (call.again or call.settles):
            out.stored.append(earlier)  # a batch repeated after a crash: it was done before
            continue
        stored = Stored(others=len(t.reading.others), refused=len(t.reading.refusals))
        for report in t.reading.reports:
            fresh = Fresh(report, i, t.verdict.auth, t.origin.received, None)
            near = ours.setdefault(short_identity(report), [])
            end = _place(out, fresh, known.get(report.identity, []), [f for f in near if f.is_one_with(report)], call)
            if end != "duplicate":
                near.append(fresh)
            stored = _count(stored, end, report)
        if earlier is None:
            out.new_items.append(i)
            items_known[key] = stored
        elif call.settles:
            out.settled.append(i)
            stored = earlier
        elif call.again:
            out.again.append(i)
        out.stored.append(stored)
    return out


def _place(out: Plan, fresh: Fresh, known: list[Known], ours: list[Fresh], call: Call) -> str:
    """Where one report ends: "duplicate", "counted", or why it is kept apart."""
    content, believed = fresh.report.content_hash, fresh.auth in BELIEVED
    for k in known:
        if k.content_hash == content:
            if not call.settles:
                out.resent[k.id] = out.resent.get(k.id, 0) + 1
            if believed and k.auth not in BELIEVED:
                if k.apart == CONFLICT and _make_way(out, known, ours):
                    out.admitted.add(k.id)
                out.believed[k.id] = fresh.auth
            return "duplicate"
    for f in ours:
        if f.report.content_hash == content:
            f.duplicates += 1
            if believed and f.auth not in BELIEVED:
                if f.apart == CONFLICT and _make_way(out, known, ours):
                    f.apart = None
                f.auth = fresh.auth
            return "duplicate"
    if not watched_by(fresh.report.domain, call.watched):
        fresh.apart = UNKNOWN_DOMAIN
    elif _counted(out, known, ours) and not (believed and _make_way(out, known, ours)):
        fresh.apart = CONFLICT
    if fresh.apart == CONFLICT and _same_by_history(out, fresh, known, ours, call):
        return "duplicate"
    out.fresh.append(fresh)
    return fresh.apart or "counted"


def _same_by_history(out: Plan, fresh: Fresh, known: list[Known], ours: list[Fresh], call: Call) -> bool:
    """Does one that counts say what this one says, where only one of them came through parsedmarc's history?"""
    said = said_by(fresh.report)
    for k in known:
        if (k.apart is None or k.id in out.admitted) and k.id not in out.ousted and said.agrees(k.said):
            if not call.settles:
                out.resent[k.id] = out.resent.get(k.id, 0) + 1
            return True
    for f in ours:
        if f.apart is None and said.agrees(said_by(f.report)):
            f.duplicates += 1
            return True
    return False


def _counted(out: Plan, known: list[Known], ours: list[Fresh]) -> list[str]:
    """The verdicts on the reports of one identity that count so far."""
    first = [k for k in known if (k.apart is None or k.id in out.admitted) and k.id not in out.ousted]
    return [out.believed.get(k.id, k.auth) for k in first] + [f.auth for f in ours if f.apart is None]


def _make_way(out: Plan, known: list[Known], ours: list[Fresh]) -> bool:
    """Let a believed report take the place of what counts so far, unless that is believed, too."""
    if any(auth in BELIEVED for auth in _counted(out, known, ours)):
        return False
    out.ousted += [k.id for k in known if k.apart is None and k.id not in out.ousted]
    for f in ours:
        f.apart = f.apart or CONFLICT
    return True


def _count(stored: Stored, end: str, report: Report) -> Stored:
    if end == "duplicate":
        return replace(stored, duplicates=stored.duplicates + 1)
    if end == CONFLICT:
        return replace(stored, conflicts=stored.conflicts + 1)
    if end == UNKNOWN_DOMAIN:
        return replace(stored, refused=stored.refused + 1)
    return replace(
        stored,
        reports=stored.reports + 1,
        records=stored.records + len(report.records),
        messages=stored.messages + report.records.messages,
    )
