"""How long 10,000 series take to be judged."""

from __future__ import annotations

import time

import numpy as np

from dmarcview.alerts.cusum import METHOD, Cells, judge

SERIES, REPORTERS = 10_000, 10
WANTED = 1.0  # seconds


def measure() -> float:
    """Seconds of the best of three; prints them."""
    rng = np.random.default_rng(1)
    volume = np.minimum(rng.lognormal(2.0, 1.5, SERIES), 5_000)  # half below 7 a day, few large ones
    size = 1 / np.arange(1, REPORTERS + 1)
    mean = volume[None, :, None] * (size / size.sum())
    total = rng.poisson(mean, (METHOD.history, SERIES, REPORTERS))
    failed = rng.binomial(total, rng.beta(0.03 * 30, 0.97 * 30, total.shape))
    day, series, reporter = np.nonzero(total)
    at = (day, series, reporter)
    part = np.where(reporter % 5 == 4, 0.5, 1.0)  # reports of some reporters straddle midnight
    cells = Cells(series, day + 20_000, reporter, total[at], failed[at], part=part)
    best, cpu = float("inf"), float("inf")
    for _ in range(3):
        wall, used = time.perf_counter(), time.process_time()
        judge(cells, SERIES, 20_000 + METHOD.history)
        best, cpu = min(best, time.perf_counter() - wall), min(cpu, time.process_time() - used)
    print(
        f"{SERIES:,} series, {len(day):,} cells of {METHOD.history} days: judged in {best:.2f} s ({cpu:.2f} s of CPU)"
    )
    return cpu
