"""Which days are in, and who is late: the ledger's reports, judged by each reporter's own history of lateness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, case, func, literal, select

from dmarcview.organisation import reporters
from dmarcview.store.tables import reports as report_table

from . import lateness
from .filters import DAY, Filters
from .lateness import HISTORY_DAYS, HOUR, HOURS, MOST_WAIT, UNKNOWN, Judged

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store

RECENT_DAYS = 14  # those of which anybody asks: no reporter is awaited for longer than MOST_WAIT
NAMED = 3  # late reporters that a sentence names
QUARTER = 900  # seconds by which a period may begin before midnight and be one of the next day
_C = report_table.c
MIDDLE: ColumnElement[int] = (_C.begin + _C.end) // (2 * DAY)  # the day that a report tells of
LAST: ColumnElement[int] = (_C.begin + QUARTER) // DAY  # the last day of which a reporter tells nothing after it


@dataclass(frozen=True, slots=True)
class Completeness:
    """How much of a day has arrived; all of it as `lateness.Judged` has it, of one day.

    `share` is between 0 and 1, None while no reporter is usual. `late`, `awaited` and `silent` are the usual reporters
    that have not reported: past their usual lateness, not yet, past their own lateness. Only the first two keep the day
    open.
    """

    day: date
    complete: bool
    share: float | None
    messages: int
    arrived: int  # usual reporters that have reported
    expected: int  # usual reporters
    late: tuple[str, ...]
    awaited: tuple[str, ...]
    silent: tuple[str, ...]
    reporters: pd.DataFrame


def arrivals(
    store: Store,
    filters: Filters = Filters(),  # noqa: B008 - frozen
    *,
    by_domain: bool = False,
    day: ColumnElement[int] = MIDDLE,
) -> pd.DataFrame:
    """What came of which day, and how late: the columns of `lateness.ARRIVALS`; `by_domain` a row each report.

    Such a row has its `domain` too; `submitter` is the reporter as `organisation.reporters` calls it. Of `filters`, the
    days, domains, submitter and trust count.
    """
    import pandas as pd

    c = _C
    late = c.received - (day + 1) * DAY
    hour = case(
        (c.auth != "pass", UNKNOWN), (late <= 0, 0), (late >= MOST_WAIT, HOURS - 1), else_=late // HOUR
    ).label("hour")  # fmt: skip
    if by_domain:  # nearly each report is a row of its own: sorting them to find those that are not takes far longer
        query = select(c.domain, c.submitter, day.label("day"), hour, literal(1), c.messages)
    else:
        query = select(c.submitter, day.label("day"), hour, func.count(), func.sum(c.messages))
        query = query.group_by(c.submitter, "day", "hour")
    query = query.where(c.shelf.in_(filters.shelves))
    if filters.domains is not None:
        query = query.where(c.domain.in_(filters.domains))
    if filters.submitter is not None:
        query = query.where(c.submitter == filters.submitter)
    if filters.begin is not None:
        query = query.where(c.end >= filters.begin, day >= filters.begin // DAY)
    if filters.end is not None:
        query = query.where(c.begin < filters.end, day < filters.end // DAY)
    with store.ledger.read() as conn:
        found = conn.execute(query).all()
    kinds = {"submitter": "str", "day": "int64", "hour": "int64", "reports": "int64", "messages": "int64"}
    if by_domain:
        kinds = {"domain": "str", **kinds}
    out = pd.DataFrame([tuple(row) for row in found], columns=list(kinds)).astype(kinds)
    return out.assign(submitter=out["submitter"].map(reporters(out["submitter"].unique())).astype("str"))


def complete_days(store: Store, first: date, last: date, filters: Filters = Filters()) -> Judged:  # noqa: B008 - frozen
    """Judge the days from `first` to `last`, both included, as of the store's clock; `filters` gives no window."""
    start = first - timedelta(days=HISTORY_DAYS)
    asked = replace(filters, since=start, until=last + timedelta(days=1))
    epoch = date(1970, 1, 1)
    found = arrivals(store, asked)
    return lateness.judge(found, (first - epoch).days, (last - epoch).days, int(store.clock()))


def completeness(store: Store, day: date, filters: Filters = Filters()) -> Completeness:  # noqa: B008 - frozen
    """Which usual reporters have reported on `day`, weighed as `lateness` does it; `filters` gives no window.

    A reporter is usual when it reported on at least 7 of the 28 days before. A day that a usual reporter leaves out for
    want of mail counts as missing, so the figure is rather too low.
    """
    return each(complete_days(store, day, day, filters))[0]


def recent(store: Store, filters: Filters = Filters(), days: int = RECENT_DAYS) -> list[Completeness]:  # noqa: B008 - frozen
    """The same of so many days before today, oldest first."""
    today = datetime.fromtimestamp(int(store.clock()), UTC).date()
    return each(complete_days(store, today - timedelta(days=days), today - timedelta(days=1), filters))


def each(found: Judged) -> list[Completeness]:
    """The days of an answer as values."""
    out = []
    for row in found.days.to_dict("records"):
        when, share = row["day"], float(row["share"])
        out.append(
            Completeness(
                when.date(),
                bool(row["complete"]),
                None if share != share else share,  # noqa: PLR0124 - NaN
                int(row["messages"]),
                int(row["arrived"]),
                int(row["expected"]),
                tuple(row[lateness.LATE]),
                tuple(row[lateness.AWAITED]),
                tuple(row[lateness.SILENT]),
                found.reporters[found.reporters["day"] == when].drop(columns="day").reset_index(drop=True),
            )
        )
    return out


def words(day: Completeness, show: Callable[[str], str] = str) -> str:
    """`93 % in; usual reporters 6 of 7, big.example late`: what is to be said of a day; `show` makes names safe."""
    if day.share is None:
        return "no usual reporter is known yet"
    told = [
        f"{_named(names, show)} {word}"
        for names, word in ((day.late, "late"), (day.awaited, "awaited"), (day.silent, "silent"))
        if names
    ]
    return f"{percent(day.share)} in; " + ", ".join([f"usual reporters {day.arrived} of {day.expected}", *told])


def percent(share: float) -> str:
    """`93 %`; what is not quite all never reads 100."""
    return f"{100 if share >= 1 else min(99, int(100 * share + 1e-9))} %"


def _named(names: tuple[str, ...], show: Callable[[str], str]) -> str:
    some = [show(name) for name in names[:NAMED]]
    if len(names) > NAMED:
        return f"{', '.join(some)} and {len(names) - NAMED} more"
    return " and ".join([", ".join(some[:-1]), some[-1]]) if len(some) > 1 else some[0]
