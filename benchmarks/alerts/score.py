"""What a rule's alarms are worth: false ones by domain and month, and how soon the real ones came.

Mornings in a row on which a rule holds for any mechanism of a domain are one alarm and one message, for every rule. An
alarm is false when it starts with no fault under way. A fault is found on the first morning on which a rule holds for
one of the mechanisms that it hits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .scenarios import Scenario
from .world import DAYS, MECHANISMS, WARM, Reports

Bools = npt.NDArray[np.bool_]
Array = npt.NDArray[np.int64]
HITS = {"": (), "spf": ("spf", "dmarc"), "dkim": ("dkim", "dmarc"), "both": MECHANISMS, "new": MECHANISMS}
MISSED = 10**6


@dataclass(frozen=True, slots=True)
class Truth:
    """By run: the first event day of the fault (or MISSED), which mechanisms it hits, when its reports came."""

    onset: Array
    hits: Bools
    first_report: Array  # the day on which the first report with failures of the fault arrived
    report_days: Bools  # by (run, day): such a report arrived
    begins: Array  # by run: the event day on which its scenario begins, fault or not


@dataclass(frozen=True, slots=True)
class Score:
    """One rule, over some runs. Delays are days from the onset; shares are of the faults."""

    false_alarms: float  # a domain and month
    faults: int
    within: tuple[float, float, float]  # 1, 3 and 7 days
    second_report: float  # share found by the second day on which reports of it arrived
    delay: float  # median, of those found within 14 days
    report_delay: float  # until the first report of it arrived
    decision_delay: float  # from there on
    messages: float  # mean number, of those found
    chance: float  # share of the runs without a fault on which the rule holds within 7 days of where one would begin


def truth(reports: Reports, owners: list[Scenario]) -> Truth:
    """What really happened."""
    hits = np.array([[mechanism in HITS[s.fails] for mechanism in MECHANISMS] for s in owners])
    onset = np.where(hits.any(axis=1), reports.onset, MISSED)
    bad = (reports.failed * hits[reports.run].T).sum(axis=0) > 0
    told = bad & (reports.day >= onset[reports.run])
    first, days = np.full(len(owners), MISSED), np.zeros((len(owners), DAYS + 20), np.bool_)
    np.minimum.at(first, reports.run[told], reports.arrival[told])
    days[reports.run[told], reports.arrival[told]] = True
    return Truth(onset, hits, first, days, reports.onset)


def score(alarms: Bools, true: Truth, runs: Array) -> Score:
    """The score of a rule, whose alarms are by (morning, run, mechanism), over these runs."""
    alarms, onset, hits = alarms[:, runs], true.onset[runs], true.hits[runs]
    morning = np.arange(WARM + 1, DAYS + 1)
    under_way = morning[:, None] > onset
    false = (_starts(alarms.any(axis=2)) & ~under_way).sum()
    exposed = (~under_way).sum() / 30
    fault = np.flatnonzero(onset < MISSED)
    held = (alarms & hits).any(axis=2) & under_way
    found = np.where(held.any(axis=0), morning[held.argmax(axis=0)], MISSED)[fault]
    delay = found - onset[fault]
    seen = delay <= 14
    report = true.first_report[runs][fault] - onset[fault]
    days = np.cumsum(true.report_days[runs][fault], axis=1)
    nth = days[np.arange(len(fault)), np.minimum(found, days.shape[1] - 1)]
    messages = _starts(held).sum(axis=0)[fault]

    begins = true.begins[runs]
    near = (morning[:, None] > begins) & (morning[:, None] <= begins + 7)
    idle = (alarms.any(axis=2) & near).any(axis=0)[onset == MISSED]

    def middle(values: Array) -> float:
        return float(np.median(values[seen])) if seen.any() else float("nan")

    def part(which: Bools) -> float:
        return float(which.mean()) if len(fault) else float("nan")

    return Score(
        float(false / exposed), len(fault), (part(delay <= 1), part(delay <= 3), part(delay <= 7)),
        part(seen & (nth <= 2)), middle(delay), middle(report), middle(delay - report),
        float(messages[seen].mean()) if seen.any() else float("nan"),
        float(idle.mean()) if len(idle) else float("nan"),
    )  # fmt: skip


def _starts(held: Bools) -> Bools:
    """Where what holds by (morning, run) begins to hold; what holds on the first morning began before."""
    out = held.copy()
    out[1:] &= ~held[:-1]
    out[0] = False
    return out
