"""The rules that are compared: ours, and those that other tools use, each asked day by day of what has arrived."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dmarcview.alerts.cusum import METHOD, Cells, Method, judge

from .world import DAYS, MECHANISMS, WARM, Reports

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
OURS = "bbcusum"
STRICT = "bbcusum, h = 10"  # as in a fleet of 200 series
COMPLETE_AFTER = 3  # days after which a day counts as complete here; the product knows it by the reporters


@dataclass(frozen=True, slots=True)
class View:
    """What is known in the morning of `day`: cells, and messages and failures by (event day, series)."""

    day: int
    series: int
    cells: Cells
    total: Floats
    failed: Floats


Rule = Callable[[View], Bools]


def ours(method: Method) -> Rule:
    """`bbcusum` with these parameters, for installations of ten series or fewer unless they name a threshold."""
    chosen = method if method.threshold is not None else replace(method, threshold=method.level(10))

    def rule(view: View) -> Bools:
        complete = np.arange(view.day) <= view.day - COMPLETE_AFTER
        return judge(view.cells, view.series, view.day, complete, chosen).open

    return rule


def newest(view: View, least: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Failing share of each series' newest day with mail, and that day; not a number below `least` messages."""
    there = view.total > 0
    last = len(there) - 1 - there[::-1].argmax(axis=0)
    every = np.arange(view.series)
    total = view.total[last, every]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total >= least, view.failed[last, every] / total, np.nan), last


def shares(view: View, last: npt.NDArray[np.int64], days: int) -> Floats:
    """Daily failing shares of the `days` days before `last`, not a number where there was no mail."""
    at = last - np.arange(days, 0, -1)[:, None]
    total, failed = (np.take_along_axis(x, np.maximum(at, 0), axis=0) for x in (view.total, view.failed))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(at >= 0, failed / total, np.nan)


def mean(values: Floats) -> Floats:
    """Mean over the first axis of what is a number."""
    there = ~np.isnan(values)
    count = there.sum(axis=0)
    out: Floats = np.where(count > 0, np.where(there, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
    return out


def ten_points(view: View) -> Bools:
    """The newest day fails ten points more than the one with mail before it; no minimum."""
    share, last = newest(view, 1)
    earlier = np.arange(len(view.total))[:, None] < last
    before, _ = newest(replace(view, total=np.where(earlier, view.total, 0)), 1)
    out: Bools = share >= before + 0.10
    return out


def fifteen_points(least: float) -> Rule:
    """The newest day fails fifteen points more than the mean of the seven before it, from `least` messages on."""

    def rule(view: View) -> Bools:
        share, last = newest(view, least)
        out: Bools = share >= mean(shares(view, last, 7)) + 0.15
        return out

    return rule


def three_sigma(view: View) -> Bools:
    """The newest day fails more than mean and three standard deviations of 28 days."""
    share, last = newest(view, 1)
    before = shares(view, last, 28)
    middle = mean(before)
    out: Bools = share > middle + 3 * np.sqrt(mean((before - middle) ** 2))
    return out


PEERS: Mapping[str, Rule] = {
    "10 points": ten_points,
    "15 points, min 100": fifteen_points(100),
    "15 points, min 20": fifteen_points(20),
    "3 sigma": three_sigma,
}


@dataclass(frozen=True, slots=True)
class Mornings:
    """All cells in the order of a store, with the morning each is first seen on."""

    runs: int
    cells: Cells
    arrival: npt.NDArray[np.int64]

    @classmethod
    def of(cls, reports: Reports, runs: int) -> Mornings:
        """Of reports: a series is (run, mechanism); a report with none of our mail has no cell."""
        kinds = len(MECHANISMS)
        here = np.flatnonzero(reports.total)
        series = (reports.run[here, None] * kinds + np.arange(kinds)).ravel()
        day, reporter, total, arrival = (
            np.repeat(x[here], kinds) for x in (reports.day, reports.reporter, reports.total, reports.arrival)
        )
        failed = reports.failed[:, here].T.ravel()
        order = np.lexsort((reporter, series, day))
        return cls(runs, Cells(*(x[order] for x in (series, day, reporter, total, failed))), arrival[order])

    def view(self, morning: int) -> View:
        """What had arrived by then."""
        c = self.cells
        here = np.flatnonzero((self.arrival <= morning) & (c.day < morning))
        cells = Cells(*(x[here] for x in (c.series, c.day, c.reporter, c.total, c.failed)))
        count = self.runs * len(MECHANISMS)
        key = cells.day * count + cells.series
        sums = (np.bincount(key, x, morning * count).reshape(morning, count) for x in (cells.total, cells.failed))
        return View(morning, count, cells, *sums)


def alarms(mornings: Mornings, rules: Mapping[str, Rule]) -> dict[str, Bools]:
    """Whether each rule holds, by (morning, run, mechanism); mornings begin the day after the warm-up."""
    shape = (mornings.runs, len(MECHANISMS))
    out = {name: np.zeros((DAYS - WARM, *shape), np.bool_) for name in rules}
    for place in range(DAYS - WARM):
        view = mornings.view(WARM + 1 + place)
        for name, rule in rules.items():
            out[name][place] = rule(view).reshape(shape)
    return out


def default_rules(method: Method = METHOD) -> dict[str, Rule]:
    """Ours first, then ours with a higher threshold, then the peers'."""
    return {OURS: ours(method), STRICT: ours(replace(method, threshold=10.0)), **PEERS}
