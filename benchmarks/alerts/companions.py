"""The companions of `bbcusum` on the same reports: bursts of unknown sources, and reporters that fall silent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dmarcview.alerts import burst, silence

from .scenarios import Scenario
from .world import DAYS, REPORTERS, WARM, Reports

BASE = 20_000  # day 0 of the simulator, in days since 1970
HOUR = 9  # of the morning on which the companions are asked
EVERY = 7  # silence is asked of one run in so many, one at a time


def bursts(reports: Reports, owners: list[Scenario]) -> tuple[float, float]:
    """False alarms a domain and month, and the share of campaigns found within 3 days; prints them."""
    runs = len(owners)
    onset = np.array([o if s.campaign else DAYS + 99 for s, o in zip(owners, reports.onset, strict=True)])
    before = np.zeros(runs, np.bool_)
    found, false, exposed = np.full(runs, DAYS + 99), 0, 0
    for morning in range(WARM + 1, DAYS + 1):
        here = (reports.arrival <= morning) & (reports.day < morning)
        counts = burst.Counts(reports.run[here], reports.day[here], reports.unknown[here])
        complete = np.arange(morning) <= morning - 3
        # ten domains share an installation, as in the budget of the other rules
        held = burst.judge(counts, runs, morning, complete, burst.Method(chance=burst.METHOD.chance * runs / 10)).open
        starts, quiet = held & ~before, onset >= morning
        false += int((starts & quiet).sum()) * (morning > WARM + 1)
        exposed += int(quiet.sum())
        found = np.where(held & ~quiet & (found > DAYS), morning, found)
        before = held
    campaigns = onset < DAYS
    delay = (found - onset)[campaigns]
    rate, share = false / exposed * 30, float((delay <= 3).mean())
    print(
        f"bursts of unknown sources: {rate:.3f} false alarms a domain and month; of {campaigns.sum()} campaigns "
        f"{share:.0%} found within 3 days (median {np.median(delay):.0f})"
    )
    return rate, share


def silences(reports: Reports, owners: list[Scenario]) -> tuple[float, float]:
    """False alarms a reporter and month, and the share of outages found within 10 days; prints them.

    Three reports must be missed beyond the reporter's own 99th percentile of lateness, which here is three to six days.

    An outage that is shorter than the habit of a reporter that skips days is not to be found: the tiny domains.
    """
    false, exposed, delays = 0, 0, {False: [], True: []}
    for run in range(0, len(owners), EVERY):
        scenario, onset = owners[run], int(reports.onset[run])
        mine = reports.run == run
        told = silence.Arrivals(
            reports.reporter[mine], reports.day[mine] + BASE, (reports.arrival[mine] + BASE) * 86_400 + 3_600
        )
        out: npt.NDArray[np.bool_] = np.zeros((DAYS - WARM, REPORTERS), np.bool_)
        for place, morning in enumerate(range(WARM + 1, DAYS + 1)):
            out[place] = silence.judge(told, REPORTERS, (morning + BASE) * 86_400 + HOUR * 3_600).silent
        starts = out[1:] & ~out[:-1]
        # a late batch is silence while it lasts
        real = (np.arange(REPORTERS) < scenario.silent) | bool(scenario.late)
        false += int(starts[:, ~real].sum())
        exposed += int((~real).sum()) * len(starts)
        if scenario.silent:
            since = out[onset - WARM :, 0]
            delays[scenario.world.name == "tiny"].append(int(since.argmax()) + 1 if since.any() else DAYS)
    rate = false / exposed * 30
    found = {tiny: float((np.array(days) <= 10).mean()) for tiny, days in delays.items()}
    large, tiny = delays[False], delays[True]
    print(f"silent reporters: {rate:.3f} false alarms a reporter and month; of {len(large)} outages of the largest one")
    print(f"  {found[False]:.0%} found within 10 days (median {np.median(large):.0f}); at tiny domains, where it skips")
    print(f"  some days anyway, {found[True]:.0%} of {len(tiny)}")
    return rate, found[False]
