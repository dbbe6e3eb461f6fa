"""The classes of sources as blocks of columns in the ledger: a hundred thousand sources are one short write.

A domain's sources lie in one part of PARTS. A write adds a block to each part that it touches, newer blocks win over
older ones, and when they grow many the part becomes one block again. Of a reason only its code is kept where columns
hold the rest; `dmarcview.reasons` tells it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, delete, insert, select

from dmarcview.reasons import HELD, numbers, sentence

from .archive import clean
from .facts import SourceRow
from .ledger import bump, counter
from .tables import source_blocks

PARTS = 16
ROWS = 16_384  # packed together
BLOCKS = 8  # of one part, before they are made one
TEXTS = ("domain", "source_ip", "source_class", "by", "confidence", "evidence", "service", "service_type", "country",
         "as_name", "reverse_dns", "key", "envelope", "signature")  # fmt: skip
NUMBERS = ("asn", "first_seen", "last_seen", "messages", "both", "spf_aligned", "dkim_aligned", "forwarded", "permille",
           "before", "signed", "changed")  # fmt: skip
NAMES = (*TEXTS, *NUMBERS)
SAME = ("source_class", "service", "service_type", "country", "asn", "as_name", "reverse_dns")  # what answers show
_PLAIN = ("source_ip",)  # nearly every value differs: a dictionary would only add to it


class Written(NamedTuple):
    """What a write did: rows that differ from what was there, and those whose class does."""

    rows: int
    moved: int


def schema() -> Any:
    """The Arrow schema of a block."""
    import pyarrow as pa

    return pa.schema([*((n, pa.string()) for n in TEXTS), *((n, pa.int64()) for n in NUMBERS)])


def encode(content: Any) -> bytes:
    """A table of the schema, whose texts may be dictionaries already, as bytes."""
    import pyarrow as pa

    columns = {n: content[n].combine_chunks() for n in content.column_names}
    packed = {n: a.dictionary_encode() if n in TEXTS and n not in _PLAIN else a for n, a in columns.items()}
    whole = pa.table(packed)
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(
        out, whole.schema, options=pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    ) as writer:
        writer.write_table(whole, max_chunksize=ROWS)  # piece by piece, so that packing needs little memory
    return bytes(out.getvalue())


def decode(body: bytes, names: Sequence[str] = NAMES) -> Any:
    """The table of these bytes, or some columns of it."""
    import pyarrow as pa

    kinds = schema()
    content = pa.ipc.open_stream(body).read_all().select(names)
    return content.cast(pa.schema([kinds.field(name) for name in names]))


def pieces(conn: Connection, number: int) -> Iterator[Any]:
    """The rows of one block, in tables of at most ROWS."""
    import pyarrow as pa

    c = source_blocks.c
    body = conn.execute(select(c.body).where(c.id == number)).scalar_one()
    for batch in pa.ipc.open_stream(body):
        yield pa.Table.from_batches([batch]).select(NAMES).cast(schema())


def keys(content: Any) -> Any:
    """A text for each row that is its source."""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(content["source_ip"], content["domain"], " ").combine_chunks()


def newest(tables: Sequence[Any]) -> Any:
    """All rows, of equal sources the last."""
    import numpy as np
    import pyarrow as pa

    content = pa.concat_tables(tables)
    codes = keys(content).dictionary_encode()
    if len(codes.dictionary) == content.num_rows:
        return content
    last = np.empty(len(codes.dictionary), dtype=np.int64)
    last[codes.indices.to_numpy()] = np.arange(content.num_rows)
    return content.take(pa.array(last))


def part_of(domain: str) -> int:
    """The part that holds a domain."""
    return zlib.crc32(domain.encode("utf-8", "replace")) % PARTS


def read(conn: Connection, domains: Sequence[str] | None = None, names: Sequence[str] = NAMES) -> Any:
    """The rows of these domains, or of all, as a table of these columns, `domain` and `source_ip` among them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    c = source_blocks.c
    query = select(c.body).order_by(c.id)
    if domains is not None:
        query = query.where(c.part.in_({part_of(domain) for domain in domains}))
    content = newest([schema().empty_table().select(names), *(decode(body, names) for (body,) in conn.execute(query))])
    if domains is not None:
        content = content.filter(pc.is_in(content["domain"], value_set=pa.array(domains, pa.string())))
    return content


def stream(conn: Connection) -> Iterator[tuple[int, Any]]:
    """All rows, also those that newer blocks replace, as (number of the block, table of at most ROWS rows).

    For readers that must not hold all sources at once: of equal sources, the one of the highest number counts.
    """
    c = source_blocks.c
    for number in conn.execute(select(c.id).order_by(c.id)).scalars().all():
        for piece in pieces(conn, number):
            yield number, piece


