"""Record rows for other programs: CSV, JSON, Parquet, and the two formats of parsedmarc.

All are written piece by piece, so memory does not grow with the store. In CSV, lists are JSON, and text that a
spreadsheet would run as a formula gets an apostrophe before it (parsedmarc does the same in its own CSV).
"""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from dmarcview.query import Filters
from dmarcview.query.stream import record_batches, report_errors
from dmarcview.terminal import defused
from dmarcview_reports.schema import COLUMNS

if TYPE_CHECKING:
    from dmarcview.parsedmarc import Report
    from dmarcview.store import Store

Row = dict[str, Any]
_RECORD_LINE = b"\n    "  # where a record stands in an indented report
AT_ONCE = 1_000  # rows as Python objects, some 5 kB each


def write(store: Store, filters: Filters, format: str, out: IO[bytes]) -> None:
    """Write the records of the window; `format` is one of FORMATS."""
    FORMATS[format](store, filters, out)


def write_file(store: Store, filters: Filters, format: str, path: str) -> None:
    """Write a file that appears only when it is whole. Raises OSError."""
    target = Path(path)
    fd, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(fd, "wb") as out:
            write(store, filters, format, out)
            out.flush()
            os.fsync(out.fileno())
        Path(draft).chmod(0o640)
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def rows(store: Store, filters: Filters) -> Iterator[Row]:
    """Every record as one dict in the order of the schema; times are datetimes in UTC."""
    for batch in record_batches(store, filters):
        for start in range(0, batch.num_rows, AT_ONCE):
            yield from batch.slice(start, AT_ONCE).to_pylist()


def _json_value(value: Any) -> Any:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else value


def _cell(value: Any) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return orjson.dumps(value).decode() if value else ""
    return defused(_json_value(value))


def _csv(store: Store, filters: Filters, out: IO[bytes]) -> None:
    with _text(out) as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column.name for column in COLUMNS])
        for row in rows(store, filters):
            writer.writerow([_cell(value) for value in row.values()])


def _json(store: Store, filters: Filters, out: IO[bytes]) -> None:
    """An array with one row a line."""
    _array(out, ([orjson.dumps({n: _json_value(v) for n, v in row.items()})] for row in rows(store, filters)))
    out.write(b"\n")


def _array(out: IO[bytes], items: Iterable[Iterable[bytes]]) -> None:
    """A JSON array of items that come in parts."""
    between = b"[\n"
    for item in items:
        out.write(between)
        for part in item:
            out.write(part)
        between = b",\n"
    out.write(b"[]" if between == b"[\n" else b"\n]")


def _parquet(store: Store, filters: Filters, out: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    for batch in record_batches(store, filters):
        if writer is None:
            writer = pq.ParquetWriter(out, batch.schema, compression="zstd")
        writer.write_batch(batch)
    if writer is None:  # no row: the columns all the same
        writer = pq.ParquetWriter(out, pa.schema([(column.name, pa.string()) for column in COLUMNS]))
    writer.close()


def _parsedmarc_csv(store: Store, filters: Filters, out: IO[bytes]) -> None:
    from dmarcview.parsedmarc import FIELDS, csv_rows, reports

    with _text(out) as text:
        writer = csv.DictWriter(text, FIELDS, lineterminator="\r\n")
        writer.writeheader()
        for report in reports(rows(store, filters), report_errors(store)):
            for row in csv_rows(report):
                writer.writerow({name: defused(value) for name, value in row.items()})


def _parsedmarc_json(store: Store, filters: Filters, out: IO[bytes]) -> None:
    from dmarcview.parsedmarc import reports

    _array(out, (_report_json(report) for report in reports(rows(store, filters), report_errors(store))))
    out.write(b"\n")


def _report_json(report: Report) -> Iterator[bytes]:
    """A report as orjson would indent it, record by record; it has at least one."""
    head, tail = orjson.dumps({**report.head, "records": [0]}, option=orjson.OPT_INDENT_2).rsplit(b"0", 1)
    between = head
    for record in report.records:
        yield between + orjson.dumps(record, option=orjson.OPT_INDENT_2).replace(b"\n", _RECORD_LINE)
        between = b"," + _RECORD_LINE
    yield tail


class _text:  # noqa: N801 - used as a function
    """Text over a byte stream that stays open afterwards."""

    def __init__(self, out: IO[bytes]) -> None:
        self._text = io.TextIOWrapper(out, encoding="utf-8", errors="replace", newline="", write_through=False)

    def __enter__(self) -> io.TextIOWrapper:
        return self._text

    def __exit__(self, *_: object) -> None:
        self._text.detach()


FORMATS: dict[str, Callable[[Any, Filters, IO[bytes]], None]] = {
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "parsedmarc-csv": _parsedmarc_csv,
    "parsedmarc-json": _parsedmarc_json,
}
