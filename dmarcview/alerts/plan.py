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
ALARMS = (OPENED, WORSE)
TOLD_LATE_SECONDS = DAY  # what cleared longer ago is not told any more


def due(row: Row, notices: Sequence[Notice], now: int) -> str:
    """`opened`, `worse`, `cleared`, or "" for nothing. What another incident explains, or tells now, is not told.

    `notices` are those of one channel about this incident, and about earlier ones of the same cause
    (`store.incidents.about`), in any order. What waits to go out counts as told, what was given up does not, and is
    asked for again a day later. So a new channel hears of all that is open.
    """
    own = [one for one in notices if one.incident_id == row.id]
    if row.ended is not None:
        late = now - row.ended > TOLD_LATE_SECONDS
        asked = any(one.kind == CLEARED for one in own)
        return CLEARED if not asked and not late and wanted(row, CLEARED, own, now) else ""
    alarms = [one for one in own if one.kind in ALARMS]
    if not wanted(row, WORSE, own, now) or any(one.given_up and one.at > now - DAY for one in alarms):
        return ""
    said = [one for one in alarms if not one.given_up]
    if not said:
        return OPENED if now - row.known >= GROUP_SECONDS and not _came_back(row, notices, now) else ""
    last = max(said, key=lambda one: (one.at, one.id))
    return WORSE if _worse(row, last, TIMES if now - last.at >= DAY else TIMES_A_DAY) else ""


def wanted(row: Row, kind: str, notices: Sequence[Notice], now: int) -> bool:
    """May such a message go out now? `notices` are those of one channel about this incident.

    Asked again when its turn comes: meanwhile the incident may have ended, or somebody has it in hand.
    """
    if row.muted_until is not None and row.muted_until > now:
        return False
    if kind == CLEARED:
        told = any(one.kind in ALARMS and one.told for one in notices)
        return row.ended is not None and row.outcome != TAKEN_UP and told
    return row.ended is None and row.acked is None and not _explained(row)


def _explained(row: Row) -> bool:
    """Does another incident explain it?"""
    return bool(json.loads(row.body).get("explained_by"))


def _came_back(row: Row, notices: Sequence[Notice], now: int) -> bool:
    """Was the same cause told within the last day, as bad as now? What comes and goes is one message a day, too."""
    lately = [one for one in notices if one.kind in ALARMS and one.at > now - DAY]
    return any(not _heavier(row, one.weight, TIMES) for one in lately)


def _worse(row: Row, last: Notice, times: float) -> bool:
    """Clearly heavier than told, and by more than another day at the same pace would have brought."""
    if not _heavier(row, last.weight, times):
        return False
    days = max(1, (last.at - row.first_day) // DAY + 1)
    return row.weight - last.weight >= last.weight / days


def _heavier(row: Row, before: int, times: float) -> bool:
    return row.weight > before and row.weight >= before * times
