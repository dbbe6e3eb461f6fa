"""Notebook 08: how many false alarms a threshold costs, how long it takes, and which to choose for your budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dmarcview.alerts.backtest import Backtest
from dmarcview.alerts.cusum import METHOD, Cells, Method, judge

from . import charts

TODAY = 20_000  # any day; the simulated ones end before it
MONTH = 30.4
SHARES = np.array([0.42, 0.19, 0.15, 0.11, 0.07, 0.04, 0.02])  # of the mail, by reporter
LATE = np.array([0.70, 0.22, 0.05, 0.02, 0.01])  # chance that a report comes so many days after the next midnight
WEEK = np.array([1.1, 1.15, 1.1, 1.1, 0.95, 0.35, 0.25])
WALKED = 98  # days that are judged, all in one walk
LEARNED = 42  # days before them
FOUND_WITHIN = 14  # days in which a fault counts as found
FAULT_DAYS = 21
STEP = 21  # days that one walk goes day by day


@dataclass(frozen=True, slots=True)
class World:
    """Mail of many alike series: `mail` a day, a usual failing share, its overdispersion, and what a fault adds.

    `lumps` is the chance of a day on which a forwarder that nobody knows fails a tenth of a day's mail.
    """

    mail: float = 30.0
    usual: float = 0.03
    rho: float = 0.03
    fault: float = 0.30
    lumps: float = 0.05
    series: int = 120
    seed: int = 7489


@dataclass(frozen=True, slots=True)
class Simulated:
    """Cells with the day on which each is reported; a fault of every series begins on day `onset`, if there is one."""

    cells: Cells
    known: np.ndarray
    onset: int | None


def simulate(world: World, *, faulty: bool) -> Simulated:
    """Seeded mail of LEARNED + WALKED days before TODAY; a fault, if any, in the last FAULT_DAYS. Pure."""
    rng = np.random.default_rng([world.seed, int(faulty)])
    days, reporters = LEARNED + WALKED, len(SHARES)
    shape = (world.series, days, reporters)
    level = world.mail * WEEK[np.arange(days) % 7] * rng.lognormal(0, 0.25, (world.series, days))
    total = rng.poisson(level[:, :, None] * SHARES)
    share = np.full((world.series, days), world.usual)
    onset = TODAY - FAULT_DAYS if faulty else None
    if faulty:
        share[:, days - FAULT_DAYS :] = min(world.usual + world.fault, 1.0)
    weight = 1 / world.rho - 1
    drawn = np.broadcast_to(np.clip(share, 1e-6, 1 - 1e-6)[:, :, None], shape)
    failed = rng.binomial(total, rng.beta(drawn * weight, (1 - drawn) * weight))
    lump = rng.random((world.series, days)) < world.lumps
    who = rng.choice(reporters, size=(world.series, days), p=SHARES)
    extra = rng.poisson(0.1 * world.mail, (world.series, days)) * lump
    places = np.indices((world.series, days))
    total[places[0], places[1], who] += extra
    failed[places[0], places[1], who] += extra
    late = rng.choice(len(LATE), size=shape, p=LATE)
    series, day, reporter = np.nonzero(total)
    number = TODAY - days + day
    found = (total[series, day, reporter], failed[series, day, reporter])
    cells = Cells(*(column.astype(np.int64) for column in (series, number, reporter, *found)))
    return Simulated(cells, number + 1 + late[series, day, reporter], onset)


def curve(world: World, thresholds: Sequence[float]) -> pd.DataFrame:
    """One row a threshold h: what it costs and what it finds.

    Columns: threshold; false_alarms (by series and month, of series without a fault); found (share of faults that are
    known within FOUND_WITHIN days); delay (median days from the onset until it is known, of those found), of these
    decision (until the evidence was enough) and reports (until it had come).
    """
    sick = simulate(world, faulty=True)
    assert sick.onset is not None
    months = WALKED / MONTH
    rows = []
    for threshold in thresholds:
        method = replace(METHOD, threshold=float(threshold), history=LEARNED + WALKED, replay=STEP)
        known = _known(sick, world.series, method)
        final = judge(sick.cells, world.series, sick.onset + FOUND_WITHIN, method=method)
        hit = known > 0
        delay = known[hit] - sick.onset
        enough = np.clip(final.fired[hit] - sick.onset, 0, delay)
        rows.append(
            (float(threshold), _incidents(replace(world, fault=0.0), method) / (world.series * months),
             float(hit.sum() / max((known >= 0).sum(), 1)),
             *((float(np.median(part)) if hit.any() else float("nan")) for part in (delay, enough, delay - enough)))
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["threshold", "false_alarms", "found", "delay", "decision", "reports"])


def choose(curve: pd.DataFrame, budget: float, series: float) -> float | None:
    """The lowest threshold whose false alarms are within `budget` a domain and month; None: none of these is.

    `series` are the series of a domain: each of them can raise a false alarm, so this is on the safe side.
    """
    good = curve[curve["false_alarms"] * series <= budget]
    return None if good.empty else float(good["threshold"].min())


def lived(backtest: Backtest) -> pd.DataFrame:
    """What thresholds would have said of the store's past: threshold, incidents, by_domain_month, delay, used."""
    return pd.DataFrame([line._asdict() for line in backtest.lines])


