"""How much of a reporter's reports lies on an event day, so that one report is one piece of evidence, however long.

A report of a week lies on each of its days with a seventh. A day that several reports of an organisation fill is whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sqlalchemy import func, select

from dmarcview.organisation import organisational
from dmarcview.query.filters import DAY, Filters
from dmarcview.store.tables import reports

if TYPE_CHECKING:
    from dmarcview.store import Store

    from .likelihood import Floats, Ints

AT_ONCE = 4_000_000  # days of reports that are in memory together


class Periods(NamedTuple):
    """Reports, so many `alike` each: arrays of one length. `who` are codes, `begin` and `end` seconds, half-open."""

    who: Ints
    begin: Ints
    end: Ints
    alike: Ints


def load(store: Store, first: int, today: int, *, verified: bool = True, domain: str | None = None) -> Any:
    """Arrow table of the days from `first` to before `today` (since 1970) that are not whole; all others are.

    Columns: domain, organisation, day, part (0..1).
    """
    import pyarrow as pa

    c = reports.c
    asked = [c.shelf.in_(Filters(verified=verified).shelves), c.end > first * DAY, c.begin < today * DAY]
    asked += [c.domain == domain] if domain is not None else []
    several = c.begin // DAY < (c.end - 1) // DAY
    by = (c.domain, c.submitter, c.begin, c.end)
    long = select(*by, func.count()).where(*asked, several).group_by(*by)
    short = select(c.domain, c.submitter, c.begin // DAY).distinct().where(*asked, ~several)
    short = short.where(c.submitter.in_(select(c.submitter).where(*asked, several)))
    with store.ledger.read() as conn:
        rows = conn.execute(long).all()
        filled = conn.execute(short).all() if rows else []
    pairs = sorted({(row[0], organisational(row[1])) for row in rows})
    place = {pair: number for number, pair in enumerate(pairs)}
    who = np.array([place[row[0], organisational(row[1])] for row in rows], np.int64)
    begin, end, count = (np.array([row[at] for row in rows], np.int64) for at in (2, 3, 4))
    size = today - first
    part = spread(Periods(who, begin, end, count), first, size, len(pairs))
    for name, submitter, day in filled:
        pair = place.get((name, organisational(submitter)))
        if pair is not None and 0 <= day - first < size:
            part[pair, day - first] = 1.0
    which, day = np.nonzero((part > 0) & (part < 1))
    return pa.table(
        {
            "domain": pa.array([pairs[one][0] for one in which.tolist()], pa.string()),
            "organisation": pa.array([pairs[one][1] for one in which.tolist()], pa.string()),
            "day": pa.array(day + first, pa.int64()),
            "part": pa.array(part[which, day], pa.float64()),
        }
    )


def spread(reports: Periods, first: int, size: int, known: int) -> Floats:
    """The parts of reports by (who, day), of `size` days from `first` on and codes below `known`. Pure."""
    who, begin, end, alike = reports
    out = np.zeros((known, size))
    end = np.maximum(end, begin + 1)  # as the cube takes an empty period
    low = np.maximum(begin // DAY, first)
    days = np.maximum(np.minimum((end - 1) // DAY, first + size - 1) - low + 1, 0)
    step = max(1, AT_ONCE // max(size, 1))
    for start in range(0, len(who), step):
        some = np.arange(start, min(start + step, len(who)))
        row = np.repeat(some, days[some])
        nth = np.arange(len(row)) - np.repeat(np.cumsum(days[some]) - days[some], days[some])
        day = low[row] + nth
        shared = np.minimum(end[row], (day + 1) * DAY) - np.maximum(begin[row], day * DAY)
        np.add.at(out, (who[row], day - first), shared / (end - begin)[row] * alike[row])
    # of a second or two that a day lacks nobody speaks
    return np.where(out > 0.999, 1.0, out)
