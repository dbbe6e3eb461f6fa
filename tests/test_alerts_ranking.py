"""The ranking of days: chances are those of the sums, and among days by chance few are chosen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dmarcview.alerts.ranking import false_discovery, log_tail, rank


def summed(total: int, failed: int, p: float, rho: float) -> float:
    weight = 1 / rho - 1
    a, b = p * weight, (1 - p) * weight
    beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(weight)
    return sum(
        math.comb(total, k)
        * math.exp(math.lgamma(k + a) + math.lgamma(total - k + b) - math.lgamma(total + weight) - beta)
        for k in range(failed, total + 1)
    )


@pytest.mark.parametrize(("total", "failed"), [(1, 1), (5, 5), (40, 7), (64, 64), (400, 45), (900, 30)])
def test_the_chance_is_that_of_the_sum(total: int, failed: int) -> None:
    got = log_tail(*(np.array([float(x)]) for x in (total, failed, 0.05, 0.02)))[0]
    close = 1e-6 if total <= 64 else 0.35  # above, a Beta stands for it
    assert got == pytest.approx(math.log(summed(total, failed, 0.05, 0.02)), abs=close)


def test_no_failure_is_no_surprise() -> None:
    assert log_tail(np.array([500.0]), np.array([0.0]), np.array([0.1]), np.array([0.02]))[0] == 0


def test_benjamini_and_hochberg_choose_as_in_their_paper() -> None:
    # the fifteen p-values of their section 4.1: four are rejected at 0.05
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1,
    ]
    assert false_discovery(np.log(p), 0.05).tolist() == [True] * 4 + [False] * 11


def test_what_stands_out_comes_by_its_volume() -> None:
    total, failed = np.array([50, 5_000, 20, 50]), np.array([40, 1_500, 1, 2])
    ranked = rank(total, failed, np.full(4, 0.02), np.full(4, 0.02))
    assert ranked.order.tolist() == [1, 0]
    assert ranked.excess[1] == pytest.approx(1_400)


def test_among_days_by_chance_few_are_chosen() -> None:
    rng = np.random.default_rng(4)
    total = rng.integers(1, 400, 5_000)
    failed = rng.binomial(total, rng.beta(0.05 * 49, 0.95 * 49, 5_000))
    assert rank(total, failed, np.full(5_000, 0.05), np.full(5_000, 0.02)).chosen.sum() <= 3


def test_arrays_of_several_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="lengths"):
        rank(np.ones(2, np.int64), np.ones(1, np.int64), np.ones(2), np.ones(2))
