"""Record files: reports become an Arrow table, a table becomes an immutable Parquet file with its cube beside it.

A file holds the report and record columns of `schema.COLUMNS` (what the house looks up is joined at question time),
sorted by domain, begin, source_ip, so that a question about one domain reads little.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dmarcview_reports.model import Records, Shape
from dmarcview_reports.schema import COLUMNS, RECORD_COLUMNS, REPORT_COLUMNS

from .archive import make_folder, sync_folder
from .errors import named

ROW_GROUP = 40_000
STORED = REPORT_COLUMNS + RECORD_COLUMNS
RECORDS_END = ".parquet"
CUBE_END = ".cube.parquet"
SUMS_END = ".sums.arrow"  # the digest: a cache, not listed, free to delete
DAYS_END = ".days.arrow"
IDENTITIES_END = ".identities.parquet"  # such a cache too


class Filed(NamedTuple):
    """One report on its way into a file: its report columns in schema order, and its records."""

    facts: tuple[Any, ...]
    records: Records

    def fact(self, name: str) -> Any:
        """One report column by name."""
        return self.facts[REPORT_COLUMNS.index(name)]


class FileRow(NamedTuple):
    """One live file, as the ledger lists it; `path` is below records/ and has no ending."""

    path: str
    shelf: str
    month: str
    rows: int
    reports: int
    bytes: int
    begin: int
    end: int
    news: int
    created: int


def arrow_type(name: str) -> Any:
    """The Arrow type of a type name of `schema`."""
    import pyarrow as pa

    text = pa.string()
    four = {"dkim": ("domain", "selector"), "spf": ("domain", "scope")}
    if name in four:
        return pa.list_(pa.struct([(f, text) for f in (*four[name], "result", "human_result")]))
    simple = {
        "text": text,
        "int": pa.int64(),
        "bool": pa.bool_(),
        "time": pa.timestamp("ms", tz="UTC"),
        "texts": pa.list_(text),
    }
    return simple[name]


def stored_schema() -> Any:
    """The Arrow schema of a record file."""
    import pyarrow as pa

    return pa.schema([(c.name, arrow_type(c.type)) for c in COLUMNS if c.name in STORED])


_SHAPE_COLUMNS: tuple[tuple[str, Callable[[Shape], Any]], ...] = (
    ("disposition", lambda s: s.disposition),
    ("dkim_aligned", lambda s: s.dkim_aligned),
    ("spf_aligned", lambda s: s.spf_aligned),
    ("dmarc_pass", lambda s: s.dmarc_pass),
    ("override_types", lambda s: s.override_types),
    ("override_comments", lambda s: s.override_comments),
    ("header_from", lambda s: s.header_from),
    ("envelope_from", lambda s: s.envelope_from),
    ("envelope_to", lambda s: s.envelope_to),
)


def _results(groups: list[tuple[tuple[Any, ...], ...]], kind: Any) -> Any:
    """A list-of-struct array from tuples, column by column: ten times faster than from dicts."""
    import pyarrow as pa

    offsets = [0]
    flat: list[tuple[Any, ...]] = []
    for group in groups:
        flat.extend(group)
        offsets.append(len(flat))
    columns = list(zip(*flat, strict=True)) if flat else [()] * 4
    fields = list(kind.value_type)
    children = [pa.array(c, pa.string()) for c in columns]
    values = pa.StructArray.from_arrays(children, fields=fields)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=kind)


def table(filed: Sequence[Filed]) -> Any:
    """One Arrow table of all records of all reports, sorted by domain, begin, source_ip."""
    import numpy as np
    import pyarrow as pa

    order = sorted(filed, key=lambda f: (f.fact("domain"), f.fact("begin")))
    sizes = np.array([len(f.records) for f in order], dtype=np.int64)
    ips: list[str] = []
    counts: list[int] = []
    shapes: list[Shape] = []
    at = np.empty(int(sizes.sum()), dtype=np.int64)
    start = 0
    for f in order:
        ips.extend(f.records.source_ip)
        counts.extend(f.records.count)
        at[start : start + len(f.records)] = f.records.shape
        at[start : start + len(f.records)] += len(shapes)
        shapes.extend(f.records.shapes)
        start += len(f.records)
    groups: dict[tuple[str, int], int] = {}
    rank = np.array([groups.setdefault((f.fact("domain"), f.fact("begin")), len(groups)) for f in order], np.int64)
    owner = np.repeat(np.arange(len(order), dtype=np.int64), sizes)
    source = pa.array(ips, pa.string())
    names = source.dictionary_encode()
    ip_rank = np.empty(len(names.dictionary), dtype=np.int64)
    ip_rank[pa.compute.sort_indices(names.dictionary).to_numpy()] = np.arange(len(names.dictionary))
    sort = np.lexsort((ip_rank[names.indices.to_numpy()], rank[owner])) if ips else owner
    owners, places = pa.array(owner[sort]), pa.array(at[sort])
    arrays: dict[str, Any] = {
        "source_ip": source.take(pa.array(sort)),
        "count": pa.array(np.array(counts, dtype=np.int64)[sort]),
    }
    schema = stored_schema()
    for i, name in enumerate(REPORT_COLUMNS):
        kind = schema.field(name).type
        values = [f.facts[i] for f in order]
        if pa.types.is_timestamp(kind):
            values = [None if v is None else v * 1000 for v in values]
        arrays[name] = pa.array(values, kind).take(owners)
    for name, of in _SHAPE_COLUMNS:
        arrays[name] = pa.array([of(s) for s in shapes], schema.field(name).type).take(places)
    arrays["dkim"] = _results([s.dkim for s in shapes], schema.field("dkim").type).take(places)
    arrays["spf"] = _results([s.spf for s in shapes], schema.field("spf").type).take(places)
    return pa.table([arrays[n] for n in schema.names], schema=schema)


def month_of(begin: int) -> str:
    """The partition of a report: the UTC month of its begin, `YYYY-MM`; absurd times share one partition."""
    if not 0 <= begin < 253_402_300_800:  # year 10000
        return "0000-00"
    return time.strftime("%Y-%m", time.gmtime(begin))


def write_table(content: Any, path: Path) -> int:
    """Write a Parquet file and make its bytes durable (not its name); gives its size."""
    import pyarrow.parquet as pq

    pq.write_table(
        content,
        path,
        compression="zstd",
        compression_level=3,
        row_group_size=ROW_GROUP,
        use_dictionary=[n for n in content.schema.names if n not in ("count", "messages", "day")],
        write_statistics=True,
        store_schema=False,
    )
    return sync_file(path)


def sync_file(path: Path) -> int:
    """Make the bytes of a file durable; gives its size."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def new_path(folder: Path, month: str) -> str:
    """A fresh name in a partition, below `folder`."""
    make_folder(folder / month)
    return f"{month}/{secrets.token_hex(12)}"


def put(folder: Path, filed: Sequence[Filed], shelf: str, news: int, now: int) -> FileRow:
    """Write reports of one month and shelf as a record file with its cube, durably. Raises StoreFull; nothing stays."""
    from .cube import cube

    month = month_of(filed[0].fact("begin"))
    with named("writing a record file"):
        name = new_path(folder, month)
        try:
            content = table(filed)
            size = write_table(content, folder / (name + RECORDS_END))
            size += write_table(cube(content), folder / (name + CUBE_END))
            sync_folder((folder / name).parent)
        except BaseException:
            discard(folder, name)
            raise
    return FileRow(
        path=name,
        shelf=shelf,
        month=month,
        rows=content.num_rows,
        reports=len(filed),
        bytes=size,
        begin=min(f.fact("begin") for f in filed),
        end=max(f.fact("end") for f in filed),
        news=news,
        created=now,
    )


def beside(folder: Path, name: str) -> list[Path]:
    """A file and its companions, those of older versions too, as far as they are there."""
    path = folder / name
    return list(path.parent.glob(f"{path.name}.*"))


def discard(folder: Path, name: str) -> None:
    """Remove a file and its companions, if they are there."""
    for path in beside(folder, name):
        path.unlink(missing_ok=True)
