"""The digest of a cube: its rows by number instead of text, by day and over all days, so that sums need no joins.

A cache of two Arrow files beside a record file, mapped into memory when a question needs them: made when files are
merged or when first asked for, listed nowhere, free to be deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from .errors import StoreDamaged
from .files import DAYS_END, SUMS_END, sync_file

KIND = ("disposition", "dkim_aligned", "spf_aligned", "forwarded")
FORM = b"1"  # of these files; a digest of another form is made anew
CUBE = ("day", "domain", "submitter", "source_ip", *KIND, "messages")  # what a digest is made from


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one file by its own numbers, as arrays of one length; `first` and `last` are days since 1970.

    They come by day, then by source; without days, by source.
    """

    source: Any
    submitter: Any
    kind: Any
    messages: Any
    first: Any
    last: Any


@dataclass(frozen=True, slots=True)
class Digest:
    """One cube by number.

    `sums`: Arrow table of source, submitter, kind (dictionaries: `address domain`, name, JSON of KIND), messages,
    first, last: one row each. `days`: source, submitter, kind (numbers of `sums`), messages, sorted by day; the rows of
    `day[i]` are those from `start[i]` to `start[i + 1]`.
    """

    sums: Any
    days: Any  # None when only the sums were read
    day: Any
    start: Any

    def whole(self, only: Any = None) -> Rows:
        """The sums over all days; of a few sources, ascending, if they are said."""
        source, submitter, kind = (self.sums[n].chunk(0).indices.to_numpy() for n in ("source", "submitter", "kind"))
        messages, first, last = (self.sums[n].chunk(0).to_numpy() for n in ("messages", "first", "last"))
        columns = (source, submitter, kind, messages, first, last)
        if only is None:
            return Rows(*columns)
        at = _runs(*_bounds(source, only))
        return Rows(*(column[at] for column in columns))

    def between(self, since: int | None, until: int | None, only: Any = None) -> Rows:
        """The rows of days from `since` on and before `until`; of a few sources, ascending, if they are said."""
        import numpy as np

        a = 0 if since is None else int(np.searchsorted(self.day, since))
        b = max(a, len(self.day) if until is None else int(np.searchsorted(self.day, until)))
        columns = [self.days[n].chunk(0).to_numpy() for n in ("source", "submitter", "kind", "messages")]
        start, sizes = self.start[a : b + 1], np.diff(self.start[a : b + 1])
        if only is None:
            source, submitter, kind, messages = (column[start[0] : start[-1]] for column in columns)
        else:
            found = [_bounds(columns[0][low:high], only) + low for low, high in pairwise(start)]
            low, high = np.concatenate([*found, np.zeros((2, 0), dtype=np.int64)], axis=1)
            at = _runs(low, high)
            source, submitter, kind, messages = (column[at] for column in columns)
            sizes = (high - low).reshape(b - a, len(only)).sum(axis=1)
        day = np.repeat(self.day[a:b].astype(np.int32), sizes)
        return Rows(source, submitter, kind, messages, day, day)


def _bounds(sources: Any, only: Any) -> Any:
    """Where the rows of each of these sources begin and end among sorted ones."""
    import numpy as np

    wanted = only.astype(sources.dtype)  # else numpy would convert all the sources
    return np.array([np.searchsorted(sources, wanted, side) for side in ("left", "right")])


def _runs(low: Any, high: Any) -> Any:
    """All places from each `low` up to its `high`."""
    import numpy as np

    sizes = high - low
    return np.arange(sizes.sum()) + np.repeat(low - (np.cumsum(sizes) - sizes), sizes)


def _codes(column: Any) -> tuple[Any, Any]:
    """Numbers of the values of a column, and the values by number, null among them."""
    import numpy as np
    import pyarrow as pa

    column = column.combine_chunks()
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    values = column.dictionary
    codes = column.indices.fill_null(len(values)).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, pa.concat_arrays([values, pa.nulls(1, values.type)])


def _numbered(parts: list[Any], sizes: list[int]) -> tuple[Any, list[Any]]:
    """A number for each distinct tuple of numbers, and the tuples by number."""
    import numpy as np

    mixed = parts[0]
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        mixed = mixed * max(size, 1) + part
    distinct, number = np.unique(mixed, return_inverse=True)
    out = []
    for size in reversed(sizes[1:]):
        distinct, rest = np.divmod(distinct, max(size, 1))
        out.append(rest)
    return number, [distinct, *reversed(out)]


def add(sums: Any, at: Any, values: Any) -> None:
    """Add values to sums at these places; numpy is forty times slower when it must convert as it goes."""
    import numpy as np

    np.add.at(sums, at.astype(np.int64, copy=False), values.astype(np.int64, copy=False))


def bound(first: Any, last: Any, at: Any, low: Any, high: Any) -> None:
    """Move the bounds at these places apart, so that they hold `low` and `high`."""
    import numpy as np

    places = at.astype(np.int64, copy=False)
    np.minimum.at(first, places, low.astype(np.int64, copy=False))
    np.maximum.at(last, places, high.astype(np.int64, copy=False))


def summed(keys: list[Any], sizes: list[int], messages: Any) -> tuple[list[Any], Any, Any]:
    """Rows with equal keys become one: keys, messages, and the place of each old row."""
    import numpy as np

    number, distinct = _numbered(keys, sizes)
    total = np.zeros(len(distinct[0]), dtype=np.int64)
    add(total, number, messages)
    return distinct, total, number


