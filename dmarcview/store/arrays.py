"""Whole numbers by the hundred thousand: sums by key, distinct values, places in tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NONE = -1  # in arrays of places: there is none
LARGEST = 1 << 62


def summed(keys: Any, *weights: Any) -> tuple[Any, ...]:
    """The distinct keys, ascending, and for each array of weights its sums by key."""
    import numpy as np

    if not len(keys):
        return (keys, *weights)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return (keys[starts], *(np.add.reduceat(w[order], starts) for w in weights))


def distinct(values: Any) -> Any:
    """The distinct values, ascending; numpy's own `unique` hashes, which takes ten times as long for whole numbers."""
    import numpy as np

    values = np.sort(values)
    return values[np.concatenate([[True], values[1:] != values[:-1]])] if len(values) else values


def factored(values: Any) -> tuple[Any, Any]:
    """The distinct values in order of arrival, and for each value its place among them."""
    import pyarrow as pa

    encoded = pa.array(values).dictionary_encode()
    return encoded.dictionary.to_numpy(), encoded.indices.to_numpy().astype("int64")


def ranked(things: list[Any]) -> tuple[Any, Any]:
    """For each thing its place in order, and for each place in order the thing."""
    import numpy as np

    order = np.array(sorted(range(len(things)), key=things.__getitem__), dtype=np.int64)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank, order


def best(at: Any, rank: Any, weight: Any, size: int) -> tuple[Any, Any]:
    """For each source the rank of most weight, the first among equals, and the weight; `at`, `rank` ascend."""
    import numpy as np

    first, most = np.full(size, NONE, dtype=np.int64), np.zeros(size, dtype=np.int64)
    if len(at):
        starts = np.flatnonzero(np.concatenate([[True], at[1:] != at[:-1]]))
        most[at[starts]] = np.maximum.reduceat(weight, starts)
        places = np.flatnonzero(weight == most[at])[::-1]
        first[at[places]] = rank[places]
    return first, most


def from_zero(values: Any) -> tuple[Any, int]:
    """Values moved to begin at 0, and how many there may be."""
    if not len(values):
        return values, 1
    low, high = int(values.min()), int(values.max())
    return values - low, high - low + 1


def joined(parts: list[tuple[Any, int]]) -> Any:
    """Several small numbers of each source as one; (values, bound) each. Equal ones stay equal, others differ."""
    out, bound = parts[0]
    for values, size in parts[1:]:
        if bound * size > LARGEST:
            found, out = factored(out)
            bound = len(found)
        out, bound = out * size + values, bound * size
    return out


def words(texts: Sequence[str | None], places: Any) -> Any:
    """An Arrow dictionary array: for each place its text, null for NONE and where the text is None."""
    import numpy as np
    import pyarrow as pa

    none = np.array([text is None for text in texts] + [True], dtype=bool)[places]
    listed = pa.array([text or "" for text in texts], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(np.where(none, 0, places).astype(np.int32), mask=none), listed)
