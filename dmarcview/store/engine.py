"""DuckDB, the engine of questions: SQL over one snapshot, with frames of settled types out.

Questions name `records`, `cube` and `identities` (files and pending rows of the chosen shelves) and the table `sources`
(who is behind an address; see rollup.py). They use named parameters and SQL that Spark also runs.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from . import identities
from .errors import StoreDamaged, StoreError, StoreFull
from .files import CUBE_END, RECORDS_END
from .snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd

THREADS = 2
MEMORY = "96MB"  # DuckDB's own, for questions; the process needs 130 MB more for the libraries
HEAVY_MEMORY = "512MB"  # for merging files, and for facts about every source; more spills to disk
SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": THREADS,
    "memory_limit": MEMORY,
    "autoinstall_known_extensions": False,  # nothing is downloaded
    "autoload_known_extensions": False,
    "python_enable_replacements": False,  # a name in SQL is never a Python variable
    "preserve_insertion_order": False,  # every question sorts
    "enable_external_file_cache": False,  # the system caches files, outside our memory
}
MAY_MISS = ("pct", "asn")  # whole numbers that are Int64 also when none is missing
RELATIONS = {"records": RECORDS_END, "cube": CUBE_END}
_NO_ROOM = ("no space left", "disk quota", "max_temp_directory_size", "failed to offload", "could not write")
SESSION = ("set TimeZone = 'UTC'", "set parquet_metadata_cache = true")  # files never change


class Window:
    """What a question reads: a snapshot, the shelves, and the seconds that bound it."""

    __slots__ = ("begin", "end", "shelves", "snapshot")

    def __init__(
        self, snapshot: Snapshot, shelves: tuple[str, ...], begin: int | None = None, end: int | None = None
    ) -> None:
        self.snapshot, self.shelves, self.begin, self.end = snapshot, shelves, begin, end


class Engine:
    """One in-memory DuckDB database; each question gets its own cursor, so threads may ask at once."""

    def __init__(self, folder: Path, spill: Path, memory: str = MEMORY, threads: int = THREADS) -> None:
        import duckdb
        import pyarrow as pa

        pa.set_memory_pool(pa.system_memory_pool())  # of Arrow's allocators the one that `release` reaches
        self.folder = folder
        self.lock = RLock()
        self.con = duckdb.connect(
            ":memory:", config=SETTINGS | {"memory_limit": memory, "threads": threads, "temp_directory": str(spill)}
        )
        for sql in SESSION:
            self.con.execute(sql.replace("set ", "set global "))

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """A DuckDB cursor of its own."""
        import duckdb

        cursor = self.con.cursor()
        try:
            yield cursor
        except duckdb.Error as e:
            raise _ours(e) from e
        finally:
            cursor.close()

    def over(self, cursor: Any, window: Window, sql: str) -> str:
        """The question with `records`, `cube` and `identities` as it names them: files and pending rows of the window.

        Only what is named is opened. Common table expressions, because views would open every file twice.
        """
        chosen = [f.path for f in window.snapshot.chosen(window.shelves, window.begin, window.end)]
        parts = []
        for name, ending in RELATIONS.items():
            pending = f"pending_{name}"
            if name in sql:
                cursor.register(pending, getattr(window.snapshot, pending)(window.shelves))
            if re.search(rf"\bfrom {name}\b", sql):
                parts.append(f"{name} as not materialized ({self.union(chosen, ending, pending)})")
        if re.search(r"\bfrom identities\b", sql):
            cursor.register("pending_records", window.snapshot.pending_records(window.shelves))
            parts.append(f"identities as not materialized ({identities.union(self, chosen)})")
        if not parts:
            return sql
        head, rest = ", ".join(parts), sql.lstrip()
        return f"with {head}, {rest[5:]}" if rest.startswith("with ") else f"with {head} {rest}"

    def union(self, paths: list[str], ending: str, pending: str) -> str:
        """SQL of files and pending rows together."""
        if not paths:
            return f"select * from {pending}"
        return f"select * from {self.scan(paths, ending)} union all by name select * from {pending}"

    def scan(self, paths: list[str], ending: str) -> str:
        """SQL that reads files; their names are our own hexadecimal."""
        listed = ", ".join("'" + str(self.folder / (p + ending)).replace("'", "''") + "'" for p in paths)
        return f"read_parquet([{listed}])"

    def frame(self, sql: str, params: dict[str, Any], window: Window | None = None) -> pd.DataFrame:
        """The answer as a frame: text `str`, times `datetime64[s, UTC]`, days `date`, counts int64."""
        with self.cursor() as cursor:
            text = sql if window is None else self.over(cursor, window, sql)
            found = frame(cursor.sql(text, params=_used(sql, params)).to_arrow_table())
        release()
        return found

    def rows(self, sql: str, params: dict[str, Any], window: Window | None = None) -> list[tuple[Any, ...]]:
        """The answer as tuples."""
        with self.cursor() as cursor:
            text = sql if window is None else self.over(cursor, window, sql)
            found: list[tuple[Any, ...]] = cursor.execute(text, _used(sql, params)).fetchall()
        release()
        return found

    def close(self) -> None:
        """End the database."""
        self.con.close()


def _ours(error: Exception) -> StoreError:
    """DuckDB's error as one of ours, with one sentence that says what to do."""
    import duckdb

    said = str(error).splitlines()[0]
    low = str(error).lower()
    if any(text in low for text in _NO_ROOM):
        return StoreFull(f"no room for what a question puts on disk: {said}; free disk space and try again")
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
        return StoreError(f"this question needs more memory than there is: {said}; ask for fewer days or domains")
    if isinstance(error, duckdb.IOException | duckdb.InvalidInputException):
        return StoreDamaged(f"a record file cannot be read: {said}; restore a backup or run dmarcview reindex")
    return StoreError(
        f"the engine of questions failed: {said}; run dmarcview check, and report it if that finds nothing"
    )


