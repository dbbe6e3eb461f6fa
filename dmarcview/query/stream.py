"""Record rows piece by piece, for exports that may be larger than memory.

The order of an export is domain, begin, report, address, count. Sorting all rows at once would need memory for all, so
the ledger says where to cut between reports, and each piece is sorted for itself. A report larger than a piece lies in
one file by address already; it is read from there in that order.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import select

from dmarcview.store import blocks
from dmarcview.store.engine import Window, release
from dmarcview.store.errors import StoreDamaged, named
from dmarcview.store.files import RECORDS_END, STORED
from dmarcview.store.snapshot import Snapshot
from dmarcview.store.tables import reports
from dmarcview_reports.schema import COLUMNS

from .filters import SOURCE_CLASS, Filters, over_periods
from .spans import Span, spans
from .traffic import JOIN

if TYPE_CHECKING:
    from dmarcview.store import Store

PIECE = 10_000  # rows sorted at once: some 10 MB, also when every row differs
WHO = ("domain", "source_ip", *(c.name for c in COLUMNS if c.origin == "house"))


def record_batches(store: Store, filters: Filters) -> Iterator[Any]:
    """Arrow record batches of `query.records`: the columns of `schema.COLUMNS`, each report's rows together.

    Memory is bounded by the rows of a piece, not by those of the store, of a report or of the table of sources.
    """
    snapshot = store.snapshot()
    with tempfile.TemporaryDirectory(prefix="dmarcview-export-") as folder, store.engine.cursor() as cursor:
        reader = _Reader(store, filters, snapshot, cursor, Path(folder) / "sources.parquet")
        with named("writing the sources of an export"):
            _write_sources(store, reader.sources)
        release()
        for span in spans(store, filters, PIECE):
            pieces = reader.alone(span) if span.alone else reader.together(span)
            for piece in pieces:
                if piece.num_rows:
                    yield from reader.finished(piece).to_batches()


def _write_sources(store: Store, path: Path) -> None:
    """The classes of sources as a file: blocks one after the other, each row with the number of its block."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([*((n, pa.int64() if n == "asn" else pa.string()) for n in WHO), ("block", pa.int64())])
    with store.ledger.read() as conn, pq.ParquetWriter(path, schema, compression="zstd") as out:
        for number, batch in blocks.stream(conn):
            columns = [batch[n].cast(schema.field(n).type) for n in WHO]
            out.write_table(pa.table([*columns, pa.array([number] * batch.num_rows, pa.int64())], schema=schema))


@dataclass(frozen=True, slots=True)
class _Reader:
    """One export: what it asks, of which moment, and where the sources lie."""

    store: Store
    filters: Filters
    snapshot: Snapshot
    cursor: Any
    sources: Path

    def together(self, span: Span) -> Iterator[Any]:
        """The rows of a span as one table, in any order."""
        asked = over_periods(replace(self.filters, source_class=None))  # what sources are, `finished` looks up
        where, bounds = span.where()
        sql = f"select c.* from records c where {asked.where} and {where}"
        window = Window(self.snapshot, self.filters.shelves, *span.seconds(self.filters))
        question = self.store.engine.over(self.cursor, window, sql)
        yield self.cursor.sql(question, params=asked.params | bounds).to_arrow_table()

    def alone(self, span: Span) -> Iterator[Any]:
        """The rows of one large report as tables in the order of addresses, an address whole if a piece can hold it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        assert span.high is not None
        begin, key = span.high.begin, span.high.report_key
        files = [
            f.path for f in self.snapshot.chosen(self.filters.shelves, begin, begin + 1) if self._holds(f.path, key)
        ]
        if not files:  # its rows are still in the ledger
            yield from self.together(span)
            return
        held = None
        for batch in (b for path in files for b in self._batches(path, key)):
            table = batch if held is None else pa.concat_tables([held, batch])
            ips = table["source_ip"]
            start = pc.index(ips, ips[-1]).as_py()  # the last address may go on in the next batch
            if start == 0 and table.num_rows >= PIECE:
                start = table.num_rows
            yield table.slice(0, start)
            held = table.slice(start)
        if held is not None:
            yield held

    def _holds(self, path: str, key: str) -> bool:
        scan = self.store.engine.scan([path], RECORDS_END)
        sql = f"select 1 from {scan} where report_key = $key limit 1"
        return bool(self.cursor.execute(sql, {"key": key}).fetchall())

    def _batches(self, path: str, key: str) -> Iterator[Any]:
        """A report's rows as they lie in a file."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        try:
            with (
                named("reading a record file"),
                pq.ParquetFile(self.store.engine.folder / (path + RECORDS_END)) as file,
            ):
                groups = [g for g in range(file.num_row_groups) if _may_hold(file.metadata.row_group(g), key)]
                for batch in file.iter_batches(PIECE, groups, columns=list(STORED), use_threads=False):
                    table = pa.Table.from_batches([batch])
                    table = table.filter(pc.equal(table["report_key"], key))
                    if table.num_rows:
                        yield table
        except pa.ArrowInvalid as e:
            raise StoreDamaged(f"records/{path} cannot be read: {e}; restore a backup or run dmarcview reindex") from e

    def finished(self, piece: Any) -> Any:
        """A piece with what is known of its sources, filtered and sorted, as an Arrow table of `schema.COLUMNS`."""
        asked = over_periods(self.filters)
        house = {c.name: f's."{c.name}"' for c in COLUMNS if c.origin == "house"}
        house["source_class"] = f"{SOURCE_CLASS} as source_class"
        listed = ", ".join(house.get(c.name, f'c."{c.name}"') for c in COLUMNS)
        self.cursor.register("piece", piece)
        sql = (
            "with sources as (select w.* from read_parquet($sources) w semi join piece p "
            "on w.domain = p.domain and w.source_ip = p.source_ip "
            "qualify row_number() over (partition by w.domain, w.source_ip order by w.block desc) = 1) "
            f"select {listed} from piece c {JOIN} where {asked.where} "
            'order by c.domain, c."begin", c.report_key, c.source_ip, c."count" desc'
        )
        return self.cursor.sql(sql, params=asked.params | {"sources": str(self.sources)}).to_arrow_table()


def _may_hold(group: Any, key: str) -> bool:
    """Can a row group hold this report, by what the file says of its smallest and largest key?"""
    column = next(c for i in range(group.num_columns) if (c := group.column(i)).path_in_schema == "report_key")
    said = column.statistics
    return said is None or not said.has_min_max or said.min <= key <= said.max


def report_errors(store: Store) -> dict[str, list[str]]:
    """What reporters said went wrong on their side (`report_metadata/error`), by report key; only where they did."""
    with store.ledger.read() as conn:
        found = conn.execute(select(reports.c.report_key, reports.c.errors).where(reports.c.errors != "[]"))
        return {key: orjson.loads(errors) for key, errors in found}
