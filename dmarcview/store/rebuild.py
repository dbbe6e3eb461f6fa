"""Rebuild the ledger's reports and all record files from the archive, and read refused inputs again.

`read(raw, name)` is the reading of the inbound wing. Labels, classes and settings stay. Reports whose raw bytes are not
kept are carried over as they are.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

import heapq
import itertools
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, insert, select, update

from dmarcview_reports import rows as report_rows
from dmarcview_reports.model import DkimResult, Reading, Records, Shape, SpfResult, Stored, Taken
from dmarcview_reports.schema import RECORD_COLUMNS

from . import verdicts
from .archive import Archive, Kept, Place
from .engine import Window
from .errors import named
from .history import SAID, originals, said_in
from .ledger import bump, chunks, counter
from .plan import APART, CONFLICT, DOUBT, MAIN, UNKNOWN_DOMAIN, raw_hash, shelf_of, watched_by
from .tables import bodies, counters, files, items, others, refusals, reports
from .upkeep import alone, list_live, unlist

if TYPE_CHECKING:
    from .store import Store

Read = Callable[[bytes, str], Reading]
BATCH_INPUTS = 500
BATCH_BYTES = 64 << 20
_REBUILT = (bodies, others, refusals, reports, items)  # in the order of deleting


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did."""

    inputs: int
    reports: int
    carried: int  # reports without raw bytes, taken over as they were


def _frames(archive: Archive) -> Iterator[tuple[Place, Kept]]:
    """Every archived input, by day and then by arrival."""
    for _, names in itertools.groupby(archive.segments(), key=lambda n: n[:10]):
        scans = (archive.scan(n) for n in names)  # of a mail kept twice, first the place for good
        yield from heapq.merge(*scans, key=lambda f: (f[1].origin.received, f[0].doubtful))


def _batches(frames: Iterator[tuple[Place, Kept]]) -> Iterator[list[tuple[Place, Kept]]]:
    batch: list[tuple[Place, Kept]] = []
    size = 0
    for place, kept in frames:
        batch.append((place, kept))
        size += len(kept.raw)
        if len(batch) >= BATCH_INPUTS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _append(store: Store, side: Store, batch: Sequence[tuple[Place, Kept]], read: Read) -> None:
    with store.ledger.read() as conn:  # the archive has the first verdict; DNS may have answered since
        last = verdicts.verdicts(conn, [raw_hash(k.raw) for _, k in batch])
    taken = []
    for _, k in batch:
        verdict = last.get((k.origin.channel, k.origin.name, raw_hash(k.raw)), k.verdict)
        taken.append(Taken(k.origin, k.raw, read(k.raw, k.origin.name), verdict))
    side._appender.append_many(taken, keep_raw=False, places=[p for p, _ in batch])


def reindex(store: Store, read: Read) -> Rebuilt:
    """Make reports, refusals and record files anew from the archive, beside the running store, then change over.

    Appends wait during the change-over, not during the reading.
    """
    from .store import Store as Side

    with named("rebuilding"):
        folder = store.data / f"rebuild-{secrets.token_hex(4)}"
        try:
            with Side.open(folder, clock=store.clock, watched=store._appender.watched) as side:
                for batch in _batches(_frames(store.archive)):
                    _append(store, side, batch, read)
                    if side.flush_due():
                        side.flush()
                side.flush()
                with alone(store.data), store.ledger.write() as conn:
                    _catch_up(store, side, conn, read)
                    carried = _carry(store, side, conn)
                    return _change_over(store, side, conn, carried)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _missing(side: Store, conn: Connection, kept: bool) -> list[Any]:
    """Inputs of the running store that the new one lacks, with or without raw bytes."""
    c = items.c
    with side.ledger.read() as new:
        known = {tuple(r) for r in new.execute(select(c.channel, c.name, c.raw_hash))}
    query = select(items).where(c.segment.is_not(None) if kept else c.segment.is_(None)).order_by(c.id)
    return [r for r in conn.execute(query).mappings() if (r["channel"], r["name"], r["raw_hash"]) not in known]


def _catch_up(store: Store, side: Store, conn: Connection, read: Read) -> None:
    """Inputs that came in while the archive was read."""
    late = [Place(r["segment"], r["start"], r["length"]) for r in _missing(side, conn, kept=True)]
    for batch in _batches((p, store.archive.read(p)) for p in late):
        _append(store, side, batch, read)


def _carry(store: Store, side: Store, conn: Connection) -> int:
    """Take over inputs without raw bytes, with their reports, refusals and others, under new numbers."""
    rows = _missing(side, conn, kept=False)
    snapshot = store.snapshot()
    n = 0
    for row in rows:
        with side.ledger.write() as new:
            id_ = bump(new, "item") + 1
            new.execute(insert(items).values(dict(row) | {"id": id_}))
            for table in (refusals, others):
                for r in conn.execute(select(table).where(table.c.item_id == row["id"])).mappings():
                    known = select(others.c.id).where(others.c.content_hash == r.get("content_hash", ""))
                    if new.execute(known).first() is None:
                        new.execute(insert(table).values(dict(r) | {"id": bump(new, "row") + 1, "item_id": id_}))
            for r in conn.execute(select(reports).where(reports.c.item_id == row["id"])).mappings():
                n += _carry_report(store, snapshot, new, dict(r) | {"item_id": id_})
    return n


