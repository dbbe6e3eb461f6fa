"""Append: what was read becomes ledger rows, decided by one transaction.

The raw bytes are archived first. Then one transaction looks up what is known, keeps what is new, and counts the rest:
a report with the same identity and content is a duplicate; with other content a conflict, kept but not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import zstandard
from sqlalchemy import Connection, delete, insert, select, update

from dmarcview_reports.model import Stored, Taken

from . import files as record_files
from .archive import Archive, Kept, Place, clean
from .files import FileRow
from .history import passed
from .ledger import Ledger, bump
from .plan import APART, CONFLICT, OUTCOME, Call, Fresh, Plan, doubtful, known_items, plan, raw_hash, shelf_of
from .tables import bodies, files, items, others, refusals, reports

BULK_ROWS = 5_000  # a call with this many records writes files at once
BULK_MONTH_ROWS = 1_000  # but not for a month with fewer


class Written(NamedTuple):
    """A record file that is not listed yet, and the reports in it."""

    row: FileRow
    group: list[Fresh]


class Appender:
    """Holds what `append_many` needs; one a store."""

    def __init__(
        self, ledger: Ledger, archive: Archive, folder: Path, clock: Callable[[], float], watched: Iterable[str]
    ) -> None:
        self.ledger, self.archive, self.folder, self.clock = ledger, archive, folder, clock
        self.watched = frozenset(d.lower().rstrip(".") for d in watched)

    def append_many(
        self,
        taken: Sequence[Taken],
        keep_raw: bool,
        places: Sequence[Place] | None = None,
        *,
        again: bool = False,
        settles: bool = False,
    ) -> list[Stored]:
        """See `Store.append_many` and `settle`; `places`: where raw bytes are already kept; `again`: a replay."""
        if not taken:
            return []
        call = Call(taken, [raw_hash(t.raw) for t in taken], self.watched, again, settles, int(self.clock()))
        with self.ledger.read() as conn:
            before = plan(conn, call)
            _, kept = known_items(conn, call.hashes)
        if places is not None:
            kept = dict(zip(call.hashes, places, strict=True))
        elif keep_raw or settles:
            kept |= self._archive(call, before, kept)
        written = self._write_files(call, before)
        try:
            return self._commit(call, before, written, kept)
        except BaseException:
            self._discard(written)
            raise

    def _archive(self, call: Call, before: Plan, kept: dict[str, Place]) -> dict[str, Place]:
        """Keep what is not kept yet, and what is believed only now for good."""
        new: tuple[dict[str, Taken], dict[str, Taken]] = ({}, {})
        known = {*before.again, *before.settled}
        for i in (*before.new_items, *before.again, *before.settled):
            t, hash_ = call.taken[i], call.hashes[i]
            apart = doubtful(before.stored[i], t.verdict.auth)
            if hash_ not in kept and (not apart or i not in known):
                new[apart][hash_] = t
        places: dict[str, Place] = {}
        for apart in (True, False):  # the same bytes twice: the place for good is the one to know
            inputs = [Kept(t.origin, t.verdict, t.raw) for t in new[apart].values()]
            places |= zip(new[apart], self.archive.append(inputs, call.now, doubtful=apart), strict=True)
        return places

    def _write_files(self, call: Call, before: Plan) -> list[Written]:
        if before.rows < BULK_ROWS:
            for f in before.fresh:
                f.packed()
            return []
        groups: dict[tuple[str, str], list[Fresh]] = {}
        for f in before.fresh:
            groups.setdefault((f.shelf, record_files.month_of(f.report.begin)), []).append(f)
        written: list[Written] = []
        try:
            for (shelf, _), group in groups.items():
                if sum(len(f.report.records) for f in group) >= BULK_MONTH_ROWS:
                    row = record_files.put(self.folder, [f.filed() for f in group], shelf, 0, call.now)
                    written.append(Written(row, group))
        except BaseException:
            self._discard(written)
            raise
        return written

    def _discard(self, written: Iterable[Written]) -> None:
        for w in written:
            record_files.discard(self.folder, w.row.path)

    def _commit(self, call: Call, before: Plan, written: list[Written], kept: dict[str, Place]) -> list[Stored]:
        with self.ledger.write() as conn:
            final = plan(conn, call)
            if final.shape == before.shape:
                final.fresh = before.fresh
            else:  # another process was quicker with one of them; the rows go into the ledger
                self._discard(written)
                written = []
            _insert(conn, call, final, written, kept)
        return final.stored


def _insert(conn: Connection, call: Call, final: Plan, written: list[Written], kept: dict[str, Place]) -> None:
    version = bump(conn, "version") + 1
    first = bump(conn, "item", len(final.new_items)) + 1
    numbers = {i: first + n for n, i in enumerate(final.new_items)}
    if numbers:
        conn.execute(insert(items), [_item(n, call, i, kept, final.stored[i]) for i, n in numbers.items()])
    for i in final.again:
        numbers[i] = _item_of(conn, call, i)
        conn.execute(delete(refusals).where(refusals.c.item_id == numbers[i]))
        outcome = {n: getattr(final.stored[i], n) for n in OUTCOME} | _place(kept.get(call.hashes[i]))
        conn.execute(update(items).where(items.c.id == numbers[i]).values(outcome))
    for i in final.settled:
        verdict = call.taken[i].verdict
        values = {"auth": verdict.auth, "auth_detail": clean(verdict.detail)} | _place(kept.get(call.hashes[i]))
        conn.execute(update(items).where(items.c.id == _item_of(conn, call, i)).values(values))
    if final.fresh:
        _insert_reports(conn, call, final, {id(f) for w in written for f in w.group}, numbers, version)
    for id_, times in final.resent.items():
        conn.execute(update(reports).where(reports.c.id == id_).values(duplicates=reports.c.duplicates + times))
    _promote(conn, final, version)
    list_files(conn, [w.row._replace(news=version) for w in written])
    for i, n in numbers.items():
        _insert_rest(conn, call.taken[i], n, call.now)


def _insert_reports(  # noqa: PLR0917 - one call's facts travel together
    conn: Connection, call: Call, final: Plan, in_files: set[int], numbers: dict[int, int], version: int
) -> None:
    owners = {i: numbers.get(i) or _item_of(conn, call, i) for i in {f.taken for f in final.fresh}}
    first = bump(conn, "report", len(final.fresh)) + 1
    conn.execute(insert(reports), [_report(first + n, f, owners[f.taken], version) for n, f in enumerate(final.fresh)])
    waiting = [
        {"report_id": first + n, "records": len(f.report.records), "at": call.now, "body": f.packed()}
        for n, f in enumerate(final.fresh)
        if id(f) not in in_files
    ]
    if waiting:
        conn.execute(insert(bodies), waiting)


def _item_of(conn: Connection, call: Call, i: int) -> int:
    """The number of a recorded input."""
    channel, name, hash_ = call.key(i)
    c = items.c
    query = select(c.id).where(c.channel == channel, c.name == name, c.raw_hash == hash_)
    return int(conn.execute(query).scalar_one())


def _promote(conn: Connection, final: Plan, version: int) -> None:
    """A better verdict, or a believed report in the place of an unbelieved one; `flush` moves their rows."""
    if final.believed or final.ousted:
        bump(conn, "epoch")
    for id_, auth in final.believed.items():
        apart = None
        if id_ not in final.admitted:
            apart = conn.execute(select(reports.c.apart).where(reports.c.id == id_)).scalar()
        values = {"auth": auth, "apart": apart, "shelf": shelf_of(auth, apart), "moved": True, "version": version}
        conn.execute(update(reports).where(reports.c.id == id_).values(values))
    if final.ousted:
        values = {"apart": CONFLICT, "shelf": APART, "moved": True, "version": version}
        conn.execute(update(reports).where(reports.c.id.in_(final.ousted)).values(values))


def list_files(conn: Connection, new: Sequence[FileRow]) -> None:
    """Put files into the list of live ones."""
    if not new:
        return
    first = bump(conn, "file", len(new)) + 1
    bump(conn, "layout")
    conn.execute(insert(files), [{"id": first + n, **row._asdict()} for n, row in enumerate(new)])


def _item(id_: int, call: Call, i: int, kept: dict[str, Place], stored: Stored) -> dict[str, Any]:
    t, hash_ = call.taken[i], call.hashes[i]
    o, place = t.origin, kept.get(hash_)
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
        **(_place(place) or {"segment": None, "start": None, "length": None}),
        **{n: getattr(stored, n) for n in OUTCOME},
    }


def _place(place: Place | None) -> dict[str, Any]:
    """Where raw bytes are, as columns; nothing when it is not said."""
    return {} if place is None else {"segment": place.segment, "start": place.start, "length": place.length}


_OPTIONAL = ("org_name", "org_email", "generator", "adkim", "aspf", "p", "sp", "np", "fo", "discovery_method")


def _report(id_: int, f: Fresh, item_id: int, version: int) -> dict[str, Any]:
    r = f.report
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
        "dmarc_pass": passed(r),
        "duplicates": f.duplicates,
    }


def _insert_rest(conn: Connection, t: Taken, item_id: int, now: int) -> None:
    """Refusals, and failure and TLS reports."""
    if t.reading.refusals:
        first = bump(conn, "row", len(t.reading.refusals)) + 1
        found = [
            {
                "id": first + n,
                "item_id": item_id,
                "code": r.code,
                "message": clean(r.message),
                "member": clean(r.where),
                "at": now,
            }
            for n, r in enumerate(t.reading.refusals)
        ]
        conn.execute(insert(refusals), found)
    c = others.c
    for other in t.reading.others:
        again = update(others).where(c.content_hash == other.content_hash).values(duplicates=c.duplicates + 1)
        if conn.execute(again).rowcount == 0:
            row = {
                "id": bump(conn, "row") + 1,
                "item_id": item_id,
                "kind": other.kind,
                "content_hash": other.content_hash,
                "content": zstandard.ZstdCompressor().compress(other.content),
                "at": now,
                "duplicates": 0,
            }
            conn.execute(insert(others).values(row))