def release() -> None:
    """Give freed memory, Arrow's too, back to the system; glibc else keeps what a large first question has used."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _used(sql: str, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters that a text names; DuckDB refuses others."""
    return {k: v for k, v in params.items() if f"${k}" in sql}


def frame(content: Any) -> pd.DataFrame:
    """An Arrow table as a pandas frame of settled types: the same whatever engine answered.

    Text is `str` (missing is NaN), whole numbers int64 (Int64 for those that may be missing), truth
    boolean, times datetime64[s, UTC], days datetime64[s], lists Python lists.
    """
    import pandas as pd
    import pyarrow as pa

    out: dict[str, Any] = {}
    for name, column in zip(content.schema.names, content.columns, strict=True):
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
            whole = column.cast(pa.int64())
            out[name] = _masked(whole, "Int64") if name in MAY_MISS or column.null_count else whole.to_numpy()
        elif pa.types.is_boolean(kind):
            out[name] = _masked(column, "boolean")
        elif pa.types.is_timestamp(kind):
            stamps = pd.Series(column.cast(pa.timestamp("s")).to_numpy())
            out[name] = stamps.astype("datetime64[s]").dt.tz_localize("UTC")
        elif pa.types.is_date(kind):
            out[name] = pd.Series(column.cast(pa.timestamp("s")).to_numpy()).astype("datetime64[s]")
        elif pa.types.is_nested(kind):
            out[name] = pd.Series(column.to_pylist(), dtype=object)
        elif pa.types.is_floating(kind):
            out[name] = column.to_numpy()
        else:
            out[name] = pd.Series(column.cast(pa.string()).to_pandas(), dtype="str")
    return pd.DataFrame(out, columns=list(content.schema.names))


def _masked(column: Any, dtype: str) -> Any:
    import pandas as pd

    return pd.array(column.to_pylist(), dtype=dtype)
