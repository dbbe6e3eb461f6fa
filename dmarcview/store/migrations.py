"""Steps from an older format of the ledger to the next: plain functions, in one transaction each."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, insert, text, update

from .ledger import Ledger
from .tables import FORMAT, counters, meta, reports

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
