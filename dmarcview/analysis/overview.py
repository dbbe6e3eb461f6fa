"""Notebook 01: how complete the days are, and what became of the mail."""

from __future__ import annotations

from datetime import date

import pandas as pd
import plotly.graph_objects as go

from dmarcview.dashboard import figures
from dmarcview.query.lateness import ARRIVED, AWAITED, LATE, SILENT

from . import charts

_STATES = {ARRIVED: 2, AWAITED: 1, LATE: 1, SILENT: 0}


def marked(daily: pd.DataFrame, days: pd.DataFrame, today: date) -> pd.DataFrame:
    """`query.daily` with `complete`: False for days that are not over, or that usual reporters still owe.

    `days` as `query.complete_days` gives them.
    """
    still_open = set(days.loc[~days["complete"].astype(bool), "day"]) if len(days) else set()
    return daily.assign(complete=~daily["day"].isin(still_open) & (daily["day"] < pd.Timestamp(today)))


def outcomes(daily: pd.DataFrame, *, shares: bool = False) -> go.Figure:
    """What became of the mail, by day; `daily` from `marked`."""
    drawn = figures.outcomes(daily, "share" if shares else "count", "light")
    return charts.page_figure(drawn, "What became of the mail: messages a day (hatched: reports still to come)")


def rates(own: pd.DataFrame) -> go.Figure:
    """Pass rates of own mail by day; `own` is `marked` of own and approved sources."""
    return charts.page_figure(figures.rates(own, "light"), "Pass rates of your own mail")


def waiting(reporters: pd.DataFrame) -> go.Figure:
    """Which usual reporter has reported on which day; `reporters` as `query.complete_days` gives them."""
    usual = reporters[reporters["usual"]].assign(drawn=lambda one: one["state"].map(_STATES))
    grid = usual.pivot_table(index="submitter", columns="day", values="drawn", aggfunc="max")
    scale = [[0, charts.ORANGE], [0.5, charts.YELLOW], [1, charts.BLUE]]
    title = "Reports of usual reporters: blue came, yellow is awaited, orange is overdue"
    return charts.heat(grid.astype(float), title, scale=scale, hover="").update_traces(
        showscale=False, zmin=0, zmax=2, hovertemplate="%{y}, %{x}<extra></extra>"
    )
