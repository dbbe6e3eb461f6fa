"""Which days are complete, and who is still awaited: pure functions over the arrivals of six weeks."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd

STRIP_DAYS = 14
HISTORY_DAYS = 28
USUAL_DAYS = 7  # with a report on this many of the 28 days before, a reporter is usual
COMPLETE_SHARE = 0.95  # of the usual volume; the rest is reporters that skip quiet days
LAPSED_DAYS = 7  # a reporter silent for longer is named, and no day waits for it any more
LATEST_DAYS = 5  # reports come one to five days late; older days wait no more
UNKNOWN_DAYS = 2  # while nobody has a habit yet, a day counts as complete after this long

DAY_COLUMNS = ("day", "share", "complete", "messages")
ARRIVAL_COLUMNS = ("day", "submitter", "messages", "usual", "expected", "arrived")


def strip(arrivals: pd.DataFrame, today: date) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(days, reporters) of the 14 days before `today`.

    `arrivals`: `day`, `submitter`, `messages` of at least the six weeks before `today`. The first frame has
    `day`, `share` (0..1 of the usual volume whose reporters have reported; NaN without habit), `complete`, `messages`;
    the second `day`, `submitter`, `messages`, `usual` (bool), `expected` (median of its days before), `arrived`.
    """
    days = pd.date_range(today - timedelta(days=STRIP_DAYS), today - timedelta(days=1), freq="D", unit="s")
    if arrivals.empty:
        return pd.DataFrame(columns=list(DAY_COLUMNS)), pd.DataFrame(columns=list(ARRIVAL_COLUMNS))
    start = pd.Timestamp(today - timedelta(days=STRIP_DAYS + HISTORY_DAYS))
    span = pd.date_range(start, days[-1], freq="D", unit="s")
    grid = arrivals.pivot_table(index="day", columns="submitter", values="messages", aggfunc="sum")
    grid = grid.reindex(span)
    values = grid.to_numpy(dtype=float)
    day_rows, reporter_rows = [], []
    newest = [int(np.flatnonzero(~np.isnan(column))[-1]) if (~np.isnan(column)).any() else -1 for column in values.T]
    lapsed = np.array([len(span) - 1 - last > LAPSED_DAYS for last in newest], dtype=bool)
    for place, day in enumerate(days):
        end = len(span) - STRIP_DAYS + place
        history, now = values[end - HISTORY_DAYS : end], values[end]
        seen = np.sum(~np.isnan(history), axis=0)
        expected = np.array([np.nanmedian(c) if n else 0.0 for c, n in zip(history.T, seen, strict=True)])
        arrived = ~np.isnan(now)
        usual = (seen >= USUAL_DAYS) & ~(lapsed & (np.array(newest) < end))
        whole = float(expected[usual].sum())
        share = float(expected[usual & arrived].sum()) / whole if whole else float("nan")
        age = (pd.Timestamp(today) - day).days
        complete = age > LATEST_DAYS or (share >= COMPLETE_SHARE if whole else age > UNKNOWN_DAYS)
        day_rows.append((day, share, complete, int(np.nansum(now))))
        for column, name in enumerate(grid.columns):
            if usual[column] or arrived[column]:
                count = int(now[column]) if arrived[column] else 0
                reporter_rows.append(
                    (day, name, count, bool(usual[column]), float(expected[column]), bool(arrived[column]))
                )
    return (
        pd.DataFrame(day_rows, columns=list(DAY_COLUMNS)),
        pd.DataFrame(reporter_rows, columns=list(ARRIVAL_COLUMNS)),
    )


def last_complete(days: pd.DataFrame, newest: date | None, today: date) -> date:
    """The day that default windows end on: the newest complete one, or the newest with mail in an old collection."""
    fallback = today - timedelta(days=1)
    if newest is not None and newest < today - timedelta(days=STRIP_DAYS):
        return newest
    done = days.loc[days["complete"], "day"] if len(days) else days
    if newest is not None and len(done):
        done = done[done <= pd.Timestamp(newest)]
    if len(done):
        return done.max().date()  # type: ignore[no-any-return]
    return min(newest, fallback) if newest is not None else fallback
