"""`bbcusum`: which series fail more than they used to, by evidence that is summed over event days.

Each (series, event day, reporter) cell is weighed by the beta-binomial log likelihood ratio of a worse share against
the usual one, clipped, and the sum S of a series never falls below zero (a CUSUM). S above h is an incident. The days
are walked anew from the counts alone on every call, so the answer is a function of the set of cells: order, splitting,
and late or repeated arrival change nothing. ADR 0007 has the reasons and the figures.

A report is one piece of evidence: one that lies on several days is clipped on each by its part there.

What decides in the corners:

- A cell whose report is there is evidence, whether its day is complete or not; no rate is formed of a day. Only to
  *clear* takes complete days, because what is missing may be the failures.
- A day without mail says nothing: weekends, gaps and holidays neither raise nor lower S.
- The usual share is learned from the days before S left zero, so an incident does not teach it. It is learned late,
  after `window` days, when S hovers without firing, and never while an incident is open.
- A series needs `young_days` days with mail and `young_messages` messages before its first evidence; what it shows by
  then is its usual share. So what has failed always is no incident: nothing changed.
- An incident is kept for `replay` days from its onset; then its days are learned, and it ends without `cleared`: it is
  how things are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .cells import ABSENT, Cells, Days, complete_days
from .likelihood import Bools, Floats, Ints, log_likelihood, mass

__all__ = ["ABSENT", "METHOD", "Cells", "Method", "Verdicts", "judge"]

MOST = 0.999  # the largest share that is taken for possible


@dataclass(frozen=True, slots=True)
class Method:
    """The parameters; the defaults are what the tuning half of `make bench-alerts` chose."""

    threshold: float | None = None  # h; None: `base` + ln(series / 10), at least `base`: a fleet keeps the budget
    base: float = 7.0  # h of an installation with ten series
    half_life: float = 21.0  # days after which what was learned weighs half
    history: int = 98  # event days before `today` that are looked at
    replay: int = 56  # the last of them, which are walked day by day; the others are only learned from
    window: int = 14  # days after which S no longer holds back learning, and an incident without failures ends
    odds: float = 6.0  # the worse share is the usual one times this, or ...
    least_rise: float = 0.08  # ... the usual one plus this, whichever is more
    total_share: float = 0.5  # the second worse share that is tried: of a cause that hits most of the mail
    clip: float = 3.0  # what one report adds or takes at most, so that no single one decides
    total_clip: float = 4.0  # the same for the second share: each mail that passes speaks loudly against it
    least_failed: int = 3  # failed messages since the onset without which nothing fires
    least_reporters: int = 2  # reporters that saw failures, or ...
    least_reports: float = 1.5  # ... more than so many reports with failures, without which nothing fires: two
    clear_share: float = 0.5  # S below this share of h is calm
    clear_days: int = 2  # complete days with mail and calm that end an incident
    prior_failed: float = 0.5  # what is known before anything is learned: failed messages ...
    prior_total: float = 25.0  # ... of so many
    caution: float = 0.5  # standard errors by which the usual share is taken higher than learned
    prior_rho: float = 0.02  # overdispersion before anything is learned ...
    prior_pairs: float = 200.0  # ... with the weight of so many pairs of messages of one cell
    least_rho: float = 0.005  # bounds of the overdispersion
    most_rho: float = 0.5
    young_days: int = 7  # days with mail, and ...
    young_messages: int = 20  # ... messages that a series shows before it is judged

    def level(self, series: int) -> float:
        """The threshold h for an installation with so many series."""
        return self.threshold if self.threshold is not None else self.base + max(0.0, math.log(max(series, 1) / 10))


METHOD = Method()


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is said of each series: arrays with one entry a series; a day that is none is -1.

    `open`: an incident goes on. `since`, `fired` and `cleared` are the event days of the last incident of the replayed
    days, also when it is over: its onset, the day whose evidence crossed `threshold`, and the day that ended it. The
    counts are of the days from `since` on, until `cleared` if it is: messages `failed` of `total`, distinct `reporters`
    that saw failures, event `days` with failures, and `excess`, the failures beyond the usual share. `score` is S after
    the last day, at most `threshold` while open: it ends when S stays below `calm`. `p0` and `rho` are the usual share
    and its overdispersion, `learned` the (decayed) messages they were learned from, `young` means not judged yet.
    """

    open: Bools
    score: Floats
    threshold: Floats
    calm: Floats
    p0: Floats
    rho: Floats
    learned: Floats
    young: Bools
    since: Ints
    fired: Ints
    cleared: Ints
    failed: Ints
    total: Ints
    excess: Floats
    reporters: Ints
    days: Ints