def _narrow(values: Any, *, least: Any = None) -> Any:
    """The same numbers in the fewest bytes that Arrow and numpy have for them: 2 (if `least` allows), 4 or 8."""
    import numpy as np

    top = int(values.max(initial=0))
    kind = np.int16 if top < 2**15 and least is None else np.int32 if top < 2**31 else np.int64
    return np.ascontiguousarray(values.astype(kind))


def digest(cube: Any) -> Digest:
    """The digest of a cube, an Arrow table with the columns CUBE."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    domain, domains = _codes(cube["domain"])
    ip, ips = _codes(cube["source_ip"])
    submitter, submitters = _codes(cube["submitter"])
    marks = [_codes(cube[n]) for n in KIND]
    source, (at_domain, at_ip) = _numbered([domain, ip], [len(domains), len(ips)])
    kind, at_kind = _numbered([codes for codes, _ in marks], [len(values) for _, values in marks])
    sources = pc.binary_join_element_wise(
        ips.take(pa.array(at_ip)), domains.take(pa.array(at_domain)), " ", null_handling="replace"
    )
    columns = [values.take(pa.array(at)).to_pylist() for at, (_, values) in zip(at_kind, marks, strict=True)]
    kinds = pa.array([orjson.dumps(k).decode() for k in zip(*columns, strict=True)], pa.string())
    day = cube["day"].combine_chunks().cast(pa.int32()).to_numpy().astype(np.int64)
    distinct = np.unique(day)
    sizes = [len(sources), len(submitters), len(kinds)]
    (at, s, r, k), messages, _ = summed(
        [np.searchsorted(distinct, day), source, submitter, kind], [len(distinct), *sizes], cube["messages"].to_numpy()
    )
    start = np.searchsorted(at, np.arange(len(distinct) + 1))
    (whole_s, whole_r, whole_k), total, place = summed([s, r, k], sizes, messages)
    first, last = np.full(len(total), 2**31 - 1, dtype=np.int64), np.full(len(total), -(2**31), dtype=np.int64)
    bound(first, last, place, distinct[at], distinct[at])

    def named(numbers: Any, values: Any, least: Any = None) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(_narrow(numbers, least=least)), values.cast(pa.string()))

    sums = pa.table(
        {
            "source": named(whole_s, sources, 4),
            "submitter": named(whole_r, submitters),
            "kind": named(whole_k, kinds),
            "messages": _narrow(total, least=4),
            "first": first.astype(np.int32),
            "last": last.astype(np.int32),
        }
    )
    days = pa.table(
        {
            "source": _narrow(s, least=4),
            "submitter": _narrow(r),
            "kind": _narrow(k),
            "messages": _narrow(messages, least=4),
        }
    )
    return Digest(sums, days, distinct, start)


def write(found: Digest, folder: Path, name: str) -> None:
    """Keep a digest beside its record file: durable before it has its name, for a torn one would count wrongly."""
    import pyarrow as pa

    calendar = {b"form": FORM, b"days": orjson.dumps([found.day.tolist(), found.start.tolist()])}
    for ending, content in ((DAYS_END, found.days), (SUMS_END, found.sums)):
        target = folder / (name + ending)
        part = target.with_name(f"{target.name}.{id(found):x}.part")
        marked = content.replace_schema_metadata(calendar)
        try:
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, marked.schema) as writer:
                writer.write_table(marked)
            sync_file(part)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def read(folder: Path, name: str, *, days: bool = True) -> Digest | None:
    """A kept digest, mapped into memory; None when there is none of our form. Without `days`, these are left out."""
    import numpy as np
    import pyarrow as pa

    tables = []
    for ending in (SUMS_END, DAYS_END) if days else (SUMS_END,):
        path = folder / (name + ending)
        if not path.exists():
            return None
        try:
            tables.append(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
        except (pa.ArrowInvalid, FileNotFoundError):
            return None
    calendar = tables[0].schema.metadata or {}
    if calendar.get(b"form") != FORM or any(t.schema.metadata != calendar for t in tables):
        return None
    day, start = (np.array(numbers, dtype=np.int64) for numbers in orjson.loads(calendar[b"days"]))
    return Digest(_one(tables[0]), _one(tables[1]) if days else None, day, start)


def _one(content: Any) -> Any:
    """The table with one chunk a column, also when it is empty."""
    import pyarrow as pa

    if content.num_rows == 0:
        return pa.table([pa.array([], f.type) for f in content.schema], schema=content.schema)
    return content if content.column(0).num_chunks == 1 else content.combine_chunks()


def make(folder: Path, name: str, cube_path: Path) -> tuple[Digest, bool]:
    """(the digest of a record file's cube, is it kept beside it?); a full or read-only disk takes none.

    Raises StoreDamaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = ["domain", "submitter", "source_ip", "disposition"]
    try:
        cube = pq.read_table(cube_path, columns=list(CUBE), read_dictionary=texts)
    except (OSError, pa.ArrowInvalid) as e:
        raise StoreDamaged(f"a record file cannot be read: {e}; restore a backup or run dmarcview reindex") from e
    found = digest(cube)
    try:
        write(found, folder, name)
    except OSError:
        return found, False
    return read(folder, name) or found, True
