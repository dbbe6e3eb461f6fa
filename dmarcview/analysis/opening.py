"""Opens what a notebook reads: the user's own store, read-only, or a made-up one that is always the same."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dmarcview import __version__, query
from dmarcview.config import Config, Trust
from dmarcview.library import Library

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.demo.sample import Sample

URL = "DMARCVIEW_DATA_URL"  # the setting [data] url as the environment has it
DAYS = 90  # newest days of an own store that a notebook reads when it is not told
MOST_RECORDS = 1_000_000  # records that a notebook holds at once
SAMPLE_DAYS = 60
SAMPLE_DAY = date(2026, 11, 22)  # the day on which the made-up store is looked at


@dataclass(frozen=True)
class Study:
    """A store and what of it is looked at. `first` and `last` are the days with messages in it, or None.

    `config` are the settings that questions take: those of the made-up store, else the defaults.
    """

    store: Library
    filters: query.Filters
    config: Config
    sample: bool
    first: date | None
    last: date | None

    @property
    def today(self) -> date:
        """The UTC day on which the store is looked at."""
        return datetime.fromtimestamp(self.store.clock(), UTC).date()

    def records(self) -> pd.DataFrame:
        """`Library.records` of the study. Raises ValueError when that is more than MOST_RECORDS."""
        count = query.summary(self.store, self.filters)["records"]
        if count > MOST_RECORDS:
            raise ValueError(
                f"{count:,} records are more than a notebook holds ({MOST_RECORDS:,}): set DOMAINS, SINCE or UNTIL"
            )
        return self.store.records(self.filters)

    def __str__(self) -> str:
        found = query.summary(self.store, self.filters)
        about = "all domains" if self.filters.domains is None else ", ".join(self.filters.domains)
        days = "no day has messages" if self.first is None else f"{self.first} to {self.last} (UTC)"
        what = "a made-up store" if self.sample else f"the store in {self.store.data}"
        return (
            f"dmarcview {__version__} on {what}\n{about}, {days}: {found['messages']:,} messages in "
            f"{found['records']:,} records of {found['reports']:,} reports"
        )


def begin(
    store: str = "", *, domains: Sequence[str] = (), since: str = "", until: str = "", unverified: bool = False
) -> Study:
    """Open a store for a notebook, and let its charts be drawn without any outside help.

    `store` is a data folder, or empty for the made-up store. `since` is the first day and `until` the day after the
    last, as YYYY-MM-DD; without `since` an own store is read for the newest DAYS days. A ledger that is not in the
    folder is found by the environment's DMARCVIEW_DATA_URL. Raises ValueError for a day that is none, StoreError.
    """
    from .renderer import use

    use()
    _readable()
    bounds = query.Filters(
        domains=tuple(domains) or None, since=_day(since), until=_day(until), verified=not unverified
    )
    config = replace(Config(), trust=Trust(unverified=unverified))
    if store:
        own = (Path(store) / "ledger.sqlite").exists()
        opened = Library.open(store, url=None if own else os.environ.get(URL), read_only=True)
    else:
        made = sample()
        opened, config = Library.open(made.data, read_only=True, clock=lambda: made.now), made.config
    if store and bounds.since is None:
        newest = query.domains(opened, bounds)["last_day"].max()
        if newest == newest:  # noqa: PLR0124 -- NaT: there is no day
            bounds = replace(bounds, since=newest.date() - timedelta(days=DAYS - 1))
    known = query.domains(opened, bounds)
    span = (known["first_day"].min().date(), known["last_day"].max().date()) if len(known) else (None, None)
    return Study(opened, bounds, config, not store, *span)


@cache
def sample() -> Sample:
    """The made-up store, built once a process and removed when it ends."""
    from dmarcview.demo.sample import build

    folder = Path(tempfile.mkdtemp(prefix="dmarcview-sample-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with ThreadPoolExecutor(1) as aside:  # a kernel has an event loop in this thread, and the ingest starts its own
        return aside.submit(build, folder, days=SAMPLE_DAYS, today=SAMPLE_DAY).result()


def _readable() -> None:
    """Let frames be shown whole, and numbers with four digits."""
    import pandas as pd

    pd.set_option("display.float_format", "{:,.4g}".format)
    pd.set_option("display.max_columns", None)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(f"{text!r} is not a day; write it as 2026-01-31") from None
