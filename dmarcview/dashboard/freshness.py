"""On which day the default window of a page ends: pure, from the days that `query.lateness` judged."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd

from dmarcview.query.lateness import through

STRIP_DAYS = 14


def last_complete(days: pd.DataFrame, oldest: date | None, newest: date | None, today: date) -> date:
    """The day up to which all is complete; the newest with mail (`oldest` to `newest`) while no complete day has any.

    `days`: those of the strip, as in `query.lateness.Judged`.
    """
    yesterday = today - timedelta(days=1)
    if oldest is None or newest is None:
        return yesterday
    done = through(days) if len(days) else None
    if newest < today - timedelta(days=STRIP_DAYS) or done is None or done < oldest:
        return min(newest, yesterday)
    return min(newest, done)
