"""Usual reporters that fell silent: overdue beyond their own lateness, with at least three reports missed.

A reporter's habit is learned from its own days: on which weekdays it reports, how often it leaves days out, how late it
comes. Days after its newest report count as missed once they are later than its 99th percentile, each with the chance
that a report was due at all; a day on which the other reporters are silent too counts less, because then there was no
mail to report on. A reporter is such company once it has the history that is asked of a silent one, so that one
stranger, who is one reporter, hides no silence. That all of them are silent is a verdict of its own (`everyone`):
intake or `rua=` is broken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from .cells import ABSENT
from .likelihood import Bools, Floats, Ints

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Reports: arrays of one length, in any order; the same reporter and day may repeat.

    `reporter` are codes from 0 on, `day` the event day (since 1970, UTC), `arrived` the second of arrival (since 1970),
    or -1 where it says nothing of lateness: an import of old files.
    """

    reporter: Ints
    day: Ints
    arrived: Ints

    def __post_init__(self) -> None:
        """Raise ValueError for arrays of several lengths or a negative reporter."""
        if len({len(getattr(self, field.name)) for field in fields(self)}) != 1:
            raise ValueError("the arrays of arrivals are of several lengths")
        if len(self.reporter) and self.reporter.min() < 0:
            raise ValueError("an arrival has a negative reporter")


@dataclass(frozen=True, slots=True)
class Method:
    """The parameters."""

    history: int = 90  # event days before `now` that are looked at
    young_reports: int = 8  # days with a report, and ...
    young_days: int = 28  # ... days from the first to the newest of them, before a reporter is usual
    least_missed: float = 2.8  # reports missed, each weighed by the chance that it was due: three, as none is certain
    chance: float = 1e-3  # how unlikely so many missed ones must be, by the reporter's habit
    percentile: float = 0.99  # of lateness, beyond which a report is overdue
    unknown_lateness: int = 2 * DAY  # seconds, where no arrival told any
    grace: int = 6 * 3_600  # seconds added to it: nothing is as late as what is still to come
    company: int = 3  # other usual reporters without which nobody tells whether there was mail


METHOD = Method()


@dataclass(frozen=True, slots=True)
class Silences:
    """What is said of each reporter: arrays with one entry a reporter; a day that is none is -1.

    `silent`: overdue as above. `last` is the newest event day with a report, `overdue` the days after it that should be
    there by now, `missed` the reports that were expected of these, `lateness` the seconds after the end of a day within
    which its reports usually come, `share` the share of days it reports on, `usual` whether it is known well enough to
    be missed. `everyone` is the same, of all reporters as if they were one: `last_of_all` the newest day of any.
    """

    silent: Bools
    usual: Bools
    last: Ints
    overdue: Ints
    missed: Floats
    lateness: Ints
    share: Floats
    everyone: bool
    last_of_all: int


