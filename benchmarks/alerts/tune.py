"""Parameters of `bbcusum` tried on the tuning half, one table: from it the defaults were chosen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from dmarcview.alerts.cusum import METHOD

from .rules import Mornings, alarms, ours
from .scenarios import Scenario, load
from .score import Score, Truth, score, truth
from .world import simulate

# tried in every combination; what is not named stays at its default
GRID: dict[str, tuple[Any, ...]] = {
    "threshold": (7.0, 8.0),
    "clip": (2.5, 3.0, 4.0),
    "total_clip": (3.0, 4.0),
    "odds": (4.0, 6.0, 8.0),
    "least_failed": (3, 4),
}
# tried one by one, the others at their defaults
ALONE: dict[str, tuple[Any, ...]] = {
    "threshold": (5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.6),
    "clip": (2.0, 2.5, 3.0, 4.0, 50.0),
    "total_clip": (3.0, 4.0, 5.0),
    "odds": (3.0, 4.0, 6.0, 8.0),
    "least_rise": (0.06, 0.08, 0.10, 0.15),
    "total_share": (0.0, 0.5, 0.9),
    "least_failed": (2, 3, 4, 6),
    "least_reporters": (1, 3),
    "caution": (0.0, 1.0),
    "prior_rho": (0.005, 0.05),
    "half_life": (10.0, 40.0),
    "replay": (28,),
}


@dataclass(frozen=True, slots=True)
class Tried:
    """What the parameters `given` scored: over everything, and for the two requirements."""

    given: dict[str, Any]
    whole: Score
    worst: float  # false alarms of the worst world
    total_failure: Score
    any_hour: Score
    ten_points: Score


def combinations() -> Iterator[dict[str, Any]]:
    """Every combination of GRID."""
    for values in product(*GRID.values()):
        yield dict(zip(GRID, values, strict=True))


def one_by_one() -> Iterator[dict[str, Any]]:
    """The defaults with one parameter changed."""
    for name, values in ALONE.items():
        for value in values:
            yield {name: value}


def named(owners: list[Scenario], start: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Runs of the scenarios whose name starts so."""
    return np.array([run for run, s in enumerate(owners) if s.name.startswith(start)])


_world: tuple[Mornings, Truth, list[Scenario]]


def _draw(runs: int) -> None:
    global _world  # noqa: PLW0603 - each process draws the reports once
    reports, owners = simulate(load("tuning"), runs)
    _world = Mornings.of(reports, len(owners)), truth(reports, owners), owners


def _try(given: dict[str, Any]) -> Tried:
    mornings, true, owners = _world
    seen = alarms(mornings, {"x": ours(replace(METHOD, **given))})["x"]
    worlds = {s.world.name for s in owners}
    worst = max(
        score(seen, true, np.array([run for run, s in enumerate(owners) if s.world.name == name])).false_alarms
        for name in worlds
    )
    return Tried(
        given, score(seen, true, np.arange(len(owners))), worst,
        *(score(seen, true, named(owners, start)) for start in ("total failure", "the same at", "+10 points")),
    )  # fmt: skip


def tune(runs: int, grid: bool) -> int:
    """Print the table; the tuning half only."""
    print(f"tuning half, {runs} runs a scenario and world; defaults: {METHOD}")
    print("  false   worst | found within      | total failure found   | +10   | decision | messages | parameters")
    print("  alarms  world | 1 d   3 d   7 d   | by 2nd rep.  any hour | 7 d   | delay    |          |")
    with ProcessPoolExecutor(os.cpu_count(), initializer=_draw, initargs=(runs,)) as pool:
        for t in pool.map(_try, combinations() if grid else one_by_one()):
            w, total, any_hour, ten = t.whole, t.total_failure, t.any_hour, t.ten_points
            print(
                f"  {w.false_alarms:6.3f} {t.worst:6.3f}  | {w.within[0]:.2f}  {w.within[1]:.2f}  {w.within[2]:.2f}  "
                f"| {total.second_report:11.2f} {any_hour.second_report:9.2f} | {ten.within[2]:.2f}  "
                f"| {w.decision_delay:8.1f} | {w.messages:8.2f} | "
                + ", ".join(f"{name} {value}" for name, value in t.given.items()),
                flush=True,
            )
    return 0