def put(conn: Connection, new: Any) -> Written:
    """Write rows, a table without `changed` and with each source once, in a write transaction.

    Texts may be dictionaries. What is there already is left alone.
    """
    import numpy as np
    import pyarrow as pa

    stamp = counter(conn, "classes") + 1
    new = new.append_column("changed", pa.array(np.full(new.num_rows, stamp)))
    places = new["domain"].combine_chunks().dictionary_encode()
    parts = np.array([part_of(domain) for domain in places.dictionary.to_pylist()], dtype=np.int64)
    of = parts[places.indices.to_numpy()] if len(parts) else parts
    done, shown = Written(0, 0), False
    for part in sorted(set(parts.tolist())):
        rows = new if len(set(parts.tolist())) == 1 else new.filter(pa.array(of == part))
        fresh, classes, changed = _put(conn, part, rows, stamp)
        done, shown = Written(done.rows + fresh, done.moved + classes), shown or changed
    if shown:
        bump(conn, "classes")
        bump(conn, "version")
    return done


def _put(conn: Connection, part: int, new: Any, stamp: int) -> tuple[int, int, bool]:
    import pyarrow.compute as pc

    c = source_blocks.c
    held = conn.execute(select(c.id, c.rows, c.body).where(c.part == part).order_by(c.id)).all()
    if not held:
        _add(conn, part, new)
        return new.num_rows, new.num_rows, True
    new = new.cast(schema())
    old = newest([decode(block.body) for block in held])
    at = pc.index_in(keys(new), value_set=keys(old))
    before = old.take(at)
    alike = {n: _alike(new[n], before[n]) for n in NAMES if n not in ("domain", "source_ip", "changed")}
    known = pc.is_valid(at)
    kept = known
    for name in SAME:
        kept = pc.and_(kept, alike[name])
    same = kept
    for mask in alike.values():
        same = pc.and_(same, mask)
    moved = pc.sum(pc.invert(pc.and_(known, alike["source_class"]))).as_py() or 0
    shown = bool(pc.any(pc.invert(kept)).as_py())
    changed = pc.if_else(kept, before["changed"], stamp)
    fresh = new.set_column(new.schema.get_field_index("changed"), "changed", changed).filter(pc.invert(same))
    if not fresh.num_rows:
        return 0, moved, shown
    added = fresh
    if len(held) >= BLOCKS or 2 * fresh.num_rows >= old.num_rows:
        added = newest([old, fresh])
        conn.execute(delete(source_blocks).where(c.part == part))
    _add(conn, part, added)
    return fresh.num_rows, moved, shown


def _add(conn: Connection, part: int, content: Any) -> None:
    import pyarrow.compute as pc

    values = {
        "id": bump(conn, "row") + 1,
        "part": part,
        "changed": pc.max(content["changed"]).as_py(),
        "rows": content.num_rows,
        "body": encode(content),
    }
    conn.execute(insert(source_blocks).values(values))


def _alike(one: Any, other: Any) -> Any:
    """Per row: are both equal, or both null?"""
    import pyarrow.compute as pc

    both = pc.and_(pc.is_null(one), pc.is_null(other))
    return pc.or_(pc.fill_null(pc.equal(one, other), False), both)


def from_rows(rows: Sequence[SourceRow]) -> Any:
    """Rows as a table; their reasons as they are."""
    import pyarrow as pa

    names = [n for n in NAMES if n in SourceRow.__dataclass_fields__ and n != "evidence"]
    kinds = schema()
    arrays = {n: pa.array([_held(getattr(row, n)) for row in rows], kinds.field(n).type) for n in names}
    arrays["evidence"] = pa.array([orjson.dumps(row.evidence).decode() for row in rows], pa.string())
    for name in NAMES:
        if name not in arrays and name != "changed":
            kind = kinds.field(name).type
            arrays[name] = pa.array([0] * len(rows), kind) if name in NUMBERS else pa.nulls(len(rows), kind)
    return newest([pa.table({n: arrays[n] for n in NAMES if n != "changed"})])


def _held(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


def to_rows(content: Any) -> list[SourceRow]:
    """The rows of a table, by domain and address, with their reasons told."""
    found = []
    names = [n for n in SourceRow.__dataclass_fields__ if n != "evidence"]
    for row in sorted(content.to_pylist(), key=lambda row: (row["domain"], row["source_ip"])):
        evidence = tuple(told(reason, row) for reason in orjson.loads(row["evidence"]))
        found.append(SourceRow(**{n: row[n] for n in names}, evidence=evidence))
    return found


def told(reason: Any, row: dict[str, Any]) -> dict[str, object]:
    """A reason as answers give it: its code, its sentence, its numbers."""
    if isinstance(reason, dict):
        return reason
    code, fixed = reason
    fields = fixed | {field: row[column] or "" if column in TEXTS else row[column] or 0
                      for field, column in HELD.get(code, {}).items()}  # fmt: skip
    return {"code": code, "text": sentence(code, row["domain"], fields), **numbers(fields)}
