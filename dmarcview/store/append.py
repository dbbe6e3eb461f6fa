"""Append: what was read becomes ledger rows, decided by one transaction.

The raw bytes are archived first. Then one transaction looks up what is known, keeps what is new, and counts the rest:
a report with the same identity and content is a duplicate; with other content a conflict, kept but not counted.
"""

# ruff: noqa: PLR0917 - one call's facts travel together
from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import zstandard
from sqlalchemy import Connection, insert, select, update

from dmarcview_reports import rows as report_rows
from dmarcview_reports.model import Report, Stored, Taken

from . import files as record_files
from .archive import Archive, Kept, Place
from .files import Filed, FileRow
from .ledger import Ledger, bump, chunks
from .tables import bodies, files, items, others, refusals, reports

MAIN, DOUBT, APART = "main", "doubt", "apart"  # shelves: counted and believed; counted if doubt is allowed; kept only
BELIEVED = ("pass", "unknown")  # verdicts on a report mail that count by default (an import has nothing to check)
CONFLICT, UNKNOWN_DOMAIN = "conflict", "unknown_domain"
BULK_ROWS = 5_000  # a call with this many records writes files at once
BULK_MONTH_ROWS = 1_000  # but not for a month with fewer


def shelf_of(auth: str, apart: str | None) -> str:
    """Where a report's rows are kept."""
    if apart is not None:
        return APART
    return MAIN if auth in BELIEVED else DOUBT