def alarms(backtest: Backtest) -> pd.DataFrame:
    """The incidents that the threshold in use would have opened: on, since, kind, domain, cause."""
    return pd.DataFrame([one._asdict() for one in backtest.incidents], columns=["on", "since", "kind", "domain",
                                                                                  "cause"])  # fmt: skip


def picture(curves: dict[str, pd.DataFrame], used: float) -> go.Figure:
    """False alarms against delay, a line a world; each dot is a threshold. Left and low is good."""
    figure = charts.blank("False alarms against delay: each dot is a threshold h, the ring is the one in use",
                          x="Median days until a fault is known", y="False alarms a series and month")  # fmt: skip
    colours = (charts.BLUE, charts.ORANGE, charts.GREEN, charts.PINK)
    for place, (name, curve) in enumerate(curves.items()):
        colour = colours[place % len(colours)]
        near = (curve["threshold"] - used).abs()
        figure.add_scatter(
            x=curve["delay"], y=curve["false_alarms"], name=name, mode="lines+markers",
            line={"color": colour, "dash": ("solid", "dash", "dot", "dashdot")[place % 4]},
            marker={"size": [14 if one == near.min() else 7 for one in near],
                    "symbol": ["circle-open" if one == near.min() else "circle" for one in near]},
            customdata=[[f"{row.threshold:g}", f"{row.found:.0%}"] for row in curve.itertuples()],
            hovertemplate="h=%{customdata[0]}: %{y:.3f} false alarms, %{x} days, %{customdata[1]} found",
        )  # fmt: skip
    return figure.update_yaxes(rangemode="tozero")


def _known(sick: Simulated, series: int, method: Method) -> np.ndarray:
    """The day on which the fault of each series is known; 0: not found; -1: an incident went on before."""
    assert sick.onset is not None
    before = judge(sick.cells.only(sick.known <= sick.onset), series, sick.onset, method=method)
    known = np.where(before.open, -1, 0)
    for day in range(sick.onset + 1, sick.onset + FOUND_WITHIN + 1):
        said = judge(sick.cells.only(sick.known <= day), series, day, method=method)
        known[said.open & (known == 0)] = day
        if known.all():
            break
    return known


@lru_cache(maxsize=64)  # worlds that differ in their fault alone are alike without it
def _incidents(world: World, method: Method) -> int:
    """Distinct incidents over the walked days: a walk tells the last one of each series, so there are several walks."""
    calm = simulate(world, faulty=False)
    seen: set[tuple[int, int]] = set()
    for today in range(TODAY - WALKED + STEP // 2, TODAY + 1, STEP // 2):
        said = judge(calm.cells.only(calm.cells.day < today), world.series, today, method=method)
        seen |= {(int(one), int(said.since[one])) for one in np.flatnonzero(said.fired >= TODAY - WALKED)}
    return len(seen)
