"""Steps from an older format of the ledger to the next: plain functions, in one transaction each."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from sqlalchemy import Connection, insert, text, update

from .ledger import Ledger
from .tables import (
    FORMAT,
    counters,
    incidents,
    meta,
    mutes,
    notices,
    probes,
    records_seen,
    reports,
    sent,
    source_blocks,
)

AT_ONCE = 20_000  # rows in memory
Step = Callable[[Connection], None]
STEPS: dict[int, Step] = {}


def step(found: int) -> Callable[[Step], Step]:
    """Mark a function as the step from format `found` to `found + 1`."""

    def mark(function: Step) -> Step:
        STEPS[found] = function
        return function

    return mark


def upgrade(ledger: Ledger) -> None:
    """Bring the ledger to our format, one durable step after another."""
    while (found := ledger.format()) is not None and found < FORMAT:
        with ledger.write() as conn:
            moved = conn.execute(
                update(meta).where(meta.c.name == "format", meta.c.value == str(found)).values(value=str(found + 1))
            )
            if moved.rowcount == 1:  # else another process was quicker
                STEPS[found](conn)


@step(1)
def count_epochs(conn: Connection) -> None:
    """Format 2: a counter of the changes that take reports away, and indexes for the list of reports."""
    conn.execute(insert(counters).values(name="epoch", value=0))
    conn.execute(text("drop index reports_domain"))
    for index in reports.indexes:
        if index.name in ("reports_domain", "reports_apart", "reports_moved"):
            index.create(conn, checkfirst=True)


@step(2)
def pack_sources(conn: Connection) -> None:
    """Format 3: the classes of sources as blocks of columns."""
    from . import blocks
    from .facts import SourceRow

    source_blocks.create(conn)
    names = [n for n in SourceRow.__dataclass_fields__ if n != "evidence"]
    stored = conn.execution_options(yield_per=AT_ONCE).execute(text("select * from sources order by domain"))
    for part in stored.mappings().partitions():
        old = [SourceRow(**{n: r[n] for n in names}, evidence=tuple(orjson.loads(r["evidence"]))) for r in part]
        blocks.put(conn, blocks.from_rows(old))
    conn.execute(text("drop table sources"))


@step(3)
def keep_sent(conn: Connection) -> None:
    """Format 4: what the relay sent, and a counter of its changes."""
    sent.create(conn)
    conn.execute(insert(counters).values(name="sent", value=0))


@step(4)
def keep_alerts(conn: Connection) -> None:
    """Format 5: what alerts remember, and the probes of the loop; a counter of their changes; lateness by index."""
    conn.execute(text("drop index reports_end"))
    next(index for index in reports.indexes if index.name == "reports_end").create(conn)
    for table in (probes, incidents, mutes, notices, records_seen):
        table.create(conn)
    conn.execute(insert(counters), [{"name": name, "value": 0} for name in ("alerts", "judged")])


@step(5)
def add_indexes(conn: Connection) -> None:
    """Format 6: the first mail of a source and From domain, and the incidents of one cause, by an index."""
    for table, name in ((sent, "sent_source"), (incidents, "incidents_cause")):
        next(index for index in table.indexes if index.name == name).create(conn, checkfirst=True)
