"""Upkeep: pending rows become files, small files become large ones, old things leave.

Each step makes new files first and then changes the list in one transaction, so a reader keeps its cut and a crash
leaves at most files that nobody lists; `sweep` removes those later.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from . import digest, identities
from . import files as record_files
from .append import list_files
from .archive import sync_folder
from .engine import Engine
from .errors import StoreDamaged, named
from .files import CUBE_END, RECORDS_END, ROW_GROUP, FileRow
from .ledger import Ledger, bump, chunks
from .snapshot import Pending, read_pending
from .tables import bodies, files, gone, reports

FLUSH_ROWS = 5_000
FLUSH_SECONDS = 60
FILE_ROWS = 5_000_000  # a file of this size is not merged again
MERGE_FILES = 8  # small files of one month and shelf that make a merge worth while
KEEP_SECONDS = 3_600  # files stay this long after they left the list, for readers that still hold them


@dataclass(frozen=True, slots=True)
class Upkept:
    """What one step did."""

    files_added: int = 0
    files_removed: int = 0
    rows: int = 0


class Rows(NamedTuple):
    """A condition on the rows of a record file, with its parameters."""

    where: str
    params: dict[str, Any]


WITH = "report_key in (select unnest($keys))"
WITHOUT = "report_key not in (select unnest($keys))"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept, in days; 0 is forever."""

    days: int = 0  # reports, by the end of their period
    raw_days: int = 0  # raw bytes, by the day of their arrival
    domains: Mapping[str, int] = field(default_factory=dict)  # reports of one policy domain; goes before `days`
    refused_days: int = 0  # refusals, failure and TLS reports
    forget: tuple[str, ...] = ()  # policy domains of which nothing is kept


