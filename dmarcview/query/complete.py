"""Is a day's data in? Each reporter is held against its own habit."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

from .filters import Filters, over_days
from .traffic import window

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store

HISTORY_DAYS = 28
USUAL_DAYS = 7  # a reporter that reported on at least this many of the days before is usual


@dataclass(frozen=True, slots=True)
class Completeness:
    """How much of a day has arrived.

    `share` is between 0 and 1: the part of the usual reporters' usual messages whose reporters have reported, None when
    no reporter is usual yet. `reporters`: submitter, usual (median messages on days it reports), days (of the history
    with a report), messages (of this day), arrived (bool); largest usual first.
    """

    day: date
    share: float | None
    arrived: int  # usual reporters that have reported
    expected: int  # usual reporters
    reporters: pd.DataFrame


def completeness(store: Store, day: date, filters: Filters = Filters()) -> Completeness:  # noqa: B008 - frozen
    """Which usual reporters have reported on `day`, weighed by their usual messages; `filters` gives no window.

    A reporter is usual when it reported on at least 7 of the 28 days before. A day that a usual reporter leaves out for
    want of mail counts as missing: the figure is a lower bound.
    """
    bounds = replace(filters, since=day - timedelta(days=HISTORY_DAYS), until=day + timedelta(days=1))
    asked = over_days(replace(bounds, source_class=None, result=None, source_ip=None))
    sql = (
        "with d as (select submitter, day, sum(messages) as messages from cube c "
        f"where {asked.where} group by submitter, day) "
        "select submitter, cast(coalesce(median(messages) filter (where day < $the_day), 0) as bigint) as usual, "
        "count(*) filter (where day < $the_day) as days, "
        "cast(coalesce(sum(messages) filter (where day = $the_day), 0) as bigint) as messages, "
        "count(*) filter (where day = $the_day) > 0 as arrived "
        "from d group by submitter order by usual desc, submitter"
    )
    found = store.engine.frame(sql, asked.params | {"the_day": day}, window(store, bounds))
    usual = found[found["days"] >= USUAL_DAYS]
    total = int(usual["usual"].sum())
    share = float(usual.loc[usual["arrived"], "usual"].sum()) / total if total else None
    return Completeness(day, share, int(usual["arrived"].sum()), len(usual), found)
