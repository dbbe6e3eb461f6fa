"""Steps from an older format of the ledger to the next: plain functions, in one transaction each."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, update

from .ledger import Ledger
from .tables import FORMAT, meta

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