def judge(cells: Cells, series: int, today: int, complete: Bools | None = None, method: Method = METHOD) -> Verdicts:
    """Judge `series` series on the UTC day `today`, of which (and later) nothing is taken: it is not over.

    `complete` says of which event days all usual reports are there, with shape (days,) or (series, days); its last
    entry is yesterday, and days before its first are complete. None: all are.
    """
    walk = _Walk(Days(cells, series, today, method.history, method.replay), complete, method)
    for day in range(method.replay):
        walk.step(day)
    return walk.verdicts(today)


class _Walk:
    """The walk over the replayed days, all series at once. Days here count from the first replayed one."""

    def __init__(self, days: Days, complete: Bools | None, method: Method) -> None:
        self.days, self.m = days, method
        self.offset = days.count - method.replay
        size = days.series_count
        self.h = method.level(size)
        self.growth = 2.0 ** (1.0 / method.half_life)
        self.complete = complete_days(complete, method.replay, size)
        # learned[:, d]: decayed sums of all days before d, in weights of day 0
        self.learned = np.zeros((5, method.replay + 1, size))
        self.unlearned = np.zeros((5, size))  # of these, what incidents had taken part in
        self.upto = np.zeros(size, np.int64)  # days before this one are learned from
        self.s = np.zeros((2, size))
        self.start = np.zeros((2, size), np.int64)
        self.open, self.rate = np.zeros(size, np.bool_), np.zeros(size)
        self.since, self.fired, self.cleared = (np.full(size, ABSENT) for _ in range(3))
        self.calm_days = np.zeros(size, np.int64)
        self.last_failed = np.full(len(days.pair_series), ABSENT)  # by (series, reporter): the last day with failures
        early, later = days.sums[:, : self.offset], days.sums[:, self.offset :]
        self.known_days, self.known = (early[0] > 0).sum(axis=0), early[0].sum(axis=0)
        self.learned[:, 0] = self._before(early)
        # running sums of the replayed days: failed messages, messages, days with failures, reports with failures
        self.running = np.zeros((4, method.replay + 1, size))
        told = days.told[self.offset :]
        np.cumsum(np.stack([later[1], later[0], later[1] > 0, told]), axis=1, out=self.running[:, 1:])

    def _before(self, early: Floats) -> Floats:
        """Decayed sums of the days before the walk; a day teaches no more than the 90th percentile of daily shares."""
        n, f = early[0], early[1]
        with np.errstate(invalid="ignore"):
            shares = np.sort(np.where(n > 0, f / n, np.inf), axis=0)
        if not len(n):
            return np.zeros((5, early.shape[2]))
        rank = np.maximum(np.ceil(0.9 * (n > 0).sum(axis=0)).astype(np.int64) - 1, 0)
        most = np.take_along_axis(shares, rank[None], axis=0)[0]
        weights = self.growth ** np.arange(-len(n), 0)
        out: Floats = np.einsum("kds,d->ks", _capped(early, np.where(np.isfinite(most), most, 0.0)), weights)
        return out

    def _usual(self) -> tuple[Floats, Floats, Floats]:
        """Usual share, overdispersion and messages they come from, of what each series has learned."""
        m, upto = self.m, self.upto
        sums = self.learned[:, upto, np.arange(len(upto))] - self.unlearned
        sums *= self.growth ** -upto.astype(np.float64)
        n, f, ff, nf, nn = np.maximum(sums, 0.0)
        p = (f + m.prior_failed) / (n + m.prior_total)
        spread = (ff - 2 * p * nf + p * p * nn) / (p * (1 - p))
        rho = (spread - n + m.prior_rho * m.prior_pairs) / (np.maximum(nn - n, 0.0) + m.prior_pairs)
        rho = np.clip(rho, m.least_rho, m.most_rho)
        return np.minimum(p, MOST), rho, n

    def _worse(self, p0: Floats) -> Floats:
        """The shares that are tried against the usual one; while open, half of the most that failed since the onset."""
        m = self.m
        small = np.minimum(np.maximum(_times_odds(p0, m.odds), p0 + m.least_rise), MOST)
        large = np.maximum(small, m.total_share)
        still = np.maximum(small, self.rate / 2)
        return np.where(self.open, still, np.stack([small, large]))

    def step(self, day: int) -> None:
        """Take in one event day."""
        m, days = self.m, self.days
        sums = days.sums[:, self.offset + day]
        mail, young = sums[0] > 0, (self.known_days < m.young_days) | (self.known < m.young_messages)
        usual, rho, known = self._usual()
        p0 = np.minimum(usual + m.caution * np.sqrt(usual * (1 - usual) / (known + m.prior_total)), MOST)
        p1 = self._worse(p0)
        before = self.s.copy()
        room = p0 + m.least_rise < MOST  # what fails nearly always can hardly get worse
        self._add(day, mail & ~young & room, p0, p1, rho)
        self.start[:] = np.where((before == 0) & (self.s > 0), day, self.start)
        most = np.where(young, 1.0, p1[0])
        self.learned[:, day + 1] = self.learned[:, day] + self.growth**day * _capped(sums[:, None], most)[:, 0]
        self._fire(day)
        self._clear(day, mail)
        self._worsen(day)
        self.known_days += mail
        self.known += sums[0]
        onset = np.where(self.s > 0, self.start, day + 1).min(axis=0)
        held = np.where(self.open, self.since, np.maximum(onset, day + 1 - m.window))
        self.upto = np.maximum(self.upto, held)

    def _add(self, day: int, judged: Bools, p0: Floats, p1: Floats, rho: Floats) -> None:
        """Add the evidence of the day's cells to S."""
        days = self.days
        self.last_failed[days.pair[days.bad_bounds[day] : days.bad_bounds[day + 1]]] = day
        low, high = days.bounds[day], days.bounds[day + 1]
        series, failed = days.series[low:high], days.failed[low:high]
        # where S is zero, passes alone leave it there
        alive = judged & ((self.s > 0).any(axis=0) | (days.sums[1, self.offset + day] > 0))
        taken = np.flatnonzero(alive[series])
        series, failed, total = series[taken], failed[taken], days.total[low:high][taken]
        weight = mass(rho)
        usual = log_likelihood(series, total, failed, p0, weight)
        part: float | Floats = 1.0 if days.part is None else days.part[low:high][taken]
        for which, clip in enumerate((self.m.clip, self.m.total_clip)):
            evidence = log_likelihood(series, total, failed, p1[which], weight) - usual
            summed = np.bincount(series, np.clip(evidence, -clip * part, clip * part), len(p0))
            self.s[which] = np.maximum(0.0, self.s[which] + summed)
        self.s = np.where(self.open, np.minimum(self.s, self.h), self.s)

    def _fire(self, day: int) -> None:
        """Open an incident where S is above h and what was seen is enough."""
        m = self.m
        above = np.flatnonzero(~self.open & (self.s > self.h).any(axis=0))
        if not len(above):
            return
        which = self.s[:, above].argmax(axis=0)
        onset = self.start[which, above]
        failed, _, _, told = self.running[:, day + 1, above] - self.running[:, onset, above]
        since = np.full(len(self.open), np.iinfo(np.int64).max)
        since[above] = onset
        fresh = self.last_failed >= since[self.days.pair_series]
        reporters = np.bincount(self.days.pair_series[fresh], minlength=len(self.open))[above]
        enough = (failed >= m.least_failed) & ((reporters >= m.least_reporters) | (told > m.least_reports))
        fires, onset = above[enough], onset[enough]
        self.open[fires] = True
        self.since[fires], self.fired[fires], self.cleared[fires] = onset, day, ABSENT
        self.rate[fires] = 0.0
        self.s[:, fires], self.calm_days[fires] = self.h, 0

    def _worsen(self, day: int) -> None:
        """Keep the largest failed share that an open incident had from its onset until any day."""
        going = np.flatnonzero(self.open)
        failed, total = self.running[:2, day + 1, going] - self.running[:2, self.since[going], going]
        self.rate[going] = np.maximum(self.rate[going], failed / total)

    def _clear(self, day: int, mail: Bools) -> None:
        """End the incidents that were calm on enough complete days, or of which nothing more was heard."""
        m, complete = self.m, self.complete[day]
        calm = self.s.max(axis=0) < self.h * m.clear_share
        self.calm_days = np.where(calm, self.calm_days + (mail & complete), 0)
        back = max(0, day + 1 - m.window)
        heard = self.running[0, day + 1] > self.running[0, back]
        over = self.open & complete & ((self.calm_days >= m.clear_days) | ~heard)
        ended = np.flatnonzero(over)
        self.open[ended], self.cleared[ended] = False, day
        self.s[:, ended], self.calm_days[ended], self.upto[ended] = 0.0, 0, day + 1
        self.unlearned[:, ended] += self.learned[:, day + 1, ended] - self.learned[:, self.since[ended], ended]

    def verdicts(self, today: int) -> Verdicts:
        """What is said after the last day."""
        m = self.m
        size = len(self.open)
        p0, rho, learned = self._usual()
        first = today - m.replay
        until = np.where(self.cleared >= 0, self.cleared + 1, m.replay)
        known, every = self.since >= 0, np.arange(size)
        begin = np.maximum(self.since, 0)
        counts = self.running[:, until, every] - self.running[:, begin, every]
        failed, total, bad_days, _ = np.where(known, counts, 0.0)
        return Verdicts(
            open=self.open, score=self.s.max(axis=0), threshold=np.full(size, self.h),
            calm=np.full(size, self.h * m.clear_share), p0=p0, rho=rho, learned=learned,
            young=(self.known_days < m.young_days) | (self.known < m.young_messages),
            since=_named(self.since, first), fired=_named(self.fired, first), cleared=_named(self.cleared, first),
            failed=failed.astype(np.int64), total=total.astype(np.int64),
            excess=np.where(known, failed - p0 * total, 0.0), reporters=self._reporters(begin, until, known),
            days=bad_days.astype(np.int64),
        )  # fmt: skip

    def _reporters(self, begin: Ints, until: Ints, known: Bools) -> Ints:
        """Distinct reporters with failures between two days, by series."""
        days = self.days
        day, series = days.day[days.bad], days.series[days.bad]
        within = known[series] & (day >= begin[series]) & (day < until[series])
        return np.bincount(days.pair_series[np.unique(days.pair[within])], minlength=len(known)).astype(np.int64)


def _times_odds(p: Floats, factor: float) -> Floats:
    """The share whose odds are those of `p` times `factor`."""
    return p * factor / (1 - p + p * factor)


def _capped(sums: Floats, most: Floats) -> Floats:
    """Sums by (day, series) in which no day has a larger failed share than `most`; one message always counts."""
    n, f = sums[0], sums[1]
    by = np.minimum(1.0, np.maximum(1.0, most * n) / np.maximum(f, 1.0))
    out: Floats = sums * np.stack([np.ones_like(by), by, by * by, by, np.ones_like(by)])
    return out


def _named(day: Ints, first: int) -> Ints:
    """Event days since 1970 of days since `first`."""
    return np.where(day >= 0, day + first, ABSENT)
