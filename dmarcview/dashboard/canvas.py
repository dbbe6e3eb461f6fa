"""What charts share: the empty figure, the hatch of days that are not complete, axes and numbers. Pure."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dmarcview.dashboard import theme

Figure = dict[str, Any]


def count_axis(axis: Figure, top: float) -> None:
    """Make it an axis of whole messages up to `top`."""
    axis.update(nticks=5, tickformat="~s" if top >= 10_000 else ",d", range=[0, max(1.0, top * 1.06)])
    if top < 5:
        axis["dtick"] = 1  # there are no halves of a mail


def edges(days: list[str]) -> list[str]:
    """Half a day beyond the first and the last bar."""
    half = pd.Timedelta(hours=12)
    return [f"{pd.Timestamp(days[0]) - half}", f"{pd.Timestamp(days[-1]) + half}"]


def base(scheme: str | None, height: int) -> Figure:
    """A figure without traces, of so many pixels, whose x axis has days."""
    layout = theme.layout(scheme)
    layout["height"] = height
    layout["uirevision"] = "kept"  # hover and hidden lines survive a refresh
    xaxis = layout["xaxis"]
    assert isinstance(xaxis, dict)
    xaxis.update(type="date", hoverformat="%a %-d %b %Y", tickformat="%-d %b\n%Y", nticks=7, tickangle=0)
    return {"data": [], "layout": layout}


def nothing(figure: Figure, words: str) -> Figure:
    """A chart without data says so; empty axes would count years that nobody asked for."""
    layout = figure["layout"]
    layout["xaxis"]["visible"] = layout["yaxis"]["visible"] = False
    layout["annotations"] = [
        {"text": words, "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "font": {"size": 14}}
    ]
    return figure


def hatch(
    figure: Figure,
    daily: pd.DataFrame,
    scheme: str | None,
    name: str = "Not complete",
    why: str = "reports still arriving",
) -> None:
    """Hatch the days that are not complete, over the whole height."""
    open_days = daily.loc[~daily["complete"], "day"]
    if open_days.empty:
        return
    figure["data"].append(
        {
            "type": "bar",
            "name": name,
            "x": [d.strftime("%Y-%m-%d") for d in open_days],
            "y": [1] * len(open_days),
            "yaxis": "y2",
            "width": 86_400_000,
            "hovertemplate": why,
            "marker": {
                "color": "rgba(0,0,0,0)",
                "line": {"width": 0},
                "pattern": {"shape": "/", "size": 7, "solidity": 0.14, "fgcolor": theme.scheme(scheme).hatch},
            },
        }
    )
    figure["layout"]["yaxis2"] = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}


def span(days: list[str]) -> list[str]:
    """The ends of the axis; half a day more behind, where the hatch of an open last day ends."""
    return [days[0] if len(days) > 1 else f"{pd.Timestamp(days[0]) - pd.Timedelta(hours=12)}",
            f"{pd.Timestamp(days[-1]) + pd.Timedelta(hours=12)}"]  # fmt: skip


def days(daily: pd.DataFrame) -> list[str]:
    """The days of a frame as Plotly takes them."""
    return [d.strftime("%Y-%m-%d") for d in daily["day"]]


def numbers(values: Any) -> list[float | None]:
    """Numbers as JSON has them: a missing one is null, and no more digits than a screen shows."""
    return [None if v != v else round(float(v), 4) for v in values]  # noqa: PLR0124 -- NaN becomes null


def top(total: pd.Series) -> float:
    """The upper end of an axis of counts."""
    return max(1.0, float(total.max()) * 1.06)


def faded(colour: str, alpha: float) -> str:
    """A `#rrggbb` that lets through what is below."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
