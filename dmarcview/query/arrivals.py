"""Which reporter has reported on which day: what the freshness strip is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dmarcview.store.engine import frame
from dmarcview.store.sums import MESSAGES

from .filters import Filters
from .traffic import count

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store


def arrivals(store: Store, filters: Filters = Filters()) -> pd.DataFrame:  # noqa: B008 - frozen
    """One row a UTC day and reporter with messages, oldest first; of `filters`, the days, domains and trust count.

    Columns: day (datetime64[s]), submitter, messages. One question for a whole strip of days: asking `completeness`
    for each of them reads the same four weeks again and again.
    """
    asked = replace(filters, source_class=None, result=None, source_ip=None, submitter=None)
    found = count(store, asked, MESSAGES, lambda c: c.by_day_and_submitter())
    return frame(found.sort_by([("day", "ascending"), ("submitter", "ascending")]))