def judge(arrivals: Arrivals, reporters: int, now: int, method: Method = METHOD) -> Silences:
    """Judge `reporters` reporters at the second `now`; arrivals after it and days that are not over are left out."""
    today = now // DAY
    first_day = today - method.history
    kept = (arrivals.day >= first_day) & (arrivals.day < today) & (arrivals.arrived <= now)
    taken = Arrivals(arrivals.reporter[kept], arrivals.day[kept], arrivals.arrived[kept])
    if len(taken.reporter) and int(taken.reporter.max()) >= reporters:
        raise ValueError(f"an arrival is of reporter {taken.reporter.max()}, but there are {reporters}")
    each = _habits(taken, reporters, now, method)
    whole = _habits(Arrivals(np.zeros_like(taken.reporter), taken.day, taken.arrived), 1, now, method)
    missed, chance = _missed(each, int(each.usual.sum()) > method.company)
    whole_missed, whole_chance = _missed(whole, False)
    return Silences(
        silent=_silent(each, missed, chance, method), usual=each.usual, last=_named(each.last, first_day),
        overdue=each.overdue().sum(axis=1), missed=missed, lateness=each.late, share=each.share,
        everyone=bool(_silent(whole, whole_missed, whole_chance, method)[0]),
        last_of_all=int(_named(whole.last, first_day)[0]),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Habits:
    """By reporter, or by (reporter, day): `seen`, `over` (should be there by now), `due` (chance that it was due)."""

    late: Ints
    usual: Bools
    last: Ints
    longest: Ints
    share: Floats
    seen: Bools
    over: Bools
    due: Floats

    def overdue(self) -> Bools:
        """The days after the newest report that should be there by now."""
        out: Bools = self.over & (np.arange(self.over.shape[1]) > self.last[:, None]) & (self.last[:, None] >= 0)
        return out


def _lateness(arrivals: Arrivals, reporters: int, method: Method) -> Ints:
    """Seconds after the end of a day within which a reporter's first report of it usually comes."""
    told = arrivals.arrived >= 0
    reporter, day = arrivals.reporter[told], arrivals.day[told]
    late = np.maximum(arrivals.arrived[told] - (day + 1) * DAY, 0)
    order = np.lexsort((late, day, reporter))
    reporter, day, late = reporter[order], day[order], late[order]
    first = np.ones(len(day), np.bool_)
    first[1:] = (reporter[1:] != reporter[:-1]) | (day[1:] != day[:-1])
    reporter, late = reporter[first], late[first]
    order = np.lexsort((late, reporter))
    counts = np.bincount(reporter, minlength=reporters)
    rank = np.cumsum(counts) - counts + np.maximum(np.ceil(method.percentile * counts).astype(np.int64) - 1, 0)
    out = np.full(reporters, method.unknown_lateness)
    out[counts > 0] = late[order][rank[counts > 0]]
    return out + method.grace


def _habits(arrivals: Arrivals, reporters: int, now: int, method: Method) -> _Habits:
    """What is usual of each reporter."""
    first_day = now // DAY - method.history
    late = _lateness(arrivals, reporters, method)
    days = np.arange(method.history)
    seen = np.zeros((reporters, method.history), np.bool_)
    seen[arrivals.reporter, arrivals.day - first_day] = True
    some = seen.sum(axis=1) > 0
    first = np.where(some, seen.argmax(axis=1), method.history)
    last = np.where(some, method.history - 1 - seen[:, ::-1].argmax(axis=1), ABSENT)
    within = (days >= first[:, None]) & (days <= last[:, None])
    usual = (seen.sum(axis=1) >= method.young_reports) & (last - first >= method.young_days)
    share = (seen.sum(axis=1) + 0.5) / (within.sum(axis=1) + 1.0)
    due = np.zeros(seen.shape)
    for weekday in range(7):
        on = (days + first_day) % 7 == weekday
        told = (seen[:, on].sum(axis=1) + 2 * share) / (within[:, on].sum(axis=1) + 2)
        due[:, on] = told[:, None]
    row, at = np.nonzero(seen)
    alike = row[1:] == row[:-1]
    longest = np.zeros(reporters, np.int64)
    np.maximum.at(longest, row[1:][alike], np.diff(at)[alike])
    over = (first_day + days + 1) * DAY + late[:, None] <= now
    return _Habits(late, usual, last, longest, np.where(some, share, 0.0), seen, over, due)


def _missed(habits: _Habits, company: bool) -> tuple[Floats, Floats]:
    """Reports expected of the overdue days, and the logarithm of the chance that none came."""
    due = habits.due
    if company:
        counted = habits.usual[:, None] & habits.over
        came, expected = counted & habits.seen, np.where(counted, due, 0.0)
        came_of_others, expected_of_others = came.sum(axis=0) - came, expected.sum(axis=0) - expected
        due = due * np.minimum(1.0, (came_of_others + 0.5) / (expected_of_others + 0.5))
    due = np.where(habits.overdue(), due, 0.0)
    return due.sum(axis=1), np.log1p(-np.minimum(due, 0.999)).sum(axis=1)


def _silent(habits: _Habits, missed: Floats, chance: Floats, method: Method) -> Bools:
    """Missed enough, unlikely enough, and longer than ever before."""
    long = habits.overdue().sum(axis=1) >= habits.longest
    out: Bools = habits.usual & long & (missed >= method.least_missed) & (chance <= math.log(method.chance))
    return out


def _named(day: Ints, first_day: int) -> Ints:
    """Event days since 1970 of days since the first one looked at."""
    return np.where(day >= 0, day + first_day, ABSENT)
