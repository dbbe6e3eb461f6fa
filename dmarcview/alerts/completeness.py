"""Which of the newest days are in, for each domain: what may clear an incident, and what a message says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dmarcview.query import lateness
from dmarcview.query.complete import RECENT_DAYS, Completeness, arrivals, each, words
from dmarcview.query.filters import DAY, Filters

from .series import as_day

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store

    from .likelihood import Bools
    from .model import Finding


class Complete:
    """The newest days, each domain by its own reporters; "" is all domains together.

    All are judged at once, so that many domains take no longer than their reports do; the words of a day are found when
    they are asked for.
    """

    def __init__(self, arrived: pd.DataFrame, now: int) -> None:
        """`arrived` has the columns of `query.complete.arrivals` by domain; `now` is in seconds."""
        self._arrived, self._now = arrived, now
        self._places = arrived.groupby("domain").indices
        self._first = now // DAY - RECENT_DAYS
        window = (self._first, self._first + RECENT_DAYS - 1, now)
        self._without: Bools = lateness.judge(arrived.iloc[:0], *window).days["complete"].to_numpy(np.bool_)
        self._flags: dict[str, Bools] = {}
        for frame in (arrived.assign(domain=""), arrived):
            self._flags |= dict(zip(*lateness.complete(frame, *window), strict=True))
        self._said: dict[str, str] = {}

    def flags(self, domains: Sequence[str]) -> Bools:
        """Is each day complete, oldest first? Shape (domains, days), as `cusum.judge` takes it."""
        rows = [self._flags.get(domain, self._without) for domain in domains]
        return np.array(rows, dtype=np.bool_).reshape(len(domains), RECENT_DAYS)

    def said(self, finding: Finding) -> Finding:
        """The finding with what is to be said of the newest day that is not complete; else that all are in."""
        if finding.cleared is not None or finding.completeness:
            return finding
        if finding.domain not in self._said:
            self._said[finding.domain] = self._words(finding.domain)
        return replace(finding, completeness=self._said[finding.domain])

    def _words(self, domain: str) -> str:
        for place in np.flatnonzero(~self._flags.get(domain, self._without))[::-1].tolist():
            found = self._day(domain, self._first + place)
            if found.expected:
                return f"{found.day.day} {found.day:%b} is {words(found)}"
        return "all days are in"

    def _day(self, domain: str, day: int) -> Completeness:
        mine = self._arrived.iloc[self._places.get(domain, [])] if domain else self._arrived
        return each(lateness.judge(mine, day, day, self._now))[0]


def load(store: Store, *, verified: bool) -> Complete:
    """Judge the newest days of all domains as of the store's clock."""
    now = int(store.clock())
    since = as_day(now // DAY - RECENT_DAYS - lateness.HISTORY_DAYS)
    bounds = Filters(since=since, until=as_day(now // DAY), verified=verified)
    return Complete(arrivals(store, bounds, by_domain=True), now)