def _carry_report(store: Store, snapshot: Any, new: Connection, row: dict[str, Any]) -> int:
    c = reports.c
    known = (c.content_hash, c.apart, *SAID)
    same = [*new.execute(select(*known).where(c.identity == row["identity"])), *originals(new, row, known)]
    said = said_in(*(row[column.name] for column in SAID))
    if any(r[0] == row["content_hash"] or (r[1] is None and said.agrees(said_in(*r[2:]))) for r in same):
        return 0
    if row["apart"] is None and any(r[1] is None for r in same):
        row |= {"apart": CONFLICT, "shelf": APART}
    id_, version = bump(new, "report") + 1, bump(new, "version") + 1
    new.execute(insert(reports).values(row | {"id": id_, "version": version, "moved": False}))
    body = report_rows.encode(_records(store, snapshot, row))
    at = int(store.clock())
    new.execute(insert(bodies).values(report_id=id_, records=row["records"], at=at, body=body))
    return 1


def _records(store: Store, snapshot: Any, row: dict[str, Any]) -> Records:
    """The records of a report, from its file back into a value."""
    names = [n for n in RECORD_COLUMNS if n != "dmarc_pass"]
    listed = ", ".join(f'"{n}"' for n in names)
    sql = f"select {listed} from records where domain = $domain and report_key = $key"
    at = Window(snapshot, (MAIN, DOUBT, APART), row["begin"], max(row["end"], row["begin"] + 1))
    out = Records()
    known: dict[Shape, int] = {}
    for r in store.heavy.rows(sql, {"domain": row["domain"], "key": row["report_key"]}, at):
        f = dict(zip(names, r, strict=True))
        shape = Shape(
            f["disposition"],
            f["dkim_aligned"],
            f["spf_aligned"],
            tuple(f["override_types"]),
            tuple(f["override_comments"]),
            f["header_from"],
            f["envelope_from"],
            f["envelope_to"],
            tuple(DkimResult(**d) for d in f["dkim"]),
            tuple(SpfResult(**d) for d in f["spf"]),
        )
        if shape not in known:
            known[shape] = len(out.shapes)
            out.shapes.append(shape)
        out.source_ip.append(f["source_ip"])
        out.count.append(f["count"])
        out.shape.append(known[shape])
    return out


def _change_over(store: Store, side: Store, conn: Connection, carried: int) -> Rebuilt:
    """Put the new rows and files in the place of the old ones, within the write transaction `conn`."""
    side.flush()
    now = int(store.clock())
    with side.ledger.read() as new:
        for f in list_live(new):
            for path in (side.data / "records").glob(f"{f.path}.*"):
                target = store.data / "records" / path.relative_to(side.data / "records")
                target.parent.mkdir(exist_ok=True)
                path.rename(target)
        unlist(conn, [f.path for f in list_live(conn)], now)
        for table in _REBUILT:
            conn.execute(delete(table))
        first = bump(conn, "version", counter(new, "version") + 1) + 1
        for table in (*reversed(_REBUILT), files):
            column = {"reports": "version", "files": "news"}.get(table.name)
            for part in new.execute(select(table)).mappings().partitions(2_000):
                rows = [dict(r) for r in part]
                if column is not None:  # all are news to whoever classifies
                    rows = [r | {column: r[column] + first} for r in rows]
                conn.execute(insert(table), rows)
        for name in ("item", "report", "file", "row"):
            value = max(counter(conn, name), counter(new, name))
            conn.execute(update(counters).where(counters.c.name == name).values(value=value))
        bump(conn, "layout")
        bump(conn, "epoch")
        n = len(new.execute(select(items.c.id)).all())
        kept = len(new.execute(select(reports.c.id)).all())
    return Rebuilt(n, kept, carried)


def replay(store: Store, read: Read, item_ids: Sequence[int] | None = None) -> list[Stored]:
    """Read refused inputs again (all of them, or those of these numbers), and let in reports of domains now watched.

    What is still refused stays listed, with its present reason. Inputs without raw bytes are left as they are.
    """
    c = items.c
    query = select(items).where(c.id.in_(select(refusals.c.item_id)), c.segment.is_not(None)).order_by(c.id)
    if item_ids is None:
        _admit(store)
    else:
        query = query.where(c.id.in_(item_ids))
    with store.ledger.read() as conn:
        found = conn.execute(query).mappings().all()
    out: list[Stored] = []
    for part in chunks(found, 100):
        taken = []
        for row in part:
            kept = store.raw_item(row["id"])
            if kept is not None:
                taken.append(Taken(kept.origin, kept.raw, read(kept.raw, kept.origin.name), kept.verdict))
        out += store._appender.append_many(taken, keep_raw=True, again=True)
    return out


def _admit(store: Store) -> None:
    """Reports kept apart as `unknown_domain` whose domain is watched by now."""
    c = reports.c
    with store.ledger.write() as conn:
        apart = conn.execute(
            select(c.id, c.domain, c.identity, c.auth).where(c.apart == UNKNOWN_DOMAIN).order_by(c.id)
        ).all()
        welcome = [r for r in apart if watched_by(r.domain, store._appender.watched)]
        version = bump(conn, "version") + 1 if welcome else 0
        if welcome:
            bump(conn, "epoch")
        for r in welcome:
            counted = select(c.id).where(c.identity == r.identity, c.apart.is_(None))
            why = CONFLICT if conn.execute(counted).first() is not None else None
            conn.execute(
                update(reports)
                .where(c.id == r.id)
                .values(apart=why, shelf=shelf_of(r.auth, why), moved=True, version=version)
            )
