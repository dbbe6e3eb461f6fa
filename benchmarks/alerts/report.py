"""The tables of `make bench-alerts`, and what must be true of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .rules import OURS, STRICT
from .scenarios import Scenario
from .score import HITS, Score, Truth, score

Bools = npt.NDArray[np.bool_]
FALSE_ALARMS = 0.1  # a domain and month, at most
FOUND = 0.95  # share of faults that must be found in time
SHORT = 0.03  # of the faults: what ours may find less within 7 days than a peer, if it is said
TOTAL, TEN = "total failure, 5 a day", "+10 points, 30 a day"


@dataclass(frozen=True, slots=True)
class Must:
    """One requirement with what was measured."""

    says: str
    measured: str
    holds: bool


def runs_of(owners: list[Scenario], *, scenario: str | None = None, world: str | None = None) -> npt.NDArray[np.int64]:
    """The runs of a scenario, of a world, or all."""
    return np.array(
        [run for run, s in enumerate(owners) if scenario in (None, s.name) and world in (None, s.world.name)], np.int64
    )


def overall(alarms: Mapping[str, Bools], true: Truth, owners: list[Scenario]) -> dict[str, Score]:
    """Each rule over all runs; prints the table."""
    out = {name: score(held, true, runs_of(owners)) for name, held in alarms.items()}
    print(f"{'rule':<20} | false alarms | found within      | 7 d, if   | days to find (median)   | messages")
    print(f"{'':<20} | domain-month | 1 d   3 d   7 d   | no fault  | all = report + decision | a fault")
    for name, s in out.items():
        print(
            f"{name:<20} | {s.false_alarms:12.3f} | {s.within[0]:4.0%}  {s.within[1]:4.0%}  {s.within[2]:4.0%}  "
            f"| {s.chance:8.0%}  | {s.delay:3.0f} = {s.report_delay:6.0f} + {s.decision_delay:8.0f} | {s.messages:.2f}"
        )
    print("7 d, if no fault: domains without a fault on which the rule holds in the week where one would be found,")
    print("so this part of what a rule finds it finds by chance.")
    return out


def by_scenario(alarms: Mapping[str, Bools], true: Truth, owners: list[Scenario]) -> None:
    """For each fault the share found within 3 and 7 days, for each other scenario the false alarms."""
    names = list(dict.fromkeys(s.name for s in owners))
    faults = {s.name for s in owners if HITS[s.fails]}
    head = "".join(f"{name.replace(' points', '').replace('bbcusum, ', ''):>13}" for name in alarms)
    print(f"\nfound within 3 / 7 days{'':<13}{head}")
    for name in (name for name in names if name in faults):
        each = [score(held, true, runs_of(owners, scenario=name)) for held in alarms.values()]
        print(f"  {name:<34}" + "".join(f"{f'{s.within[1]:.0%} / {s.within[2]:.0%}':>13}" for s in each))
    print(f"\nfalse alarms, domain and month{'':<6}{head}")
    for name in (name for name in names if name not in faults):
        each = [score(held, true, runs_of(owners, scenario=name)) for held in alarms.values()]
        print(f"  {name:<34}" + "".join(f"{s.false_alarms:>20.3f}" for s in each))
    for world in dict.fromkeys(s.world.name for s in owners):
        each = [score(held, true, runs_of(owners, world=world)) for held in alarms.values()]
        print(f"  {f'all, domains called {world}':<34}" + "".join(f"{s.false_alarms:>20.3f}" for s in each))


def beside_peers(scores: Mapping[str, Score]) -> list[Must]:
    """Against each peer: fewer false alarms at as good a detection, by ours as it is or with a higher threshold.

    Where a peer finds more within 1, 3 or 7 days, the table says so. A miss is a peer with fewer false alarms, or one
    that finds more than SHORT more within 7 days.
    """
    print("\nbeside ours          false alarms      where ours is worse")
    out = []
    for name, s in scores.items():
        if name in (OURS, STRICT):
            continue
        own = scores[OURS]
        worse = [
            f"finds {theirs - mine:.0%} less within {days} d"
            for days, mine, theirs in zip((1, 3, 7), own.within, s.within, strict=True)
            if theirs >= mine + 0.005
        ]
        worse += [f"{own.false_alarms:.3f} false alarms beside {s.false_alarms:.3f}"] * (
            own.false_alarms > s.false_alarms
        )
        times = f"{s.false_alarms / max(own.false_alarms, 1e-9):.1f} times ours"
        print(f"  {name:<18} {times:<17} {'; '.join(worse) or 'nowhere'}")
        better = [
            rule for rule in (OURS, STRICT)
            if scores[rule].false_alarms < s.false_alarms and scores[rule].within[2] >= s.within[2] - SHORT
        ]  # fmt: skip
        by = scores[better[0]] if better else own
        out.append(
            Must(f"fewer false alarms than {name}, at as many found within 7 days or up to {SHORT:.0%} less",
                 f"{by.false_alarms:.3f} and {by.within[2]:.0%} beside {s.false_alarms:.3f} and {s.within[2]:.0%}"
                 + f" ({better[0] if better else 'by neither of ours'})",
                 bool(better))
        )  # fmt: skip
    return out


def musts(held: Bools, true: Truth, owners: list[Scenario]) -> list[Must]:
    """What the held-out half must show of our rule."""
    whole = score(held, true, runs_of(owners))
    total = score(held, true, runs_of(owners, scenario=TOTAL))
    ten = score(held, true, runs_of(owners, scenario=TEN))
    return [
        Must(f"false alarms a domain and month: {FALSE_ALARMS} at most", f"{whole.false_alarms:.3f}",
             whole.false_alarms <= FALSE_ALARMS),
        Must(f"total failure of 5 mails a day found on the first or second report day: {FOUND:.0%}",
             f"{total.second_report:.1%} of {total.faults}", total.second_report >= FOUND),
        Must(f"+10 points on 30 mails a day found within 7 days: {FOUND:.0%}",
             f"{ten.within[2]:.1%} of {ten.faults}", ten.within[2] >= FOUND),
    ]  # fmt: skip


def verdict(all_musts: list[Must]) -> int:
    """Print what holds; 1 when something does not."""
    print()
    for must in all_musts:
        print(f"  {'ok  ' if must.holds else 'MISS'} {must.says}: {must.measured}")
    return int(not all(must.holds for must in all_musts))
