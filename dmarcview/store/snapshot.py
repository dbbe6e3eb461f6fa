"""A snapshot: the live files and the pending reports of one read transaction, so every answer is of one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from sqlalchemy import Connection, select

from dmarcview_reports import rows as report_rows
from dmarcview_reports.schema import REPORT_COLUMNS

from .files import Filed, FileRow, stored_schema, table
from .ledger import counter
from .tables import bodies, files, reports


@dataclass(frozen=True, slots=True)
class Pending:
    """One report whose rows are still in the ledger."""

    id: int
    shelf: str
    version: int
    filed: Filed


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the store holds at `version`. Its files stay on disk for an hour after they leave the list."""

    version: int  # of the answers
    layout: int  # of the file list
    files: tuple[FileRow, ...]
    pending: tuple[Pending, ...]
    _tables: dict[tuple[str, tuple[str, ...]], Any] = field(default_factory=dict, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def chosen(self, shelves: tuple[str, ...], begin: int | None, end: int | None) -> list[FileRow]:
        """Files of these shelves that may hold a report overlapping the window."""
        return [
            f
            for f in self.files
            if f.shelf in shelves
            and (end is None or f.begin < end)
            and (begin is None or f.end > begin or f.begin >= begin)
        ]

    def pending_records(self, shelves: tuple[str, ...]) -> Any:
        """Arrow table of the pending records, with the schema of a record file."""
        return self._made(("records", shelves), lambda: _pending_table(self.pending, shelves))

    def pending_cube(self, shelves: tuple[str, ...]) -> Any:
        """Arrow table of the pending records' cube."""
        from .cube import cube

        records = self.pending_records(shelves)
        return self._made(("cube", shelves), lambda: cube(records))

    def _made(self, key: tuple[str, tuple[str, ...]], make: Any) -> Any:
        with self._lock:
            if key not in self._tables:
                self._tables[key] = make()
            return self._tables[key]


def _pending_table(pending: tuple[Pending, ...], shelves: tuple[str, ...]) -> Any:
    chosen = [p.filed for p in pending if p.shelf in shelves]
    return table(chosen) if chosen else stored_schema().empty_table()


def read_pending(conn: Connection) -> tuple[Pending, ...]:
    """All reports whose rows are still in the ledger, oldest first."""
    c = reports.c
    facts = [c[n] for n in REPORT_COLUMNS]
    query = select(c.id, c.shelf, c.version, bodies.c.body, *facts).join_from(bodies, reports).order_by(c.id)
    return tuple(Pending(r[0], r[1], r[2], Filed(tuple(r[4:]), report_rows.decode(r[3]))) for r in conn.execute(query))


def take(conn: Connection, known: Snapshot | None = None) -> Snapshot:
    """The snapshot of this read transaction; `known` is given back if nothing changed since."""
    version, layout = counter(conn, "version"), counter(conn, "layout")
    if known is not None and (known.version, known.layout) == (version, layout):
        return known
    columns = [files.c[n] for n in FileRow._fields]
    live = tuple(FileRow(*r) for r in conn.execute(select(*columns).order_by(files.c.id)))
    return Snapshot(version, layout, live, read_pending(conn))
