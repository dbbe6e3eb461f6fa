"""What the engine keeps in memory for fleet-wide questions: who is behind each address, and messages by day and class.

Both are caches of one process, made from ledger and cubes and free to be thrown away. When classes change, only the
domains and files that hold such a source are summed again.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from typing import Any

from . import blocks
from .engine import Engine, Window
from .files import CUBE_END, FileRow
from .ledger import Ledger, counter
from .snapshot import Snapshot
from .sums import ALL_SUMS, SUMS, outcome

SHELVES = ("main", "doubt")
_TEXTS = ("domain", "source_ip", "source_class", "service", "service_type", "country", "as_name", "reverse_dns")
_NUMBERS = ("asn",)
_CLASS = "coalesce(s.source_class, 'unknown')"
MANY = 50  # so many changed domains are summed again by reading all


class Rollup:
    """The cache of one engine. Hold `lock` from `ready` until the answer is fetched."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.lock = engine, engine.lock
        self._classes = -1  # counter `classes` of the sources table in memory
        self._files: dict[str, int] = {}  # path -> number in `rolled`
        self._rows: dict[str, FileRow] = {}
        self._next = 0
        columns = ", ".join([*(f"{n} varchar" for n in _TEXTS), *(f"{n} bigint" for n in _NUMBERS)])
        engine.con.execute(f"create table sources ({columns})")
        engine.con.execute(
            "create table rolled (file integer, day date, domain varchar, source_class varchar, "
            + ", ".join(f"{n} bigint" for n in SUMS)
            + ")"
        )

    def ready_sources(self, ledger: Ledger) -> None:
        """Bring the table `sources` up to the ledger."""
        with self.lock:
            with ledger.read() as conn:
                now = counter(conn, "classes")
                if now == self._classes:
                    return
                changed = blocks.read(conn, changed_after=self._classes).select([*_TEXTS, *_NUMBERS])
            with self.engine.cursor() as cursor:
                cursor.register("changed", changed)
                cursor.execute(
                    "create or replace temp table moved as select c.domain, c.source_ip "
                    "from changed c left join sources s on c.domain = s.domain and c.source_ip = s.source_ip "
                    f"where c.source_class <> {_CLASS}"
                )
                cursor.execute("begin")
                cursor.execute(
                    "delete from sources s using changed c where c.domain = s.domain and c.source_ip = s.source_ip"
                )
                cursor.execute("insert into sources by name select * from changed")
                cursor.execute("commit")
                self._classes = now
                self._again(cursor)

    def _again(self, cursor: Any) -> None:
        """Drop what the changed classes touch, and sum it anew."""
        if not self._files:
            return
        names = [r[0] for r in cursor.execute("select distinct domain from moved order by domain").fetchall()]
        listed = ", ".join("'" + n.replace("'", "''") + "'" for n in names)
        some = f"domain in ({listed})" if len(names) <= MANY else "domain is not null"
        for path, number in self._files.items() if names else ():
            held = cursor.execute(
                f"select 1 from {self.engine.scan([path], CUBE_END)} c semi join moved m "
                f"on c.domain = m.domain and c.source_ip = m.source_ip where c.{some} limit 1"
            ).fetchall()
            if held:
                cursor.execute(f"delete from rolled where file = {number} and {some}")
                self._sum(cursor, self._rows[path], number, f"where c.{some}")

    def ready(self, ledger: Ledger, snapshot: Snapshot) -> None:
        """Bring the rollup up to the ledger's classes and to the files of this snapshot."""
        with self.lock:
            self.ready_sources(ledger)
            wanted = {f.path: f for f in snapshot.files if f.shelf in SHELVES}
            with self.engine.cursor() as cursor:
                gone = [n for p, n in self._files.items() if p not in wanted]
                if gone:
                    cursor.execute(f"delete from rolled where file in ({', '.join(map(str, gone))})")
                    self._files = {p: n for p, n in self._files.items() if p in wanted}
                for path, file in wanted.items():
                    if path not in self._files:
                        self._next += 1
                        self._sum(cursor, file, self._next, "")
                        self._files[path] = self._next
            self._rows = wanted

    def _sum(self, cursor: Any, file: FileRow, number: int, where: str) -> None:
        source = self.engine.scan([file.path], CUBE_END)
        cursor.execute(f"insert into rolled by name select {number} as file, * from ({_summed(source, where)})")

    def view(self, window: Window) -> str:
        """SQL of the rollup for a window: its files' sums, and its pending rows summed at once.

        Columns: day, domain, source_class and one of each name of `sums.SUMS`.
        """
        numbers = [self._files[f.path] for f in window.snapshot.chosen(window.shelves, window.begin, window.end)]
        pending = _summed("pending_cube", "")
        if not numbers:
            return pending
        listed = ", ".join(map(str, numbers))
        return f"select * exclude (file) from rolled where file in ({listed}) union all by name ({pending})"


def _summed(source: str, where: str) -> str:
    """SQL of sums by day, domain and class over rows of a cube."""
    return (
        f"with t as (select c.*, {_CLASS} as source_class, {outcome(_CLASS)} as outcome from {source} c "
        f"left join sources s on c.domain = s.domain and c.source_ip = s.source_ip {where}) "
        f"select day, domain, source_class, {ALL_SUMS} from t group by day, domain, source_class"
    )