@contextmanager
def alone(data: Path) -> Iterator[None]:
    """Hold the upkeep lock of this machine, so that two upkeepers do not merge the same files in vain."""
    with named("taking the upkeep lock"):
        fd = os.open(data / "upkeep.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


class Upkeep:
    """The housekeeping of one store."""

    def __init__(self, data: Path, ledger: Ledger, clock: Callable[[], float], engine: Callable[[], Engine]) -> None:
        self.data, self.folder = data, data / "records"
        self.ledger, self.clock, self.engine = ledger, clock, engine

    # flush

    def due(self) -> bool:
        """Are there enough pending rows, or old enough ones, to write a file?"""
        with self.ledger.read() as conn:
            n, oldest = conn.execute(select(func.sum(bodies.c.records), func.min(bodies.c.at))).one()
        return n is not None and (n >= FLUSH_ROWS or self.clock() - oldest >= FLUSH_SECONDS)

    def flush(self) -> Upkept:
        """Write all pending rows as files, one a month and shelf."""
        with alone(self.data):
            self._settle()
            with self.ledger.read() as conn:
                pending = read_pending(conn)
            return self._flush(pending)

    def _flush(self, pending: Sequence[Pending]) -> Upkept:
        groups: dict[tuple[str, str], list[Pending]] = {}
        for p in pending:
            groups.setdefault((p.shelf, record_files.month_of(p.filed.fact("begin"))), []).append(p)
        done = Upkept()
        for (shelf, _), group in groups.items():
            news = max(p.version for p in group)
            row = record_files.put(self.folder, [p.filed for p in group], shelf, news, int(self.clock()))
            try:
                with self.ledger.write() as conn:
                    kept = self._unchanged(conn, group)
                    if kept:
                        for part in chunks([p.id for p in group]):
                            conn.execute(delete(bodies).where(bodies.c.report_id.in_(part)))
                        list_files(conn, [row])
            except BaseException:
                record_files.discard(self.folder, row.path)
                raise
            if kept:
                done = Upkept(done.files_added + 1, 0, done.rows + row.rows)
            else:  # another process flushed or changed some of these; the next flush takes the rest
                record_files.discard(self.folder, row.path)
        return done

    @staticmethod
    def _unchanged(conn: Connection, group: Sequence[Pending]) -> bool:
        c = reports.c
        found = {}
        for part in chunks([p.id for p in group]):
            query = select(c.id, c.shelf, c.version).join_from(bodies, reports).where(c.id.in_(part))
            found.update({r[0]: (r[1], r[2]) for r in conn.execute(query)})
        return found == {p.id: (p.shelf, p.version) for p in group}

    # moved reports: another shelf or another verdict than their file says

    def _settle(self) -> None:
        """Bring reports whose standing changed into files of their own shelf."""
        c = reports.c
        with self.ledger.read() as conn:
            if conn.execute(select(c.id).where(c.moved).limit(1)).first() is None:
                return
        with self.ledger.write() as conn:
            waiting = select(bodies.c.report_id)
            conn.execute(update(reports).where(c.moved, c.id.in_(waiting)).values(moved=False))
            moved = conn.execute(
                select(c.report_key, c.shelf, c.auth, c.begin, c.end, c.version).where(c.moved).order_by(c.id)
            ).all()
        if not moved:
            return
        keys = [r.report_key for r in moved]
        with self.ledger.read() as conn:
            live = list_live(conn)
        touched = self._holding(live, keys)
        new = [kept for f in touched if (kept := self.rewrite([f], Rows(WITHOUT, {"keys": keys}))) is not None]
        for shelf, auth, month in sorted({(r.shelf, r.auth, record_files.month_of(r.begin)) for r in moved}):
            group = [r for r in moved if (r.shelf, r.auth, record_files.month_of(r.begin)) == (shelf, auth, month)]
            model = FileRow("", shelf, month, 0, 0, 0, 0, 0, max(r.version for r in group), 0)
            only = Rows(WITH, {"keys": [r.report_key for r in group]})
            made = self.rewrite(touched, only, auth, model) if touched else None
            if made is not None:
                new.append(made)
        with self.ledger.write() as conn:
            if self.swap(conn, touched, new):
                for r in moved:
                    conn.execute(
                        update(reports).where(c.report_key == r.report_key, c.version == r.version).values(moved=False)
                    )

    def _holding(self, live: Sequence[FileRow], keys: Sequence[str]) -> list[FileRow]:
        """Files with rows of these reports."""
        if not live:
            return []
        engine = self.engine()
        sql = (
            "select distinct filename from read_parquet($paths, filename = true) "
            "where report_key in (select unnest($keys))"
        )
        paths = [str(self.folder / (f.path + RECORDS_END)) for f in live]
        found = {r[0] for r in engine.rows(sql, {"paths": paths, "keys": list(keys)})}
        return [f for f, p in zip(live, paths, strict=True) if p in found]

    # compact

    def compact(self, *, all_files: bool = False) -> Upkept:
        """Merge small files of a month and shelf; with `all_files`, also where there are only two.

        Large files that lack their identities, as imports write them and restored stores have them, get these.
        """
        done = Upkept()
        with alone(self.data):
            with self.ledger.read() as conn:
                live = list_live(conn)
            groups: dict[tuple[str, str], list[FileRow]] = {}
            for f in live:
                if f.rows < FILE_ROWS:
                    groups.setdefault((f.shelf, f.month), []).append(f)
            for group in groups.values():
                for batch in batches(group, 2 if all_files else MERGE_FILES):
                    merged = self.rewrite(batch)
                    with self.ledger.write() as conn:
                        swapped = self.swap(conn, batch, [merged] if merged else [])
                    if swapped and merged:
                        done = Upkept(done.files_added + 1, done.files_removed + len(batch), done.rows + merged.rows)
            with self.ledger.read() as conn:
                live = list_live(conn)
            for f in live:
                if identities.worth(f.rows) and not identities.exists(self.engine(), f.path):
                    with named("sorting records by source"):
                        identities.make(self.engine(), f.path)
        return done

    def rewrite(
        self,
        old: Sequence[FileRow],
        keep: Rows | None = None,
        auth: str | None = None,
        model: FileRow | None = None,
    ) -> FileRow | None:
        """One new file from the rows of old ones, or from those to `keep`; None when no row is left."""
        engine, first = self.engine(), old[0]
        model = model or first._replace(news=max(f.news for f in old))
        with named("merging record files"), engine.cursor() as cursor:
            name = record_files.new_path(self.folder, model.month)
            target = self.folder / (name + RECORDS_END)
            source = engine.scan([f.path for f in old], RECORDS_END)
            where, params = ("", {}) if keep is None else (f"where {keep.where}", keep.params)
            replaced = f"* replace ('{auth}' as auth)" if auth is not None else "*"
            try:
                _copy(
                    cursor,
                    f'select {replaced} from {source} {where} order by domain, "begin", source_ip',
                    target,
                    params,
                )
                rows, n, begin, end = cursor.execute(
                    'select count(*), count(distinct report_key), cast(epoch(min("begin")) as bigint), '
                    f'cast(epoch(max("end")) as bigint) from {engine.scan([name], RECORDS_END)}'
                ).fetchall()[0]
                if rows == 0:
                    record_files.discard(self.folder, name)
                    return None
                if where:
                    self._new_cube(name)
                else:
                    self._merge_cubes(cursor, old, name)
                size = sum(record_files.sync_file(self.folder / (name + e)) for e in (RECORDS_END, CUBE_END))
                digest.make(self.folder, name, self.folder / (name + CUBE_END))
                if identities.worth(rows):
                    identities.make(engine, name)
                sync_folder(target.parent)
            except BaseException:
                record_files.discard(self.folder, name)
                raise
        return model._replace(
            path=name, rows=rows, reports=n, bytes=size, begin=begin, end=end, created=int(self.clock())
        )

    def _merge_cubes(self, cursor: object, old: Sequence[FileRow], name: str) -> None:
        from .cube import KEYS

        keys = ", ".join(KEYS)
        scan = self.engine().scan([f.path for f in old], CUBE_END)
        _copy(
            cursor,
            f"select {keys}, cast(sum(messages) as bigint) as messages from {scan} group by {keys} "
            "order by domain, day, source_ip",
            self.folder / (name + CUBE_END),
            {},
        )

    def _new_cube(self, name: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from .cube import cube

        source = pq.ParquetFile(self.folder / (name + RECORDS_END))
        parts = [
            cube(pa.Table.from_batches([b]).cast(record_files.stored_schema()))
            for b in source.iter_batches(batch_size=ROW_GROUP, columns=list(record_files.STORED))
        ]
        record_files.write_table(pa.concat_tables(parts), self.folder / (name + CUBE_END))

    def swap(self, conn: Connection, old: Sequence[FileRow], new: Sequence[FileRow]) -> bool:
        """Replace files in the list, all or nothing; False when one of the old ones is no longer listed."""
        paths = [f.path for f in old]
        listed = conn.execute(select(func.count()).select_from(files).where(files.c.path.in_(paths))).scalar()
        if listed != len(paths):
            for f in new:
                record_files.discard(self.folder, f.path)
            return False
        unlist(conn, paths, int(self.clock()))
        list_files(conn, new)
        return True

    # sweep

    def sweep(self) -> Upkept:
        """Remove files that left the list, or never came into it, more than an hour ago."""
        now = int(self.clock())
        removed = 0
        with alone(self.data), named("removing old record files"):
            with self.ledger.read() as conn:
                live = {r[0] for r in conn.execute(select(files.c.path))}
                left = {r[0]: r[1] for r in conn.execute(select(gone.c.path, gone.c.at))}
            for name in self._on_disk():
                if name in live:
                    continue
                at = left.get(name)
                if at is None:
                    at = max((int(p.stat().st_mtime) for p in record_files.beside(self.folder, name)), default=now)
                if at < now - KEEP_SECONDS:
                    record_files.discard(self.folder, name)
                    removed += 1
            for part in self.folder.glob("*/*.part"):
                if part.stat().st_mtime < now - KEEP_SECONDS:
                    part.unlink(missing_ok=True)
            with self.ledger.write() as conn:
                conn.execute(delete(gone).where(gone.c.at < now - KEEP_SECONDS))
        return Upkept(files_removed=removed)

    def _on_disk(self) -> set[str]:
        names = set()
        for path in self.folder.glob("*/*.*"):
            names.add(f"{path.parent.name}/{path.name.split('.', 1)[0]}")
        return names


def _copy(cursor: object, query: str, target: Path, params: Mapping[str, object]) -> None:
    """Write the rows of a query as a Parquet file."""
    cursor.execute(  # type: ignore[attr-defined]
        f"copy ({query}) to '{target}' (format parquet, compression zstd, row_group_size {ROW_GROUP})", dict(params)
    )


def list_live(conn: Connection) -> list[FileRow]:
    """The live files, oldest first."""
    return [FileRow(*r) for r in conn.execute(select(*(files.c[n] for n in FileRow._fields)).order_by(files.c.id))]


def unlist(conn: Connection, paths: Sequence[str], now: int) -> None:
    """Take files out of the list; they stay on disk for readers until `sweep`."""
    for part in chunks(paths):
        conn.execute(delete(files).where(files.c.path.in_(part)))
    if paths:
        conn.execute(insert(gone), [{"path": p, "at": now} for p in paths])
        bump(conn, "layout")


def batches(group: Sequence[FileRow], least: int) -> Iterator[list[FileRow]]:
    """Runs of files that together make at most one full file, smallest first; none shorter than `least`."""
    batch: list[FileRow] = []
    rows = 0
    for f in sorted(group, key=lambda f: f.rows):
        if batch and rows + f.rows > FILE_ROWS:
            if len(batch) >= least:
                yield batch
            batch, rows = [], 0
        batch.append(f)
        rows += f.rows
    if len(batch) >= least:
        yield batch


def days_ago(now: float, days: int) -> int:
    """The second before which things are older than `days`."""
    return int(now) - days * 86_400


def missing(folder: Path, live: Sequence[FileRow]) -> None:
    """Raise StoreDamaged if a listed file is not on disk."""
    for f in live:
        for ending in (RECORDS_END, CUBE_END):
            if not (folder / (f.path + ending)).exists():
                raise StoreDamaged(f"records/{f.path}{ending} is missing; restore a backup or run dmarcview reindex")
