"""What a source looked like, ready to be read: beside a large record file lie its rows in the order of sources.

A cache in Parquet, made when files are merged and when upkeep finds none; listed nowhere, free to be deleted. A record
file is sorted by time, so one source's rows lie all over it; a small one is quickly read as it is.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .files import IDENTITIES_END, RECORDS_END, ROW_GROUP, sync_file

if TYPE_CHECKING:
    from .engine import Engine

_PLAIN = """domain, source_ip, "begin", "end", submitter,
  disposition, dkim_aligned, spf_aligned, header_from, envelope_from, "count" """
# texts are grouped far faster than lists of structures
_RESULTS = "cast(to_json({'dkim': dkim, 'spf': spf, 'override_types': override_types}) as varchar) as results"


def worth(rows: int) -> bool:
    """Is a record file of so many rows read faster with one? Below, it is one group of rows in any order."""
    return rows > ROW_GROUP


def exists(engine: Engine, path: str) -> bool:
    """Does it lie beside this record file?"""
    return (engine.folder / (path + IDENTITIES_END)).exists()


def make(engine: Engine, path: str) -> None:
    """Write it beside a record file: durable before it has its name, for a torn one would count wrongly."""
    target = engine.folder / (path + IDENTITIES_END)
    part = target.with_name(f"{target.name}.part")
    source = engine.scan([path], RECORDS_END)
    numbers = (
        "select report_key, cast(row_number() over () as integer) as report "
        f"from (select distinct report_key from {source})"
    )
    try:
        with engine.cursor() as cursor:
            cursor.execute(
                f"copy (select {_PLAIN}, {_RESULTS}, report from {source} join ({numbers}) using (report_key) "
                f"order by domain, source_ip) to '{part}' "
                f"(format parquet, compression zstd, row_group_size {ROW_GROUP})"
            )
        sync_file(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def union(engine: Engine, paths: Iterable[str]) -> str:
    """SQL of the rows of record files and of `pending_records`; `file` and `report` together tell a report."""
    ready = {path: exists(engine, path) for path in paths}
    found = [path for path, there in ready.items() if there]
    others = engine.union([path for path, there in ready.items() if not there], RECORDS_END, "pending_records")
    sql = f"select {_PLAIN}, {_RESULTS}, report_key as file, 0 as report from ({others})"
    if found:
        scan = engine.scan(found, IDENTITIES_END)
        sql += f" union all by name select {_PLAIN}, results, filename as file, report from {scan}"
    return sql