def clean(text: str) -> str:
    """Text that both databases can hold: no NUL, no lone surrogate."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\x00", "\ufffd")


def watched_by(domain: str, watched: frozenset[str]) -> bool:
    """Is this policy domain, or a parent of it, among the watched ones? With none configured, all are."""
    if not watched:
        return True
    labels = domain.split(".")
    return any(".".join(labels[i:]) in watched for i in range(len(labels)))


class Known(NamedTuple):
    """A report that the ledger has: enough to tell duplicate, conflict and promotion."""

    id: int
    content_hash: str
    apart: str | None
    auth: str


@dataclass(slots=True)
class Fresh:
    """A report to insert."""

    report: Report
    taken: int  # index of its input in this call
    auth: str
    received: int
    apart: str | None
    body: bytes | None = None

    @property
    def shelf(self) -> str:
        return shelf_of(self.auth, self.apart)

    def filed(self) -> Filed:
        """The report as a record file takes it."""
        return Filed(facts(self.report, self.received, self.auth), self.report.records)


def facts(report: Report, received: int, auth: str) -> tuple[Any, ...]:
    """The report columns of `schema`, in order."""
    return tuple(clean(v) if isinstance(v, str) else v for v in report_rows.report_columns(report, received, auth))


@dataclass(slots=True)
class Plan:
    """What one call will change."""

    fresh: list[Fresh] = field(default_factory=list)
    resent: dict[int, int] = field(default_factory=dict)  # known report id -> times seen again
    believed: dict[int, str] = field(default_factory=dict)  # known report id -> the better verdict
    ousted: list[int] = field(default_factory=list)  # known report ids that a believed report takes the place of
    stored: list[Stored] = field(default_factory=list)
    new_items: list[int] = field(default_factory=list)  # indexes of inputs to record


def raw_hash(raw: bytes) -> str:
    """The key of raw bytes: hex, 128 bits."""
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def _known_items(
    conn: Connection, hashes: Sequence[str]
) -> tuple[dict[tuple[str, str, str], Stored], dict[str, Place]]:
    outcome: dict[tuple[str, str, str], Stored] = {}
    places: dict[str, Place] = {}
    for part in chunks(hashes):
        for r in conn.execute(select(items).where(items.c.raw_hash.in_(part))).mappings():
            stored = Stored(*(r[n] for n in Stored.__dataclass_fields__))
            outcome[(r["channel"], r["name"], r["raw_hash"])] = stored
            if r["segment"] is not None:
                places[r["raw_hash"]] = Place(r["segment"], r["start"], r["length"])
    return outcome, places


def _known_reports(conn: Connection, identities: Sequence[str]) -> dict[str, list[Known]]:
    known: dict[str, list[Known]] = {}
    c = reports.c
    for part in chunks(identities):
        for r in conn.execute(select(c.identity, c.id, c.content_hash, c.apart, c.auth).where(c.identity.in_(part))):
            known.setdefault(r[0], []).append(Known(*r[1:]))
    return known


class Appender:
    """Holds what `append_many` needs; one a store."""

    def __init__(
        self, ledger: Ledger, archive: Archive, folder: Path, clock: Callable[[], float], watched: Iterable[str]
    ) -> None:
        self.ledger, self.archive, self.folder, self.clock = ledger, archive, folder, clock
        self.watched = frozenset(d.lower().rstrip(".") for d in watched)

    def append_many(
        self, taken: Sequence[Taken], keep_raw: bool, places: Sequence[Place] | None = None
    ) -> list[Stored]:
        """See `Store.append_many`; `places` says where a rebuild found the raw bytes."""
        if not taken:
            return []
        now = int(self.clock())
        hashes = [raw_hash(t.raw) for t in taken]
        with self.ledger.read() as conn:
            plan = self._plan(conn, taken, hashes)
            _, kept = _known_items(conn, hashes)
        if places is not None:
            kept = dict(zip(hashes, places, strict=True))
        elif keep_raw:
            missing = {h: i for i, h in enumerate(hashes) if h not in kept and i in set(plan.new_items)}
            inputs = [Kept(taken[i].origin, taken[i].verdict, taken[i].raw) for i in missing.values()]
            kept |= dict(zip(missing, self.archive.append(inputs, now), strict=True))
        self._encode(plan)
        written = self._write_files(plan, now)
        try:
            return self._commit(taken, hashes, kept, plan, written, now)
        except BaseException:
            for row, _ in written:
                record_files.discard(self.folder, row.path)
            raise

    def _commit(
        self,
        taken: Sequence[Taken],
        hashes: list[str],
        kept: dict[str, Place],
        plan: Plan,
        written: list[tuple[FileRow, list[Fresh]]],
        now: int,
    ) -> list[Stored]:
        expected = [(f.report.report_key, f.shelf) for f in plan.fresh]
        with self.ledger.write() as conn:
            final = self._plan(conn, taken, hashes)
            if [(f.report.report_key, f.shelf) for f in final.fresh] != expected:
                for row, _ in written:  # another process was quicker with one of them
                    record_files.discard(self.folder, row.path)
                written.clear()
                self._encode(final)
            else:
                final.fresh = plan.fresh
            in_files = {id(f) for _, group in written for f in group}
            _insert(conn, taken, hashes, kept, final, written, in_files, now)
        return final.stored

    def _plan(self, conn: Connection, taken: Sequence[Taken], hashes: list[str]) -> Plan:
        plan = Plan()
        known_items, _ = _known_items(conn, hashes)
        known = _known_reports(conn, [r.identity for t in taken for r in t.reading.reports])
        ours: dict[str, list[Fresh]] = {}
        for i, t in enumerate(taken):
            key = (t.origin.channel, clean(t.origin.name), hashes[i])
            earlier = known_items.get(key)
            if earlier is not None and t.origin.channel != "file":
                plan.stored.append(earlier)  # a batch repeated after a crash: it was done before
                continue
            stored = Stored(others=len(t.reading.others), refused=len(t.reading.refusals))
            for report in t.reading.reports:
                stored = self._place(plan, report, t, i, known.get(report.identity, []), ours, stored)
            if earlier is None:
                plan.new_items.append(i)
                known_items[key] = stored
            plan.stored.append(stored)
        return plan

    def _place(
        self,
        plan: Plan,
        report: Report,
        t: Taken,
        i: int,
        known: list[Known],
        ours: dict[str, list[Fresh]],
        stored: Stored,
    ) -> Stored:
        auth = t.verdict.auth
        for k in known:
            if k.content_hash == report.content_hash:
                plan.resent[k.id] = plan.resent.get(k.id, 0) + 1
                if k.auth not in BELIEVED and auth in BELIEVED:
                    plan.believed[k.id] = auth
                return replace(stored, duplicates=stored.duplicates + 1)
        mine = ours.setdefault(report.identity, [])
        for f in mine:
            if f.report.content_hash == report.content_hash:
                if f.auth not in BELIEVED and auth in BELIEVED:
                    f.auth = auth
                return replace(stored, duplicates=stored.duplicates + 1)
        apart = None if watched_by(report.domain, self.watched) else UNKNOWN_DOMAIN
        if apart is None:
            first_known = [k for k in known if k.apart is None and k.id not in plan.ousted]
            first_mine = [f for f in mine if f.apart is None]
            if any(k.auth in BELIEVED or auth not in BELIEVED for k in first_known) or any(
                f.auth in BELIEVED or auth not in BELIEVED for f in first_mine
            ):
                apart = CONFLICT
            else:  # what counted so far was never believed; this one is
                plan.ousted.extend(k.id for k in first_known)
                for f in first_mine:
                    f.apart = CONFLICT
        mine.append(Fresh(report, i, auth, t.origin.received, apart))
        plan.fresh.append(mine[-1])
        if apart == CONFLICT:
            return replace(stored, conflicts=stored.conflicts + 1)
        if apart is not None:
            return replace(stored, refused=stored.refused + 1)
        n = len(report.records)
        return replace(
            stored,
            reports=stored.reports + 1,
            records=stored.records + n,
            messages=stored.messages + report.records.messages,
        )

    def _encode(self, plan: Plan) -> None:
        if sum(len(f.report.records) for f in plan.fresh) < BULK_ROWS:
            for f in plan.fresh:
                f.body = report_rows.encode(f.report.records)

    def _write_files(self, plan: Plan, now: int) -> list[tuple[FileRow, list[Fresh]]]:
        if sum(len(f.report.records) for f in plan.fresh) < BULK_ROWS:
            return []
        groups: dict[tuple[str, str], list[Fresh]] = {}
        for f in plan.fresh:
            groups.setdefault((f.shelf, record_files.month_of(f.report.begin)), []).append(f)
        written: list[tuple[FileRow, list[Fresh]]] = []
        try:
            for (shelf, _), group in groups.items():
                if sum(len(f.report.records) for f in group) >= BULK_MONTH_ROWS:
                    row = record_files.put(self.folder, [f.filed() for f in group], shelf, 0, now)
                    written.append((row, group))
        except BaseException:
            for row, _ in written:
                record_files.discard(self.folder, row.path)
            raise
        return written


def _insert(
    conn: Connection,
    taken: Sequence[Taken],
    hashes: list[str],
    kept: dict[str, Place],
    plan: Plan,
    written: list[tuple[FileRow, list[Fresh]]],
    in_files: set[int],
    now: int,
) -> None:
    version = bump(conn, "version") + 1
    item_id = bump(conn, "item", len(plan.new_items)) + 1
    item_ids = dict(zip(plan.new_items, range(item_id, item_id + len(plan.new_items)), strict=True))
    if item_ids:
        conn.execute(
            insert(items),
            [_item(n, taken[i], hashes[i], kept.get(hashes[i]), plan.stored[i]) for i, n in item_ids.items()],
        )
    if plan.fresh:
        owners = _owners(conn, plan, taken, hashes, item_ids)
        first = bump(conn, "report", len(plan.fresh)) + 1
        conn.execute(
            insert(reports), [_report(first + n, f, owners[f.taken], version) for n, f in enumerate(plan.fresh)]
        )
        waiting = [
            {
                "report_id": first + n,
                "records": len(f.report.records),
                "at": now,
                "body": f.body if f.body is not None else report_rows.encode(f.report.records),
            }
            for n, f in enumerate(plan.fresh)
            if id(f) not in in_files
        ]
        if waiting:
            conn.execute(insert(bodies), waiting)
    for id_, times in plan.resent.items():
        conn.execute(update(reports).where(reports.c.id == id_).values(duplicates=reports.c.duplicates + times))
    _promote(conn, plan, version)
    list_files(conn, [row._replace(news=version) for row, _ in written])
    for i, id_ in item_ids.items():
        _insert_rest(conn, taken[i], id_, now)


def _owners(
    conn: Connection, plan: Plan, taken: Sequence[Taken], hashes: list[str], item_ids: dict[int, int]
) -> dict[int, int]:
    """The item of each input that brings a report: its own row, or the row of an equal input before it."""
    owners = dict(item_ids)
    for i in {f.taken for f in plan.fresh} - set(owners):
        t = taken[i]
        owners[i] = conn.execute(
            select(items.c.id).where(
                items.c.channel == t.origin.channel,
                items.c.name == clean(t.origin.name),
                items.c.raw_hash == hashes[i],
            )
        ).scalar_one()
    return owners


def _promote(conn: Connection, plan: Plan, version: int) -> None:
    """A better verdict, or a believed report in the place of an unbelieved one; `flush` moves their rows."""
    for id_, auth in plan.believed.items():
        apart = conn.execute(select(reports.c.apart).where(reports.c.id == id_)).scalar()
        shelf = shelf_of(auth, apart)
        conn.execute(
            update(reports).where(reports.c.id == id_).values(auth=auth, shelf=shelf, moved=True, version=version)
        )
    if plan.ousted:
        conn.execute(
            update(reports)
            .where(reports.c.id.in_(plan.ousted))
            .values(apart=CONFLICT, shelf=APART, moved=True, version=version)
        )


def list_files(conn: Connection, new: Sequence[FileRow]) -> None:
    """Put files into the list of live ones."""
    if not new:
        return
    first = bump(conn, "file", len(new)) + 1
    bump(conn, "layout")
    conn.execute(insert(files), [{"id": first + n, **row._asdict()} for n, row in enumerate(new)])


def _item(id_: int, t: Taken, hash_: str, place: Place | None, stored: Stored) -> dict[str, Any]:
    o = t.origin
    return {
        "id": id_,
        "name": clean(o.name),
        "channel": o.channel,
        "received": o.received,
        "client": clean(o.client),
        "helo": clean(o.helo),
        "mail_from": clean(o.mail_from),
        "rcpt_to": orjson.dumps([clean(r) for r in o.rcpt_to]).decode(),
        "tls": o.tls,
        "auth": t.verdict.auth,
        "auth_detail": clean(t.verdict.detail),
        "raw_hash": hash_,
        "raw_size": len(t.raw),
        "segment": place.segment if place else None,
        "start": place.start if place else None,
        "length": place.length if place else None,
        **{n: getattr(stored, n) for n in Stored.__dataclass_fields__},
    }


_OPTIONAL = ("org_name", "org_email", "generator", "adkim", "aspf", "p", "sp", "np", "fo", "discovery_method")


def _report(id_: int, f: Fresh, item_id: int, version: int) -> dict[str, Any]:
    r = f.report
    passing = [s.dmarc_pass is True for s in r.records.shapes]
    return {
        "id": id_,
        "report_key": r.report_key,
        "identity": r.identity,
        "content_hash": r.content_hash,
        "item_id": item_id,
        "shelf": f.shelf,
        "apart": f.apart,
        "moved": False,
        "version": version,
        "received": f.received,
        "auth": f.auth,
        "submitter": clean(r.submitter),
        **{n: None if (v := getattr(r, n)) is None else clean(v) for n in _OPTIONAL},
        "report_id": clean(r.report_id),
        "begin": r.begin,
        "end": r.end,
        "schema": r.schema,
        "domain": clean(r.domain),
        "pct": r.pct,
        "testing": r.testing,
        "errors": orjson.dumps([clean(e) for e in r.errors]).decode(),
        "truncated": r.truncated,
        "warnings": orjson.dumps([[w.code, clean(w.where)] for w in r.warnings]).decode(),
        "warning_counts": orjson.dumps(r.warning_counts).decode(),
        "records": len(r.records),
        "messages": r.records.messages,
        "dmarc_pass": sum(n for n, s in zip(r.records.count, r.records.shape, strict=True) if passing[s]),
        "duplicates": 0,
    }


def _insert_rest(conn: Connection, t: Taken, item_id: int, now: int) -> None:
    """Refusals, and failure and TLS reports."""
    if t.reading.refusals:
        conn.execute(
            insert(refusals),
            [
                {
                    "item_id": item_id,
                    "code": r.code,
                    "message": clean(r.message),
                    "member": clean(r.where),
                    "at": now,
                }
                for r in t.reading.refusals
            ],
        )
    for other in t.reading.others:
        again = conn.execute(
            update(others).where(others.c.content_hash == other.content_hash).values(duplicates=others.c.duplicates + 1)
        )
        if again.rowcount == 0:
            conn.execute(
                insert(others).values(
                    item_id=item_id,
                    kind=other.kind,
                    content_hash=other.content_hash,
                    content=zstandard.ZstdCompressor().compress(other.content),
                    at=now,
                    duplicates=0,
                )
            )
