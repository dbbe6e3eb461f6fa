"""What the rules of rates and waves would have said on a store's own past, at several thresholds.

Each day is judged by what had come by its end: a day's report of a reporter counts from its receipt on. Reports that
were imported from files say nothing of their receipt; they count from the day after theirs.

Each day is a walk of its own for each threshold, because other reports had come. So a large store is judged by its
largest series alone: as many as take half a minute or so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dmarcview.organisation import organisational

from . import causes, waves
from .cusum import METHOD, Cells, Method, judge
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
MOST_WALKS = 100_000  # series times days that are judged, at each threshold


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
    """The answer: how many days up to `last_day` were judged; a line a threshold; the incidents at the one in use.

    `judged` of the `series` of rates that the store has were looked at, the largest.
    """

    days: int
    last_day: date
    domains: int
    used: float
    lines: tuple[Line, ...]
    incidents: tuple[Alarm, ...]
    judged: int = 0
    series: int = 0


def run(store: Store, config: Config, now: int, *, days: int = DAYS) -> Backtest:
    """Judge each of the last `days` days anew. Reads only."""
    today, verified = now // DAY, not config.trust.unverified
    found = load(store, today, verified=verified, history=days + HISTORY_DAYS)
    first = int(found.cells.day.min()) + LEAST_DAYS if len(found.cells.day) else today
    judged = [day for day in range(max(first, today - days), today + 1) if day > first]
    used = METHOD.level(len(found.series)) if not config.alerts.threshold else config.alerts.threshold
    series = len(found.series)
    found = _largest(found, MOST_WALKS // max(len(judged), 1))
    came = _came(found, receipts(store, now, verified=verified, days=days + HISTORY_DAYS))
    domains = len({one.domain for one in found.series})
    pasts = [_Past(replace(METHOD, threshold=used * times)) for times in TIMES]
    for day in judged:
        then = _then(found, came, day)
        surge = [one for one in waves.findings(then, day) if one.cleared is None]
        for past in pasts:
            past.live(day, then, surge)
    lines: list[Line] = []
    incidents: tuple[Alarm, ...] = ()
    for times, past in zip(TIMES, pasts, strict=True):
        alarms = past.alarms
        delays = [(one.on - one.since).days for one in alarms]
        lines.append(Line(used * times, len(alarms), len(alarms) / max(domains * len(judged) / MONTH, 1e-9),
                          float(median(delays)) if delays else None, times == 1.0))  # fmt: skip
        if times == 1.0:
            incidents = tuple(alarms)
    return Backtest(len(judged), as_day(today - 1), domains, used, tuple(lines), incidents, len(found.series), series)


def as_json(found: Backtest) -> dict[str, Any]:
    """The same for programs."""
    out = asdict(found) | {"last_day": found.last_day.isoformat()}
    out["lines"] = [line._asdict() for line in found.lines]
    out["incidents"] = [one._asdict() | {"on": str(one.on), "since": str(one.since)} for one in found.incidents]
    return out


def _came(found: Loaded, rows: Sequence[Receipt]) -> tuple[Ints, Ints]:
    """For each cell of `cells` and of `forged`, the day on which it was known."""
    known: dict[tuple[str, str, int], int] = {}
    for row in rows:
        key = row.domain, organisational(row.submitter), row.day
        known[key] = max(known.get(key, 0), row.day + 1, row.last // DAY)
    domains = [one.domain for one in found.series], [one.domain for one in found.volumes]
    out = []
    for names, cells in zip(domains, (found.cells, found.forged), strict=True):
        keys = zip(cells.series.tolist(), cells.reporter.tolist(), cells.day.tolist(), strict=True)
        days = [known.get((names[s], found.reporters[r], d), d + 1) if found.reporters else d + 1 for s, r, d in keys]
        out.append(np.array(days, dtype=np.int64))
    return out[0], out[1]


def _then(found: Loaded, came: tuple[Ints, Ints], day: int) -> Loaded:
    """What had come by the end of a day."""
    return replace(found, cells=found.cells.only(came[0] <= day), forged=found.forged.only(came[1] <= day))


class _Past:
    """The incidents that a method would have opened, each once; a cause that was quiet for a few days is a new one."""

    def __init__(self, method: Method) -> None:
        self.method, self.alarms = method, list[Alarm]()
        self._seen: dict[tuple[str, str, str], int] = {}

    def live(self, day: int, then: Loaded, surge: Sequence[Finding]) -> None:
        """Judge what was known on a day; `surge` are the waves of forged mail, which no threshold changes."""
        rows = causes.told(then.series, judge(then.cells, len(then.series), day, method=self.method))
        rates = causes.findings([row for row in rows if row.cleared < 0], day, lambda _: {})
        for one in [*rates, *surge]:
            key = (one.kind, one.domain, "" if one.kind.endswith("_failing") else one.cause)
            if day - self._seen.get(key, -DAYS) > APART:
                self.alarms.append(Alarm(as_day(day), one.first_day, one.kind, one.domain, one.cause))
            self._seen[key] = day


def _largest(found: Loaded, most: int) -> Loaded:
    """The `most` series of rates with most messages, and as many of volumes: first those of whole domains."""
    rates = _ranked([one.group for one in found.series], found.cells)[:most]
    volumes = _ranked([one.sender for one in found.volumes], found.forged)[:most]
    return replace(
        found, series=tuple(found.series[i] for i in rates), cells=_numbered(found.cells, rates, len(found.series)),
        volumes=tuple(found.volumes[i] for i in volumes), forged=_numbered(found.forged, volumes, len(found.volumes)),
    )  # fmt: skip


def _ranked(groups: Sequence[str], cells: Cells) -> list[int]:
    """The places of series: those without a group first, then by their messages."""
    total = np.bincount(cells.series, cells.total, len(groups))
    order: list[int] = np.lexsort((-total, np.array([bool(one) for one in groups], np.bool_))).tolist()
    return order


def _numbered(cells: Cells, kept: Sequence[int], series: int) -> Cells:
    """The cells of the series that are kept, numbered by their place among these."""
    place = np.full(series, -1)
    place[list(kept)] = np.arange(len(kept))
    chosen = cells.only(place[cells.series] >= 0)
    return replace(chosen, series=place[chosen.series])
