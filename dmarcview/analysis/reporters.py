"""Notebook 09: the reporters themselves: how late, how regular, and what is odd about what they send."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from . import charts

HOUR = 3_600
DAY = 86_400
LEAST = 5  # reports below which a habit is none
COLOURS = (charts.BLUE, charts.ORANGE, charts.GREEN, charts.PINK, charts.YELLOW, charts.SKY, charts.GREY)
DASHES = ("solid", "dash", "dot", "dashdot")


def with_lateness(reports: pd.DataFrame) -> pd.DataFrame:
    """`Library.reports` with `late`: hours from the end of the period to its receipt; missing where nobody vouches.

    Receipts are known of mails that were believed, as completeness has it: a file says nothing of when it was sent.
    """
    late = (reports["received"] - reports["end"]).dt.total_seconds() / HOUR
    return reports.assign(late=late.where(reports["auth"] == "pass"))


def habits(reports: pd.DataFrame, today: date) -> pd.DataFrame:
    """One row a reporter, most messages first; `reports` from `with_lateness`.

    Columns: submitter; reports, domains, messages; median, p90, p99 (hours late); days (with a report), span (from
    the first to the last such day), longest_gap (days in a row without one, until `today`), last_day; overdue (days
    since the last report beyond the longest gap before it; 0 when there is nothing to worry about).
    """
    rows = []
    for name, one in reports.groupby("submitter", sort=False):
        middle = one["begin"] + (one["end"] - one["begin"]) / 2
        told = np.unique(middle.astype("datetime64[s, UTC]").astype("int64").to_numpy() // DAY)
        gaps = np.diff(told) - 1
        longest = int(gaps.max(initial=0))
        since = (pd.Timestamp(today) - pd.Timestamp(int(told[-1]) * DAY, unit="s")).days - 1
        late = one["late"].dropna()
        known = late if len(late) >= LEAST else late.head(0)
        quantiles = [float(known.quantile(part)) for part in (0.5, 0.9, 0.99)]
        usual = quantiles[2] / 24 if len(known) else 0.0
        overdue = max(0.0, since - longest - usual - 1) if len(told) >= LEAST else 0.0
        rows.append(
            (name, len(one), one["domain"].nunique(), int(one["messages"].sum()), *quantiles, len(told),
             int(told[-1] - told[0]) + 1, max(longest, since), pd.Timestamp(int(told[-1]) * DAY, unit="s"),
             int(np.ceil(overdue)))
        )  # fmt: skip
    out = pd.DataFrame(rows, columns=["submitter", "reports", "domains", "messages", "median", "p90", "p99", "days",
                                      "span", "longest_gap", "last_day", "overdue"])  # fmt: skip
    return out.sort_values(["messages", "submitter"], ascending=[False, True], ignore_index=True)


def quirks(reports: pd.DataFrame) -> pd.DataFrame:
    """One row a reporter: what its reports are like.

    Columns: submitter; reports; schemas (versions of the format); hours (lengths of the periods); offset (hours after
    midnight UTC at which most periods begin); names (that it gives itself); repeats (reports that came again),
    conflicts (under a known id with other content); warned (share of reports that had to be repaired); unverified
    (share of mails that nobody vouches for); odd: in words.
    """
    hours = ((reports["end"] - reports["begin"]).dt.total_seconds() / HOUR).round(1)
    offset = reports["begin"].dt.hour
    rows = []
    for name, one in reports.assign(hours=hours, offset=offset).groupby("submitter", sort=False):
        lengths = sorted({float(hour) for hour in one["hours"]})
        schemas, names = sorted(set(one["schema"].dropna())), sorted(set(one["org_name"].dropna()))
        row: dict[str, Any] = {
            "submitter": name,
            "reports": len(one),
            "schemas": ", ".join(schemas),
            "hours": ", ".join(f"{hour:g}" for hour in lengths[:4]),
            "offset": int(one["offset"].mode().iloc[0]),
            "names": len(names),
            "repeats": int(one["duplicates"].sum()),
            "conflicts": int((one["apart"] == "conflict").sum()),
            "warned": float((one["warnings"] > 0).mean()),
            "unverified": float(one["auth"].isin(["fail", "none"]).mean()),
        }
        rows.append(row | {"odd": "; ".join(_odd(row, lengths, schemas))})
    columns = ["submitter", "reports", "schemas", "hours", "offset", "names", "repeats", "conflicts", "warned",
               "unverified", "odd"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns).sort_values(["reports", "submitter"], ascending=[False, True],
                                                           ignore_index=True)  # fmt: skip


def calendar(reports: pd.DataFrame, most: int = 20) -> pd.DataFrame:
    """Messages by reporter (rows, the largest) and day (columns); missing where there is no report.

    A report tells of the day that holds the middle of its period, so that each zone finds its day.
    """
    middle = reports["begin"] + (reports["end"] - reports["begin"]) / 2
    told = reports.assign(day=middle.dt.tz_localize(None).dt.floor("D").astype("datetime64[s]"))
    grid = told.pivot_table(index="submitter", columns="day", values="messages", aggfunc="sum")
    if grid.empty:
        return grid
    grid = grid.reindex(columns=pd.date_range(grid.columns.min(), grid.columns.max(), freq="D", unit="s"))
    order = grid.sum(axis=1).sort_values(ascending=False, kind="stable").index[:most]
    return grid.loc[order]


def arrived(reports: pd.DataFrame, hours: int = 120) -> pd.DataFrame:
    """The share of each reporter's messages that is in so many hours after the end of a period.

    `hour`, then a column a reporter that has LEAST reports by mail, the largest first. Weighed by messages, since a
    late report of much mail matters more.
    """
    mails = reports.dropna(subset="late")
    size = mails.groupby("submitter")["messages"].agg(["sum", "size"])
    order = size[size["size"] >= LEAST].sort_values("sum", ascending=False, kind="stable").index
    out = pd.DataFrame({"hour": range(hours + 1)})
    for name in order[: len(COLOURS) * len(DASHES)]:
        one = mails[mails["submitter"] == name].sort_values("late")
        share = np.concatenate([[0.0], one["messages"].cumsum().to_numpy() / max(one["messages"].sum(), 1)])
        out[str(name)] = 100 * share[np.searchsorted(one["late"].to_numpy(), out["hour"].to_numpy(), side="right")]
    return out


def arrived_picture(arrived: pd.DataFrame) -> go.Figure:
    """Lateness as a curve a reporter."""
    names = [name for name in arrived.columns if name != "hour"]
    labels = charts.unique(names)
    parts = [
        charts.Series(name, label, COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)])
        for place, (name, label) in enumerate(zip(names, labels, strict=True))
    ]
    figure = charts.lines(arrived, parts, "How late reports come: share of messages that is in", by="hour",
                          x="Hours after the end of the period", y="Share of messages, %")  # fmt: skip
    return figure.update_yaxes(range=[0, 101], ticksuffix="%")


def calendar_picture(calendar: pd.DataFrame) -> go.Figure:
    """Who reported when, each against its own usual volume: gaps are white."""
    usual = calendar.median(axis=1).replace(0, 1)
    figure = charts.heat(calendar.div(usual, axis=0).clip(upper=3), "Messages a day and reporter, as a multiple of its "
                         "own median (white: no report)", hover="%{z:.1f} of its median")  # fmt: skip
    return figure


def _odd(row: Mapping[str, Any], lengths: list[float], schemas: list[str]) -> list[str]:
    found = (
        (lengths != [24.0], f"periods of {row['hours']} hours"),
        (row["offset"] != 0, f"days begin at {row['offset']:02}:00 UTC"),
        (len(schemas) > 1, "several versions of the format"),
        (row["names"] != 1, f"{row['names']} names for itself"),
        (row["repeats"] != 0, f"{row['repeats']} sent again"),
        (row["conflicts"] != 0, f"{row['conflicts']} with a known id and other content"),
        (row["warned"] != 0, "needs repairs"),
        (row["unverified"] != 0, "mails that nobody vouches for"),
    )
    return [words for odd, words in found if odd]
