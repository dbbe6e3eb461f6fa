"""What a process keeps in memory for questions about messages: numbers for names, and messages by day and class.

All of it is a cache, made from ledger and digests and free to be thrown away. When classes change, only the domains and
files that hold such a source are summed again.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, select

from . import blocks, digest
from .digest import Digest
from .engine import Engine, Window, release
from .files import CUBE_END
from .ledger import Ledger, counter
from .numbers import CLASSES, Names, Sources
from .snapshot import Snapshot
from .sums import outcome
from .tables import source_blocks

SHELVES = ("main", "doubt")
_TEXTS = ("domain", "source_ip", "source_class", "service", "service_type", "country", "as_name", "reverse_dns")
_NUMBERS = ("asn",)
STEP = 100_000  # rows
_KINDS = "kinds (kind integer, disposition varchar, dkim_aligned boolean, spf_aligned boolean, forwarded boolean)"


class Days(NamedTuple):
    """Messages by day, domain, class and kind, as arrays of one length; no two rows have equal keys.

    They stay in memory, so each array has the narrowest type that holds its numbers.
    """

    day: Any
    domain: Any
    source_class: Any
    kind: Any
    messages: Any


@dataclass(slots=True)
class Piece:
    """One file (or the pending rows of some shelves): from its own numbers to those of the process."""

    path: str
    source: Any
    submitter: Any
    kind: Any
    bounds: tuple[int, int] | None  # first and last day
    held: Digest | None  # only if it is nowhere on disk
    days: Days | None = None
    totals: dict[str, Any] = field(default_factory=dict)  # messages by source over all days, by SQL of a result

    def within(self, since: int | None, until: int | None) -> bool:
        """Do all its days lie in the window?"""
        if self.bounds is None:
            return True
        first, last = self.bounds
        return (since is None or since <= first) and (until is None or last < until)


@dataclass(slots=True)
class Weights:
    """What one message of each class and kind adds to each sum."""

    names: tuple[str, ...]
    chosen: Any  # bool [kind]
    sums: Any = field(repr=False)  # int64 [class, kind, name]


class Rollup:
    """The cache of one engine. Hold `lock` from `ready` until the answer is made."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.lock = engine, engine.lock
        self.sources, self.submitters, self.kinds = Sources(), Names(), Names()
        self._classes = -1  # counter `classes` of the sources table in memory
        self._begun = False  # may the table hold sources? Also after an attempt that failed
        self._pieces: dict[str, Piece] = {}
        self._pending: dict[tuple[str, ...], Piece] = {}
        self._of: Snapshot | None = None  # whose pending rows these are
        self._weights: dict[tuple[str, str], Weights] = {}
        columns = ", ".join([*(f"{n} varchar" for n in _TEXTS), *(f"{n} bigint" for n in _NUMBERS)])
        engine.con.execute(f"create table sources ({columns})")
        engine.con.execute(f"create table {_KINDS}")

    # up to date

    def ready_sources(self, ledger: Ledger) -> None:
        """Bring the table `sources` up to the ledger."""
        with self.lock, ledger.read() as conn:
            now = counter(conn, "classes")
            if now == self._classes:
                return
            begun, self._begun = self._begun, True
            with self.engine.cursor() as cursor:
                told: list[Any] = []
                for changed, again in self._changed(conn):
                    self._take(cursor, changed, begun or again)
                    told.append(changed.select(["domain", "source_ip", "source_class"]))
                    if sum(map(len, told)) >= STEP:
                        self._reclassify(told)
                        release()
                self._reclassify(told)
                release()
            self._classes = now

    def _changed(self, conn: Connection) -> Iterator[tuple[Any, bool]]:
        """Sources whose class or name changed since the last look, newer ones later, and whether some came before.

        A piece of a block at a time: a domain may have very many, and their reasons take much memory.
        """
        import pyarrow.compute as pc

        c, parts = source_blocks.c, set()
        for number, part in conn.execute(select(c.id, c.part).where(c.changed > self._classes).order_by(c.id)).all():
            for found in blocks.pieces(conn, number):
                some = found.filter(pc.greater(found["changed"], self._classes)).select([*_TEXTS, *_NUMBERS])
                if some.num_rows:
                    yield some, part in parts
            parts.add(part)

    def _take(self, cursor: Any, changed: Any, again: bool) -> None:
        """Put sources into the table `sources`; `again`: some may be there."""
        cursor.register("changed", changed)
        cursor.execute("begin")
        if again:
            cursor.execute(
                "delete from sources s using changed c where c.domain = s.domain and c.source_ip = s.source_ip"
            )
        cursor.execute("insert into sources by name select * from changed")
        cursor.execute("commit")
        cursor.unregister("changed")

    def _reclassify(self, told: list[Any]) -> None:
        """Tell the new classes, the newest last, to the sources known, and sum anew what they touch; empties `told`."""
        import numpy as np
        import pyarrow as pa

        if not told:
            return
        changed = pa.concat_tables(told)
        told.clear()
        found = self.sources.known(blocks.keys(changed))
        at = np.flatnonzero(found >= 0)
        numbers = found[at]
        moved = numbers[self.sources.classify(numbers, changed["source_class"].combine_chunks().take(pa.array(at)))]
        if not len(moved):
            return
        touched = np.zeros(len(self.sources), dtype=bool)
        touched[moved] = True
        for piece in self._pieces.values():
            if piece.days is not None and touched[piece.source].any():
                domains = np.unique(self.sources.domain[piece.source[touched[piece.source]]])
                kept = ~np.isin(piece.days.domain, domains)
                again = self._by_day(piece, self.digest(piece), domains)
                parts = [(old[kept], new) for old, new in zip(piece.days, again, strict=True)]
                piece.days = Days(*(np.concatenate(p) for p in parts))
        self._pending.clear()

    def ready(self, ledger: Ledger, snapshot: Snapshot) -> None:
        """Bring classes up to the ledger, and forget files that this snapshot no longer has."""
        self.ready_sources(ledger)
        wanted = {f.path for f in snapshot.files}
        self._pieces = {p: piece for p, piece in self._pieces.items() if p in wanted}
        if self._of is not snapshot:
            self._of = snapshot
            self._pending.clear()

    # pieces

    def _number(self, path: str, found: Digest, held: Digest | None) -> Piece:
        """Give numbers to the names of a digest."""
        sums = [found.sums[n].chunk(0).dictionary for n in ("source", "submitter", "kind")]
        source, new = self.sources.number(sums[0])
        if len(new):
            self._classify(new)
        known = len(self.kinds)
        kind = self.kinds.numbers(sums[2])
        if len(self.kinds) > known:
            rows = [[i, *orjson.loads(self.kinds.texts[i])] for i in range(known, len(self.kinds))]
            self.engine.con.executemany("insert into kinds values (?, ?, ?, ?, ?)", rows)
            self._weights.clear()
        bounds = (int(found.day[0]), int(found.day[-1])) if len(found.day) else None
        return Piece(path, source, self.submitters.numbers(sums[1]), kind, bounds, held)

    def _classify(self, new: Any) -> None:
        """Look up the classes of sources that have just got a number."""
        import pyarrow as pa

        at = pa.array(new)
        domains = pa.array(self.sources.domains.texts).take(pa.array(self.sources.domain[new]))
        asked = pa.table({"n": at, "domain": domains, "source_ip": self.sources.ips.take(at)})
        with self.engine.cursor() as cursor:
            cursor.register("asked", asked)
            found = cursor.sql(
                "select a.n, s.source_class from asked a join sources s "
                "on a.domain = s.domain and a.source_ip = s.source_ip"
            ).to_arrow_table()
        self.sources.classify(found["n"].to_numpy(), found["source_class"].combine_chunks())

    def number(self, window: Window) -> None:
        """Give numbers to all names of a window, so that arrays over them keep their length."""
        for f in window.snapshot.chosen(window.shelves, window.begin, window.end):
            if f.path not in self._pieces:
                found, kept = self._read(f.path)
                self._pieces[f.path] = self._number(f.path, found, None if kept else found)
                release()
        if window.snapshot.pending and window.shelves not in self._pending:
            found = digest.digest(window.snapshot.pending_cube(window.shelves))
            self._pending[window.shelves] = self._number("", found, found)

    def pieces(self, window: Window) -> Iterator[Piece]:
        """The files and the pending rows of a numbered window."""
        for f in window.snapshot.chosen(window.shelves, window.begin, window.end):
            yield self._pieces[f.path]
        if window.snapshot.pending:
            yield self._pending[window.shelves]

    def digest(self, piece: Piece, *, days: bool = True) -> Digest:
        """The digest of a piece, mapped into memory for as long as it is held."""
        return piece.held or digest.read(self.engine.folder, piece.path, days=days) or self._read(piece.path)[0]

    def days(self, window: Window) -> Iterator[Days]:
        """Messages by day and class, summed once and kept until classes change."""
        for piece in self.pieces(window):
            if piece.days is None:
                piece.days = self._by_day(piece, self.digest(piece))
                release()
            yield piece.days

    def _read(self, path: str) -> tuple[Digest, bool]:
        folder = self.engine.folder
        found = digest.read(folder, path)
        return (found, True) if found is not None else digest.make(folder, path, folder / (path + CUBE_END))

    def _by_day(self, piece: Piece, found: Digest, domains: Any = None) -> Days:
        """A file's messages by day, domain, class and kind; of some domains, if they are said."""
        import numpy as np

        steps = [(np.zeros(0, dtype=np.int8),) * len(Days._fields)]
        a = 0
        while a < len(found.day):  # some days at a time, so that little memory is needed
            b = max(a + 1, int(np.searchsorted(found.start, found.start[a] + STEP)) - 1)
            until = None if b >= len(found.day) else int(found.day[b])
            rows, a = found.between(int(found.day[a]), until), b
            source = piece.source[rows.source]
            keys = [rows.first, self.sources.domain[source], self.sources.source_class[source], piece.kind[rows.kind]]
            messages = rows.messages
            if domains is not None:
                some = np.isin(keys[1], domains)
                keys, messages = [k[some] for k in keys], messages[some]
            if not len(messages):
                continue
            start = int(keys[0].min())
            keys[0] = keys[0] - start
            sizes = [int(k.max()) + 1 for k in keys]
            (day, *others), total, _ = digest.summed([k.astype(np.int64) for k in keys], sizes, messages)
            steps.append(tuple(narrow(column) for column in (day + start, *others, total)))
        return Days(*(np.concatenate(parts) for parts in zip(*steps, strict=True)))

    # answers

    def weights(self, sums: str, result: str) -> Weights:
        """What SQL `sums` over a row of one message give for each class and kind, and the kinds `result` chooses."""
        import numpy as np

        if (sums, result) not in self._weights:
            listed = ", ".join(f"({i}, '{c}')" for i, c in enumerate(CLASSES))
            sql = (
                f"with v as (select kinds.*, 1 as messages, c.* from kinds, "
                f"(values {listed}) c(number, source_class)), "
                f"k as (select *, {outcome('source_class')} as outcome, {result} as chosen from v) "
                f"select number, kind, coalesce(bool_or(chosen), false) as chosen, {sums} from k group by number, kind"
            )
            with self.engine.cursor() as cursor:
                found = cursor.sql(sql).to_arrow_table()
            names = tuple(found.column_names[3:])
            weights = Weights(
                names, np.zeros(len(self.kinds), bool), np.zeros((len(CLASSES), len(self.kinds), len(names)), np.int64)
            )
            at = found["number"].to_numpy(), found["kind"].to_numpy()
            weights.chosen[at[1]] = found["chosen"].to_numpy()
            for i, name in enumerate(names):
                weights.sums[(*at, i)] = found[name].to_numpy()
            self._weights[sums, result] = weights
        return self._weights[sums, result]


def narrow(values: Any) -> Any:
    """The same numbers in the fewest bytes."""
    import numpy as np

    if not len(values):
        return values
    low, high = int(values.min()), int(values.max())
    return values.astype(np.promote_types(np.min_scalar_type(min(low, -1)), np.min_scalar_type(min(-1, -high - 1))))
