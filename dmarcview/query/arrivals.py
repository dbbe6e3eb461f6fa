"""Which reporter has reported on which day: what the freshness strip is made of."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .filters import Filters, over_days
from .traffic import window

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store


def arrivals(store: Store, filters: Filters = Filters()) -> pd.DataFrame:  # noqa: B008 - frozen
    """One row a UTC day and reporter with messages, oldest first; of `filters`, the days, domains and trust count.

    Columns: day (datetime64[s]), submitter, messages. One question for a whole strip of days: asking `completeness`
    for each of them reads the same four weeks again and again.
    """
    asked = over_days(replace(filters, source_class=None, result=None, source_ip=None, submitter=None))
    sql = (
        "select day, submitter, cast(sum(messages) as bigint) as messages from cube c "
        f"where {asked.where} group by day, submitter order by day, submitter"
    )
    return store.engine.frame(sql, asked.params, window(store, filters))
