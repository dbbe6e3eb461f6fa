"""What the rules of rates and waves would have said on a store's own past, at several thresholds.

Each day is judged by what had come by its end: a day's report of a reporter counts from its receipt on. Reports that
were imported from files say nothing of their receipt; they count from the day after theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import causes, waves
from .cusum import METHOD, Cells, judge
from .overdue import load as receipts
from .series import DAY, HISTORY_DAYS, Loaded, as_day, load

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store import Store

    from .likelihood import Ints
    from .model import Finding
    from .overdue import Receipt

DAYS = 180
LEAST_DAYS = 42  # of reports, below which nothing is learned enough to be judged
TIMES = (0.5, 0.75, 1.0, 1.5)  # of the threshold in use
MONTH = 30.4
APART = 3  # days without a finding after which the same cause is another incident


class Alarm(NamedTuple):
    """One incident that would have been opened: on which day, since when, and by which cause."""

    on: date
    since: date
    kind: str
    domain: str
    cause: str


class Line(NamedTuple):
    """One threshold: incidents, their number by domain and month, and the median of days from onset to alarm."""

    threshold: float
    incidents: int
    by_domain_month: float
    delay: float | None
    used: bool


@dataclass(frozen=True, slots=True)
class Backtest:
    """The answer: how many days up to `last_day` were judged; a line a threshold; the incidents at the one in use."""

    days: int
    last_day: date
    domains: int
    used: float
    lines: tuple[Line, ...]
    incidents: tuple[Alarm, ...]


def run(store: Store, config: Config, now: int, *, days: int = DAYS) -> Backtest:
    """Judge each of the last `days` days anew. Reads only."""
    today, verified = now // DAY, not config.trust.unverified
    found = load(store, today, verified=verified, history=days + HISTORY_DAYS)
    rows = receipts(store, now, verified=verified, days=days + HISTORY_DAYS)
    came = _came(found, rows)
    first = int(found.cells.day.min()) + LEAST_DAYS if len(found.cells.day) else today
    judged = [day for day in range(max(first, today - days), today + 1) if day > first]
    used = METHOD.level(len(found.series)) if not config.alerts.threshold else config.alerts.threshold
    domains = len({one.domain for one in found.series})
    surges = {
        day: [one for one in waves.findings(_then(found, came, day), day) if one.cleared is None] for day in judged
    }
    lines: list[Line] = []
    incidents: tuple[Alarm, ...] = ()
    for times in TIMES:
        alarms = _alarms(found, came, surges, used * times)
        delays = [(one.on - one.since).days for one in alarms]
        lines.append(Line(used * times, len(alarms), len(alarms) / max(domains * len(judged) / MONTH, 1e-9),
                          float(median(delays)) if delays else None, times == 1.0))  # fmt: skip
        if times == 1.0:
            incidents = tuple(alarms)
    return Backtest(len(judged), as_day(today - 1), domains, used, tuple(lines), incidents)


def as_json(found: Backtest) -> dict[str, Any]:
    """The same for programs."""
    out = asdict(found) | {"last_day": found.last_day.isoformat()}
    out["lines"] = [line._asdict() for line in found.lines]
    out["incidents"] = [one._asdict() | {"on": str(one.on), "since": str(one.since)} for one in found.incidents]
    return out


def _came(found: Loaded, rows: Sequence[Receipt]) -> tuple[Ints, Ints]:
    """For each cell of `cells` and of `forged`, the day on which it was known."""
    known = {(row.domain, row.submitter, row.day): max(row.day + 1, row.last // DAY) for row in rows}
    domains = [one.domain for one in found.series], [one.domain for one in found.volumes]
    out = []
    for names, cells in zip(domains, (found.cells, found.forged), strict=True):
        keys = zip(cells.series.tolist(), cells.reporter.tolist(), cells.day.tolist(), strict=True)
        days = [known.get((names[s], found.reporters[r], d), d + 1) if found.reporters else d + 1 for s, r, d in keys]
        out.append(np.array(days, dtype=np.int64))
    return out[0], out[1]


def _then(found: Loaded, came: tuple[Ints, Ints], day: int) -> Loaded:
    """What was known by the begin of a day."""
    return replace(found, cells=_only(found.cells, came[0] <= day), forged=_only(found.forged, came[1] <= day))


def _alarms(
    found: Loaded, came: tuple[Ints, Ints], surges: dict[int, list[Finding]], threshold: float
) -> list[Alarm]:  # fmt: skip
    """The incidents, each once; a cause that was quiet for a few days is a new one."""
    method = replace(METHOD, threshold=threshold)
    seen: dict[tuple[str, str, str], int] = {}
    out = []
    for day, surge in surges.items():
        cells = _only(found.cells, came[0] <= day)
        rows = causes.told(found.series, judge(cells, len(found.series), day, method=method))
        rates = causes.findings([row for row in rows if row.cleared < 0], day, lambda _: {})
        for one in [*rates, *surge]:
            key = (one.kind, one.domain, "" if one.kind.endswith("_failing") else one.cause)
            if day - seen.get(key, -DAYS) > APART:
                out.append(Alarm(as_day(day), one.first_day, one.kind, one.domain, one.cause))
            seen[key] = day
    return out


def _only(cells: Cells, mask: Any) -> Cells:
    return Cells(cells.series[mask], cells.day[mask], cells.reporter[mask], cells.total[mask], cells.failed[mask])
