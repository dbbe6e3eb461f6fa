"""Of which recent days a receiver has told all, and of which its reports may still come.

A usual reporter's day is judged as everywhere (`query.lateness`): so a day is not complete here while a report of it is
awaited there, be it the second of two a day. Here it waits, too, for the last report that tells of the day, which in a
zone of its own may be that of the next. Of a receiver that is not usual a day is in when its reports cover it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from dmarcview.query import lateness
from dmarcview.query.complete import LAST, MIDDLE, arrivals
from dmarcview.query.filters import DAY, Filters
from dmarcview.store.tables import reports as report_table

from .receivers import reporter

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store

FULL_DAY = DAY - 60  # many periods end one second before midnight
AT_ONCE = 500  # policy domains that a question names; with more it asks for all


def tables(store: Store, cursor: Any, filters: Filters, domains: list[str], now: int) -> None:
    """Tables `judged` (domain, receiver, number, open) and `full_days` (domain, receiver, number).

    A row of `judged` is a day of a receiver that is usual on this policy domain; `number` is days since 1970.
    """
    import pyarrow as pa

    asked = replace(filters, since=None, until=None, submitter=None, domains=None)
    if len(domains) <= AT_ONCE:
        asked = replace(asked, domains=tuple(domains))
    cursor.register("judged", pa.Table.from_pandas(_judged(store, asked, now), preserve_index=False))
    full = [key for key, seconds in _covered(store, asked, now).items() if seconds >= FULL_DAY]
    kinds = {"domain": pa.string(), "receiver": pa.string(), "number": pa.int64()}
    columns = [pa.array([key[i] for key in full], kind) for i, kind in enumerate(kinds.values())]
    cursor.register("full_days", pa.table(dict(zip(kinds, columns, strict=True))))


def _judged(store: Store, asked: Filters, now: int) -> pd.DataFrame:
    """The rows of `judged`, of all days of which a report may still come."""
    import pandas as pd

    last = now // DAY
    first = last - lateness.MOST_WAIT // DAY - 1
    since = datetime.fromtimestamp((first - lateness.HISTORY_DAYS) * DAY, UTC).date()
    parts = []
    for day in (MIDDLE, LAST):
        arrived = arrivals(store, replace(asked, since=since), by_domain=True, day=day)
        parts.append(lateness.usual(arrived, first, last, now))
        if not _astride(store, asked):
            break
    found = pd.concat(parts, ignore_index=True)
    found["receiver"] = found["submitter"].map(reporter).astype("str")
    found = found.rename(columns={"day": "number"})
    return found.groupby(["domain", "receiver", "number"], as_index=False)[["open"]].max()


def _astride(store: Store, asked: Filters) -> bool:
    """Is there a report whose last day is not the one that it tells of?"""
    c = report_table.c
    query = select(c.id).where(c.shelf.in_(asked.shelves), MIDDLE != LAST).limit(1)
    if asked.domains is not None:
        query = query.where(c.domain.in_(asked.domains))
    with store.ledger.read() as conn:
        return conn.execute(query).first() is not None


def _covered(store: Store, asked: Filters, now: int) -> dict[tuple[str, str, int], int]:
    """Seconds of recent days that reports cover, by (policy domain, organisation, day): is a day in already?"""
    c = report_table.c
    query = select(c.domain, c.submitter, c.begin, c.end).distinct()
    query = query.where(c.shelf.in_(asked.shelves), c.end > now - lateness.MOST_WAIT - 2 * DAY)
    if asked.domains is not None:
        query = query.where(c.domain.in_(asked.domains))
    periods: dict[tuple[str, str], set[tuple[int, int]]] = {}
    with store.ledger.read() as conn:
        for domain, submitter, begin, end in conn.execute(query):
            periods.setdefault((domain, reporter(submitter)), set()).add((begin, end))
    out: dict[tuple[str, str, int], int] = {}
    earliest = (now - lateness.MOST_WAIT - 2 * DAY) // DAY
    for key, found in periods.items():
        upto = 0  # what lies before is counted already
        for begin, end in sorted(found):
            low, high = max(begin, upto, earliest * DAY), min(end, now + DAY)
            for day in range(low // DAY, -(-high // DAY) if high > low else low // DAY):
                inside = min(high, (day + 1) * DAY) - max(low, day * DAY)
                out[(*key, day)] = out.get((*key, day), 0) + inside
            upto = max(upto, high)
    return out
