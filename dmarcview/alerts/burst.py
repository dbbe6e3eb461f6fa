"""Volume bursts of unknown sources: more messages on an event day than 28 days and the weekday explain.

A day's count is held against a negative binomial whose mean and spread come from the days before it, scaled by the
weekday. Days that were bursts are not learned from while the burst is young, so that a campaign does not hide its own
second day. A day that is not complete can only be too low: it may fire, but nothing is learned from it, and no burst
ends on it. As in `cusum`, the answer is a function of the counts alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from .cells import ABSENT, complete_days
from .likelihood import Bools, Floats, Ints, log_binomial_tail


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages of unknown sources by (series, event day): arrays of one length; equal keys may repeat and are summed.

    A row with 0 messages says that the domain was reported on: days between the first row of a series and today that
    have none count as 0, days before it are not known.
    """

    series: Ints
    day: Ints
    total: Ints

    def __post_init__(self) -> None:
        """Raise ValueError for arrays of several lengths, negative codes or counts."""
        if len({len(getattr(self, field.name)) for field in fields(self)}) != 1:
            raise ValueError("the arrays of counts are of several lengths")
        if len(self.day) and min(self.series.min(), self.total.min()) < 0:
            raise ValueError("a count has a negative code or number")


@dataclass(frozen=True, slots=True)
class Method:
    """The parameters."""

    chance: float = 1e-5  # a day is a burst below this chance; divided by series / 10 when there are more than ten
    least: int = 20  # messages without which no day is a burst
    times: float = 3.0  # the expected number times this, too
    usual_chance: float = 1e-2  # a day above this chance is calm
    clear_days: int = 2  # calm and complete days that end a burst
    baseline: int = 28  # days that are learned from
    young_days: int = 14  # known days without which nothing fires
    replay: int = 28  # the last event days, which are walked day by day
    longest: int = 14  # days after which a burst is learned, and ends without `cleared`: it is how things are
    least_spread: float = 0.1  # bounds of 1 / size of the negative binomial: how much days differ beyond chance
    most_spread: float = 4.0
    weekday_weight: float = 2.0  # weeks of an even spread over weekdays that are known before anything is learned


METHOD = Method()


@dataclass(frozen=True, slots=True)
class Bursts:
    """What is said of each series: arrays with one entry a series; a day that is none is -1.

    `open`: a burst goes on. `since` and `cleared` are the first day of the last burst of the replayed days and the day
    that ended it. `total` messages came from `since` on (until `cleared`), where `expected` were; `peak` is the most of
    one day. `chance` is the natural logarithm of the chance of the least likely day, `mean` what a day brings usually.
    """

    open: Bools
    since: Ints
    cleared: Ints
    total: Ints
    expected: Floats
    peak: Ints
    chance: Floats
    mean: Floats
    young: Bools


def judge(counts: Counts, series: int, today: int, complete: Bools | None = None, method: Method = METHOD) -> Bursts:
    """Judge `series` series on the UTC day `today`, which is left out; `complete` as in `cusum.judge`."""
    m = method
    span = m.baseline + m.replay
    first = today - span
    if len(counts.series) and int(counts.series.max()) >= series:
        raise ValueError(f"a count is of series {counts.series.max()}, but there are {series}")
    past = counts.day < today
    begin = np.full(series, today)
    np.minimum.at(begin, counts.series[past], counts.day[past])
    kept = past & (counts.day >= first)
    key = (counts.day[kept] - first) * series + counts.series[kept]
    total = np.bincount(key, counts.total[kept], span * series).reshape(span, series).astype(np.float64)
    known = np.arange(first, today)[:, None] >= begin
    whole = known & complete_days(complete, span, series)
    limit = math.log(m.chance) - max(0.0, math.log(max(series, 1) / 10))
    burst = np.zeros((span, series), np.bool_)
    is_open, since, cleared = np.zeros(series, np.bool_), np.full(series, ABSENT), np.full(series, ABSENT)
    expected, chance, peak, calm_days = (np.zeros(series) for _ in range(4))
    sums = np.zeros(series)
    mean, young = np.zeros(series), np.ones(series, np.bool_)
    for day in range(m.baseline, span):
        recent = slice(day - m.baseline, day)
        gone = is_open & (day - since > m.longest)
        is_open &= ~gone
        learned = whole[recent] & ~(burst[recent] & (is_open | (cleared >= 0)))
        young = learned.sum(axis=0) < m.young_days
        mean, spread = _usual(total[recent], learned, (day + first) % 7, first + day - m.baseline, m)
        seen = total[day]
        log_chance = np.zeros(series)
        unusual = np.flatnonzero((seen > mean) & (seen > 0))
        log_chance[unusual] = log_binomial_tail(seen[unusual], mean[unusual], spread[unusual])
        high = (log_chance < limit) & (seen >= np.maximum(m.least, m.times * mean)) & ~young
        starts = high & ~is_open
        since, cleared = np.where(starts, day, since), np.where(starts, ABSENT, cleared)
        for what in (sums, expected, peak, chance):
            what[starts] = 0.0
        is_open = is_open | starts
        burst[day] = is_open & (log_chance < math.log(m.usual_chance))
        calm_days = np.where(burst[day], 0, calm_days + whole[day]) * is_open
        sums, expected = sums + seen * is_open, expected + mean * is_open
        peak, chance = np.maximum(peak, seen * is_open), np.minimum(chance, log_chance * is_open)
        ended = is_open & (calm_days >= m.clear_days)
        is_open, cleared = is_open & ~ended, np.where(ended, day, cleared)
    return Bursts(
        open=is_open, since=np.where(since >= 0, since + first, ABSENT),
        cleared=np.where(cleared >= 0, cleared + first, ABSENT), total=sums.astype(np.int64), expected=expected,
        peak=peak.astype(np.int64), chance=chance, mean=mean, young=young,
    )  # fmt: skip


def _usual(total: Floats, learned: Bools, weekday: int, first: int, m: Method) -> tuple[Floats, Floats]:
    """Mean of a weekday and spread (1 / size) of the counts `total` by (day, series), of those that are learned."""
    count = np.maximum(learned.sum(axis=0), 1)
    taken = np.where(learned, total, 0.0)
    mean = (taken.sum(axis=0) + 0.5) / (count + 0.5)
    factors = np.ones((7, total.shape[1]))
    of = (np.arange(len(total)) + first) % 7
    for each in range(7):
        days = learned[of == each].sum(axis=0)
        factors[each] = (taken[of == each].sum(axis=0) / mean + m.weekday_weight) / (days + m.weekday_weight)
    fitted = mean * factors[of]
    error = np.where(learned, (total - fitted) ** 2 - fitted, 0.0).sum(axis=0)
    square = np.where(learned, fitted**2, 0.0).sum(axis=0)
    # fitted to the same days, so the spread is a little larger than it looks
    spread = np.clip(1.3 * error / np.maximum(square, 1e-9), m.least_spread, m.most_spread)
    return mean * factors[weekday], spread
