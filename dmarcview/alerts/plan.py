"""Which message about an incident is due: one when it opens, at most one a day unless it worsens, one when it clears.

Times are seconds UTC. Nothing is said of what is muted. Somebody who acknowledged an incident has it in hand: nothing
more is said while it is open, however it grows; that it has cleared is told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from dmarcview.store.incidents import DAY, Notice, Row

from .model import CLEARED, OPENED, TAKEN_UP, WORSE

GROUP_SECONDS = 900  # so long an incident waits for its members before it is told
TIMES = 1.5  # as heavy as it was told last: worse, when that is a day ago
TIMES_A_DAY = 3.0  # the same, when it was told on this very day
TOLD_LATE_SECONDS = DAY  # what cleared longer ago is not told any more


def due(row: Row, notices: Sequence[Notice], now: int) -> str:
    """`opened`, `worse`, `cleared`, or "" for nothing. What another incident explains, or tells now, is not told.

    `notices` are those of one channel about this incident, and about earlier ones of the same cause
    (`store.incidents.about`); in any order, whatever became of them. So a new channel hears of all that is open.
    """
    if row.muted_until is not None and row.muted_until > now:
        return ""
    told = [one for one in notices if one.incident_id == row.id]
    if row.ended is not None:
        if row.outcome == TAKEN_UP:
            return ""
        late = now - row.ended > TOLD_LATE_SECONDS
        return CLEARED if _has(told, OPENED) and not _has(told, CLEARED) and not late else ""
    if row.acked is not None or _explained(row):
        return ""
    if not _has(told, OPENED):
        return OPENED if now - row.known >= GROUP_SECONDS and not _came_back(row, notices, now) else ""
    last = max((one for one in told if one.kind in (OPENED, WORSE)), key=lambda one: (one.at, one.id))
    return WORSE if _worse(row, last, TIMES if now - last.at >= DAY else TIMES_A_DAY) else ""


def _explained(row: Row) -> bool:
    """Does another incident explain it?"""
    return bool(json.loads(row.body).get("explained_by"))


def _has(notices: Sequence[Notice], kind: str) -> bool:
    return any(one.kind == kind for one in notices)


def _came_back(row: Row, notices: Sequence[Notice], now: int) -> bool:
    """Was the same cause told within the last day, as bad as now? What comes and goes is one message a day, too."""
    lately = [one for one in notices if one.kind in (OPENED, WORSE) and one.at > now - DAY]
    return any(not _heavier(row, one.weight, TIMES) for one in lately)


def _worse(row: Row, last: Notice, times: float) -> bool:
    """Clearly heavier than told, and by more than another day at the same pace would have brought."""
    if not _heavier(row, last.weight, times):
        return False
    days = max(1, (last.at - row.first_day) // DAY + 1)
    return row.weight - last.weight >= last.weight / days


def _heavier(row: Row, before: int, times: float) -> bool:
    return row.weight > before and row.weight >= before * times
