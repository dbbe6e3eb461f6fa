"""What a check found: the value that all checks give."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

OK, WARN, FAIL = "ok", "warn", "fail"
Clock = Callable[[], float]


class Finding(NamedTuple):
    """One line: ok, warn or fail; what was looked at; what was found; what to do ("" when nothing)."""

    state: str
    check: str
    found: str
    advice: str = ""


def lasted(seconds: float) -> str:
    """A length of time as people say it."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} seconds"


def day(at: float) -> str:
    """A point in time, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
