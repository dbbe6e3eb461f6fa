"""What the judges are given: counts by event day and reporter, and which days are complete."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .likelihood import Bools, Floats, Ints

ABSENT = -1  # a day that is none


@dataclass(frozen=True, slots=True)
class Cells:
    """Counts by (series, event day, reporter): arrays of one length; equal keys may repeat and are summed.

    `series` and `reporter` are codes from 0 on, `day` counts days since 1970 in UTC, `total` is the number of messages
    and `failed` how many of them failed. `part` (0..1) is how much of its reports lies on the day, the same for equal
    keys; None: each cell is of one whole report.
    """

    series: Ints
    day: Ints
    reporter: Ints
    total: Ints
    failed: Ints
    part: Floats | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Raise ValueError for arrays of several lengths, negative codes or counts, or more failed than there were."""
        if len({len(column) for column in (*self._counts(), self.day if self.part is None else self.part)}) != 1:
            raise ValueError("the arrays of cells are of several lengths")
        if len(self.day) and (
            min(self.series.min(), self.reporter.min(), self.failed.min()) < 0 or bool((self.failed > self.total).any())
        ):
            raise ValueError("a cell has a negative code or count, or more failed messages than messages")
        if self.part is not None and len(self.part) and not 0 <= self.part.min() <= self.part.max() <= 1:
            raise ValueError("a cell has less than nothing of a report, or more than all")

    def only(self, mask: Bools) -> Cells:
        """The cells where `mask` holds."""
        part = None if self.part is None else self.part[mask]
        return Cells(*(column[mask] for column in self._counts()), part=part)

    def _counts(self) -> tuple[Ints, ...]:
        return self.series, self.day, self.reporter, self.total, self.failed


class Days:
    """Cells with equal keys summed, sorted by day, and their sums by (day, series)."""

    def __init__(self, cells: Cells, series: int, today: int, history: int, replay: int) -> None:
        self.series_count, self.count = series, history
        if len(cells.series) and int(cells.series.max()) >= series:
            raise ValueError(f"a cell is of series {cells.series.max()}, but there are {series}")
        reporters = int(cells.reporter.max(initial=0)) + 1
        first, replayed = today - history, today - replay
        kept = np.flatnonzero((cells.day >= first) & (cells.day < today))
        all_kept = len(kept) == len(cells.day)
        day, code, reporter, total, failed = (
            x if all_kept else x[kept] for x in (cells.day, cells.series, cells.reporter, cells.total, cells.failed)
        )
        part = cells.part if cells.part is None or all_kept else cells.part[kept]
        at = (day - first) * series + code
        key = at * reporters + reporter
        if not bool((key[1:] > key[:-1]).all()):
            order = np.argsort(key)
            key, at, code, reporter, total, failed = (x[order] for x in (key, at, code, reporter, total, failed))
            part = part if part is None else part[order]
            new = np.flatnonzero(np.diff(key, prepend=key[:1] - 1))
            if len(new) < len(key):
                at, code, reporter = at[new], code[new], reporter[new]
                total, failed = np.add.reduceat(total, new), np.add.reduceat(failed, new)
                part = part if part is None else np.maximum.reduceat(part, new)
        n, f = total.astype(np.float64), failed.astype(np.float64)
        bad = np.flatnonzero(failed)
        shape = (self.count, series)

        def summed(where: Ints, what: Floats) -> Floats:
            return np.bincount(where, what, self.count * series).reshape(shape).astype(np.float64, copy=False)

        # of the cells of each (day, series): messages, failed, and the moments that tell the overdispersion
        self.sums = np.stack(
            [summed(at, n), *(summed(at[bad], x) for x in (f[bad], f[bad] ** 2, n[bad] * f[bad])), summed(at, n * n)]
        )
        # the reports with failures: of each cell the part that lies on its day
        self.told = summed(at[bad], np.ones(len(bad)) if part is None else part[bad])
        # the cells of the replayed days; days count from the first of them
        begin = int(np.searchsorted(at, (replayed - first) * series))
        self.total, self.failed, self.series = n[begin:], f[begin:], code[begin:]
        self.part = part if part is None else part[begin:]
        self.day = at[begin:] // max(series, 1) - (replayed - first)
        self.bounds = np.searchsorted(self.day, np.arange(replay + 1))
        self.bad = np.flatnonzero(self.failed)  # cells with failures, and which pair of series and reporter each is
        named = self.series[self.bad] * reporters + reporter[begin:][self.bad]
        pairs, self.pair = np.unique(named, return_inverse=True)
        self.pair_series = pairs // reporters
        self.bad_bounds = np.searchsorted(self.bad, self.bounds)


def complete_days(complete: Bools | None, days: int, size: int) -> Bools:
    """What `judge` is told of completeness as an array (days, series) of the last `days` days."""
    out = np.ones((days, size), np.bool_)
    if complete is not None and complete.shape[-1]:
        known = np.atleast_2d(complete).T[-days:]
        out[-len(known) :] = known
    return out
