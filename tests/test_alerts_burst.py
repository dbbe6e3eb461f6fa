"""Bursts of unknown sources: what a weekday and 28 days explain is none, and nothing but the counts decides."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview.alerts.burst import Bursts, Counts, judge
from dmarcview.alerts.likelihood import log_binomial_tail

TODAY = 20_500
Row = tuple[int, int, int]  # series, days before today, messages


def asked(rows: Iterable[Row], series: int = 1, complete: np.ndarray | None = None) -> Bursts:
    columns = np.array(list(rows), np.int64).reshape(-1, 3).T
    return judge(Counts(columns[0], TODAY - columns[1], columns[2]), series, TODAY, complete)


def noise(seed: int, *, series: int = 0, mean: float = 6, days: int = 90) -> list[Row]:
    """Counts that differ by the day and have quiet weekends."""
    rng = np.random.default_rng(seed)
    even = rng.gamma(2, 0.5, days) * np.where(np.arange(days) % 7 < 2, 0.4, 1.2)
    return [(series, day, int(count)) for day, count in zip(range(1, days + 1), rng.poisson(mean * even), strict=True)]


def test_the_tail_is_that_of_the_sum() -> None:
    mean, spread, count = 4.0, 0.5, 9
    size = 1 / spread
    below = sum(
        math.exp(
            math.lgamma(k + size) - math.lgamma(size) - math.lgamma(k + 1)
            + size * math.log(size / (mean + size)) + k * math.log(mean / (mean + size))
        )
        for k in range(count)
    )  # fmt: skip
    got = log_binomial_tail(np.array([float(count)]), np.array([mean]), np.array([spread]))
    assert got[0] == pytest.approx(math.log(1 - below))
    assert log_binomial_tail(np.array([5e6]), np.array([10.0]), np.array([0.1]))[0] < -1_000


def test_ordinary_days_are_no_burst() -> None:
    rows = [row for series in range(200) for row in noise(series, series=series)]
    assert asked(rows, 200).open.sum() == 0


def test_a_campaign_is_a_burst_with_its_counts() -> None:
    said = asked([*noise(1)[2:], (0, 2, 300), (0, 1, 500)])
    assert said.open[0]
    assert (TODAY - said.since[0], said.total[0], said.peak[0]) == (2, 800, 500)
    assert said.expected[0] < 30
    assert said.chance[0] < math.log(1e-6)


def test_the_first_mail_ever_of_an_unknown_source_may_be_a_burst() -> None:
    said = asked([*((0, day, 0) for day in (40, 9)), (0, 1, 60)])
    assert said.open[0]
    assert not asked([*((0, day, 0) for day in (8, 5)), (0, 1, 60)]).open[0]  # a young domain


def test_a_burst_ends_on_the_second_calm_and_complete_day() -> None:
    rows = [*noise(1)[5:], (0, 5, 300), (0, 4, 300), (0, 3, 4), (0, 2, 5), (0, 1, 3)]
    said = asked(rows)
    assert (bool(said.open[0]), TODAY - said.since[0], TODAY - said.cleared[0]) == (False, 5, 2)
    assert asked(rows, complete=np.zeros(4, bool)).open[0]


def test_an_incomplete_day_fires_but_teaches_nothing() -> None:
    assert asked([*noise(1)[1:], (0, 1, 400)], complete=np.array([False])).open[0]
    partial = np.zeros(20, bool)
    usual = [(0, day, 40) for day in range(21, 90)]
    assert asked([*usual, *((0, day, 1) for day in range(1, 21))], complete=partial).mean[0] == pytest.approx(40, 0.05)


def test_what_lasts_is_how_things_are() -> None:
    said = asked([*noise(1)[25:], *((0, day, 300) for day in range(1, 26))])
    assert (bool(said.open[0]), said.cleared[0]) == (False, -1)
    assert asked([*noise(1)[10:], *((0, day, 300) for day in range(1, 11))]).open[0]


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        asked([(0, 1, -1)])
    with pytest.raises(ValueError, match="series 4"):
        asked([(4, 1, 1)], 2)
    with pytest.raises(ValueError, match="lengths"):
        Counts(np.zeros(1, np.int64), np.zeros(2, np.int64), np.zeros(1, np.int64))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_order_and_splitting_of_counts_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [*noise(seed), *((0, int(day), 200) for day in rng.integers(1, 30, 3)), *noise(seed + 1, series=1)]
    split = [part for s, d, n in rows for k in (int(rng.integers(0, n + 1)),) for part in ((s, d, k), (s, d, n - k))]
    one, other = asked(rows, 2), asked([split[place] for place in rng.permutation(len(split))], 2)
    for field in fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)
