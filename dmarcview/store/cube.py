"""The cube: messages of a record table by UTC day and by what the charts ask for, additive over files.

A report's period is spread over the days it overlaps. Each record is spread by the cumulative floor, so that its days
sum to its count exactly, and no other report or order of arrival can change them.
"""

from __future__ import annotations

from typing import Any

DAY = 86_400
CELLS = 4_000_000  # a period so long that spreading would make more cells is spread in steps of several days
FORWARDING = ("forwarded", "mailing_list", "trusted_forwarder")  # override types that say: it came by a detour
KEYS = (
    "day",
    "domain",
    "submitter",
    "source_ip",
    "auth",
    "disposition",
    "dkim_aligned",
    "spf_aligned",
    "forwarded",
    "header_from",
)


def _codes(column: Any) -> tuple[Any, Any]:
    """Dictionary codes (-1 for null) and the dictionary of a column."""
    import numpy as np

    encoded = column.combine_chunks().dictionary_encode()
    if hasattr(encoded, "combine_chunks"):
        encoded = encoded.combine_chunks()
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary


def _forwarded(overrides: Any) -> Any:
    """Per row: does an override of the record say that the mail was forwarded?"""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    column = overrides.combine_chunks()
    hits = pc.is_in(pc.list_flatten(column), value_set=pa.array(FORWARDING)).to_numpy(zero_copy_only=False)
    rows = pc.list_parent_indices(column).to_numpy()
    out = np.zeros(len(column), dtype=np.int64)
    out[rows[hits]] = 1
    return out


def spread(begin: Any, end: Any, count: Any) -> tuple[Any, Any, Any]:
    """Spread counts over UTC days: arrays (row, day, messages) without empty cells.

    `begin`, `end` are seconds, half-open; an empty period counts on the day of its begin. With T the length of the
    period and a the seconds of it before a moment, floor(count * a / T) messages lie before that moment.
    """
    import numpy as np

    end = np.maximum(end, begin + 1)
    first, last = begin // DAY, (end - 1) // DAY
    row = np.arange(len(begin), dtype=np.int64)
    many = last > first
    if not many.any():
        return row, first, count
    days = last[many] - first[many] + 1
    step = max(1, -(-int(days.sum()) // CELLS))
    cells = -(-days // step)
    at = np.repeat(row[many], cells)
    nth = np.arange(len(at), dtype=np.int64) - np.repeat(np.cumsum(cells) - cells, cells)
    day = first[at] + nth * step
    period = end[at] - begin[at]
    until = np.minimum((day + step) * DAY, end[at]) - begin[at]
    since = np.maximum(day * DAY, begin[at]) - begin[at]
    whole, rest = np.divmod(count[at], period)
    # floor(count * a / T) without leaving 64 bits: count = whole * T + rest
    messages = whole * (until - since) + (rest * until) // period - (rest * since) // period
    single = ~many
    keep = messages > 0
    return (
        np.concatenate([row[single], at[keep]]),
        np.concatenate([first[single], day[keep]]),
        np.concatenate([count[single], messages[keep]]),
    )


def cube(records: Any) -> Any:
    """The cube of a record table, sorted by domain, day, source_ip: the columns of KEYS and `messages`."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    seconds = {n: pc.cast(records[n], pa.int64()).to_numpy() // 1000 for n in ("begin", "end")}
    row, day, messages = spread(seconds["begin"], seconds["end"], records["count"].to_numpy())
    texts = {n: _codes(records[n]) for n in ("domain", "submitter", "source_ip", "auth", "disposition", "header_from")}
    marks = {n: _codes(records[n]) for n in ("dkim_aligned", "spf_aligned")}
    keys = {n: codes[row] for n, (codes, _) in (texts | marks).items()}
    keys["forwarded"] = _forwarded(records["override_types"])[row]
    keys["day"] = day
    sums = (
        pa.table({**{n: pa.array(v) for n, v in keys.items()}, "messages": pa.array(messages)})
        .group_by(list(KEYS), use_threads=False)
        .aggregate([("messages", "sum")])
    )
    out: dict[str, Any] = {}
    for name, (_, values) in (texts | marks).items():
        codes = sums[name].combine_chunks()
        out[name] = values.take(pc.if_else(pc.less(codes, 0), None, codes))
    out["forwarded"] = pc.equal(sums["forwarded"], 1)
    out["day"] = pc.cast(sums["day"], pa.int32()).cast(pa.date32())
    out["messages"] = sums["messages_sum"]
    order = np.lexsort([_order(out["source_ip"]), sums["day"].to_numpy(), _order(out["domain"])])
    return pa.table({n: out[n] for n in (*KEYS, "messages")}).take(pa.array(order))


def _order(texts: Any) -> Any:
    """The rank of each text of a column among its distinct texts."""
    import numpy as np
    import pyarrow.compute as pc

    encoded = texts.dictionary_encode()
    rank = np.empty(len(encoded.dictionary), dtype=np.int64)
    rank[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(rank))
    return rank[encoded.indices.to_numpy()]
