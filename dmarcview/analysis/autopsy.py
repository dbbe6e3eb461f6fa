"""Notebook 07: one incident of rates, step by step: its evidence, when it could be known, and what it hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dmarcview.alerts.cusum import METHOD, Cells, Method, judge
from dmarcview.alerts.likelihood import log_likelihood, mass
from dmarcview.alerts.model import Finding
from dmarcview.alerts.overdue import Receipt
from dmarcview.alerts.series import Loaded, as_day, day_number
from dmarcview.organisation import organisational

from . import charts

BEFORE, AFTER = 14, 7  # days around an incident that are looked at
MECHANISM = {"dmarc_failing": "dmarc", "spf_failing": "spf", "dkim_failing": "dkim"}


class Latency(NamedTuple):
    """When what happened: `began`, the day whose evidence was `enough`, and the day it could be `known`; in days.

    `decision` passed until enough had happened, `reports` until enough of it had been reported. known: None while the
    reports that are in do not suffice.
    """

    began: date
    enough: date
    known: date | None
    decision: int
    reports: int | None


def listed(findings: Sequence[Finding]) -> pd.DataFrame:
    """Findings as a frame: kind, domain, cause, first_day, last_day, fired, cleared, failed, total, usual."""
    columns = ["kind", "domain", "cause", "first_day", "last_day", "fired", "cleared", "failed", "total", "usual"]
    return pd.DataFrame([[getattr(one, name) for name in columns] for one in findings], columns=columns)


def pick(findings: Sequence[Finding], wanted: str = "") -> Finding | None:
    """The incident of a failing rate whose name holds `wanted` and that hit most mail; None: there is none.

    Of one that hit many domains, the part of the domain that it hit most: a series is of one domain.
    """
    rates = [one for one in findings if one.kind in MECHANISM and wanted in one.fingerprint]
    if not rates:
        return None
    found = max(rates, key=lambda one: (one.failed, one.fingerprint))
    if found.domain:
        return found
    of_domains = [one for one in found.members if one.name in found.domains]  # others are what DMARC has taken up
    worst = max(of_domains, key=lambda one: (one.failed, one.name))
    return replace(found, domain=worst.name, failed=worst.failed, total=worst.total)


def cells(found: Loaded, finding: Finding, receipts: Sequence[Receipt]) -> pd.DataFrame:
    """The evidence of the series that a finding is about: its group of senders, else its whole domain.

    One row an event day and reporter: day (datetime64[s]), number (days since 1970), submitter (its organisation),
    total, failed, part (of its reports that lies on the day), known (the day number from which it can be counted: of
    its last receipt, else the day after its own). `receipts` as `alerts.overdue.load` gives them.
    """
    names = [one for one in found.series if one.domain == finding.domain and one.mechanism == MECHANISM[finding.kind]]
    chosen = next((one for one in names if one.group == finding.cause), None) or next(
        one for one in names if not one.group
    )
    mine = found.cells.series == found.series.index(chosen)
    came: dict[tuple[str, int], int] = {}
    for one in receipts:
        if one.domain == finding.domain:
            key = organisational(one.submitter), one.day
            came[key] = max(came.get(key, 0), one.last // 86_400, one.day + 1)
    days = found.cells.day[mine].tolist()
    who = [found.reporters[number] for number in found.cells.reporter[mine].tolist()]
    out = pd.DataFrame(
        {
            "day": pd.to_datetime(days, unit="D").as_unit("s"),
            "number": days,
            "submitter": who,
            "total": found.cells.total[mine],
            "failed": found.cells.failed[mine],
            "part": 1.0 if found.cells.part is None else found.cells.part[mine],
            "known": [came.get((name, day), day + 1) for name, day in zip(who, days, strict=True)],
        }
    )
    return out.sort_values(["number", "submitter"], ignore_index=True)


def method_of(found: Loaded, threshold: float = 0.0) -> Method:
    """The method of the whole store, for one series alone: with the threshold that its many series have."""
    return replace(METHOD, threshold=threshold or METHOD.level(len(found.series)))


def trace(cells: pd.DataFrame, method: Method, first: int, last: int, *, arrived: bool = False) -> pd.DataFrame:
    """The method's view at the end of each day from `first` to `last` (days since 1970).

    Columns: day; total, failed (of that event day); score (S), threshold; usual (share), open. With `arrived`, each
    view has only what had come by the end of the day; else all that is in now.
    """
    rows = []
    for number in range(first, last + 1):
        seen = cells[cells["known"] <= number] if arrived else cells
        verdicts = judge(_cells(seen), 1, number + 1, method=method)
        today = seen[seen["number"] == number]
        rows.append(
            (pd.Timestamp(number, unit="D"), int(today["total"].sum()), int(today["failed"].sum()),
             float(verdicts.score[0]), float(verdicts.threshold[0]), float(verdicts.p0[0]), bool(verdicts.open[0]))
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["day", "total", "failed", "score", "threshold", "usual", "open"])


def latency(cells: pd.DataFrame, finding: Finding, method: Method, today: int) -> Latency:
    """How long it took until the incident could be known, split in two."""
    began, enough = finding.first_day, finding.fired or finding.first_day
    first = day_number(enough)
    known = next(
        (n for n in range(first, today + 1)
         if judge(_cells(cells[cells["known"] <= n]), 1, n, method=method).open[0]), None,
    )  # fmt: skip
    told = None if known is None else as_day(known)
    return Latency(began, enough, told, (enough - began).days, None if known is None else known - first)


def evidence(cells: pd.DataFrame, usual: float, method: Method = METHOD, rho: float | None = None) -> pd.DataFrame:
    """`cells` with `evidence`: what each adds to S against the share `usual`, clipped as the method does it."""
    p0 = min(max(usual, 1e-4), 0.99)
    odds = method.odds * p0 / (1 - p0)
    p1 = min(max(odds / (1 + odds), p0 + method.least_rise), 0.999)
    total, failed = (cells[name].to_numpy(np.float64) for name in ("total", "failed"))
    of, weight = np.zeros(len(cells), np.int64), mass(np.array([rho or method.prior_rho]))
    usual_, worse = (log_likelihood(of, total, failed, np.array([share]), weight) for share in (p0, p1))
    found = worse - usual_
    most = method.clip * cells["part"].to_numpy(np.float64)
    return cells.assign(evidence=np.clip(found, -most, most))


def around(frame: pd.DataFrame, finding: Finding, today: int, column: str = "number") -> pd.DataFrame:
    """The rows of the days around an incident."""
    low, high = window(finding, today)
    return frame[frame[column].between(low, high)].reset_index(drop=True)


def window(finding: Finding, today: int) -> tuple[int, int]:
    """First and last day (since 1970) that are looked at."""
    return day_number(finding.first_day) - BEFORE, min(day_number(finding.last_day) + AFTER, today - 1)


def before_and_during(told: pd.DataFrame, finding: Finding) -> pd.DataFrame:
    """What own mail of the domain looked like before and during: selector, DKIM and SPF result, shares in percent.

    `told` as `identifiers` gives it; forwarded mail is left out as the method does it.
    """
    mine = told[(told["domain"] == finding.domain) & told["source_class"].isin(["own", "third_party"]) &
                ~told["detour"]]  # fmt: skip
    begin, end = pd.Timestamp(finding.first_day), pd.Timestamp(finding.last_day)
    when = pd.Series("after", index=mine.index).mask(mine["day"] <= end, "during").mask(mine["day"] < begin, "before")
    by = ["dkim_domain", "selector", "dkim_result", "spf_result", "dmarc_pass"]
    out = mine.assign(when=when).pivot_table(index=by, columns="when", values="count", aggfunc="sum", fill_value=0)
    out = out.reindex(columns=["before", "during", "after"], fill_value=0)
    percent = (100 * out / out.sum().clip(lower=1)).rename(columns=lambda name: f"{name}, %")
    return out.join(percent).sort_values("during", ascending=False).reset_index().rename_axis(columns=None)


def trace_picture(full: pd.DataFrame, arrived: pd.DataFrame) -> go.Figure:
    """S over the days: by what had happened, and by what had been reported."""
    figure = charts.blank("Evidence S at the end of each day; above the dotted line it is an incident", y="S")
    for frame, name, colour, dash in ((full, "By event day, with all reports", charts.BLUE, "solid"),
                                      (arrived, "By what had come until then", charts.ORANGE, "dash")):  # fmt: skip
        figure.add_scatter(x=frame["day"], y=frame["score"], name=name, mode="lines+markers",
                           line={"color": colour, "dash": dash, "width": 2.2})  # fmt: skip
    figure.add_scatter(x=full["day"], y=full["threshold"], name="Threshold h", mode="lines",
                       line={"color": charts.GREY, "dash": "dot"})  # fmt: skip
    return figure.update_layout(hovermode="x unified")


def evidence_picture(cells: pd.DataFrame) -> go.Figure:
    """What each report said: red speaks for a fault, blue against it."""
    grid = cells.pivot_table(index="submitter", columns="day", values="evidence", aggfunc="sum")
    grid = grid.reindex(columns=pd.date_range(cells["day"].min(), cells["day"].max(), freq="D", unit="s"))
    scale = [[0, charts.BLUE], [0.5, "#f1f5f9"], [1, charts.ORANGE]]
    figure = charts.heat(grid, "Evidence of each report: orange for a fault, blue against it", scale=scale,
                         hover="%{z:.1f}")  # fmt: skip
    return figure.update_traces(zmid=0)


def _cells(frame: pd.DataFrame) -> Cells:
    reporter = pd.factorize(frame["submitter"])[0].astype(np.int64)
    numbers = (frame[name].to_numpy(np.int64) for name in ("number", "total", "failed"))
    day, total, failed = numbers
    return Cells(np.zeros(len(frame), np.int64), day, reporter, total, failed, part=frame["part"].to_numpy(np.float64))
