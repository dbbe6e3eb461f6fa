"""What commands say of days that are not complete: named, and left out of rates unless the window was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dmarcview.terminal import safe

if TYPE_CHECKING:
    from dmarcview.query import Completeness, Filters
    from dmarcview.store import Store

NAMED = 3  # days of which a person is told more than their number


def open_days(store: Store, bounds: Filters) -> list[Completeness]:
    """The days of the window that are not complete, oldest first; without an end only those of which mail was told."""
    from dmarcview.query.complete import RECENT_DAYS, complete_days, each

    today = datetime.fromtimestamp(int(store.clock()), UTC).date()
    first, last = today - timedelta(days=RECENT_DAYS), today
    if bounds.since is not None:
        first = max(first, bounds.since)
    if bounds.until is not None:
        last = min(last, bounds.until - timedelta(days=1))
    if first > last:
        return []
    found = each(complete_days(store, first, last, replace(bounds, result=None)))
    return [day for day in found if not day.complete and (day.messages or bounds.until is not None)]


def rated(bounds: Filters, days: Sequence[Completeness]) -> Filters | None:
    """The part of a window of which rates are told: all of one whose end was asked for, else its complete days.

    None when the rates are those of the whole window.
    """
    if not days or bounds.until is not None or (bounds.since is not None and bounds.since >= days[0].day):
        return None
    return replace(bounds, until=days[0].day)


def note(days: Sequence[Completeness], left_out: bool) -> None:
    """Say it to a person; nothing when all days are complete."""
    from dmarcview.query.complete import words

    if not days:
        return
    many = f"{len(days)} days are" if len(days) > 1 else "1 day is"
    tail = f", and the rates leave out all from {days[0].day} on" if left_out else ""
    print(f"{many} not complete{tail}:")
    for day in days[-NAMED:]:
        print(f"  {day.day} is {words(day, safe)}." if day.expected else f"  {day.day}: {words(day)}.")


def as_json(day: Completeness) -> dict[str, Any]:
    """A day for programs."""
    return {
        "day": str(day.day), "complete": day.complete, "share": day.share, "arrived": day.arrived,
        "expected": day.expected, "late": list(day.late), "awaited": list(day.awaited), "silent": list(day.silent),
    }  # fmt: skip
