"""DataFrame in, Plotly figure out: pure functions, no callbacks, nothing read or kept.

Figures are plain dicts, as Dash sends them: building `go.Figure` objects costs 20 to 60 ms a chart in validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from dmarcview.dashboard import canvas, marks, text, theme
from dmarcview.dashboard.canvas import Figure

if TYPE_CHECKING:
    from dmarcview.store.records_seen import Changed

AREA_HEIGHT, RATE_HEIGHT, TREND_HEIGHT = 350, 250, 150


def outcomes(daily: pd.DataFrame, unit: str, scheme: str | None, changes: Sequence[Changed] = ()) -> Figure:
    """Stacked area of the five outcome classes by day.

    `daily`: one row a day with `day` (datetime64), `complete` (bool) and a count for each key of `theme.OUTCOMES`.
    `unit` is `count` or `share`. Days that are not complete are hatched; with `share` they carry no band.
    `changes` are what the domain published anew.
    """
    figure = canvas.base(scheme, AREA_HEIGHT)
    if daily.empty or not daily["messages"].any():
        return canvas.nothing(figure, "No mail in this view")
    days = canvas.days(daily)
    total = sum((daily[o.key] for o in theme.OUTCOMES), start=pd.Series(0, index=daily.index))
    shares = unit == "share"
    # a stack draws a missing value as zero: days without a share are left out, and the axis keeps their place
    drawn = daily[(total > 0) & daily["complete"]] if shares else daily
    figure["layout"]["xaxis"]["range"] = canvas.span(days)
    days, total = canvas.days(drawn), total.loc[drawn.index]
    for outcome in theme.OUTCOMES:
        counts = drawn[outcome.key]
        if outcome.key == theme.UNSTATED and not counts.any():
            continue
        values = 100 * counts / total if shares else counts
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "lines",
            "name": outcome.name,
            "x": days,
            "y": canvas.numbers(values),
            "customdata": [[text.number(c), text.share(c, t)] for c, t in zip(counts, total, strict=True)],
            "stackgroup": "outcome",
            "line": {"width": 1.2, "color": outcome.colour},
            "fillcolor": canvas.faded(outcome.colour, 0.82),
            "hovertemplate": "%{customdata[0]} (%{customdata[1]})",
        }
        if outcome.pattern:
            trace["fillpattern"] = {
                "shape": outcome.pattern,
                "fgcolor": "rgba(255,255,255,.62)" if outcome.key != "forwarded" else "#0072B2",
                "bgcolor": outcome.colour,  # opaque: on a dark page a see-through orange is brown
                "fillmode": "replace",
                "size": 6,
                "solidity": 0.22,
            }
        figure["data"].append(trace)
    canvas.hatch(figure, daily, scheme)
    marks.draw(figure, changes)
    layout = figure["layout"]
    if shares:
        layout["yaxis"].update(range=[0, 100], ticksuffix="%")
    else:
        layout["yaxis"].update(tickformat="~s" if float(total.max()) >= 10_000 else ",d", range=[0, canvas.top(total)])
    return figure


def rates(daily: pd.DataFrame, scheme: str | None) -> Figure:
    """DMARC, DKIM and SPF pass rates by day, three lines; incomplete days and days without mail are gaps.

    `daily` has `day`, `complete`, `messages` and a count for each key of `theme.RATES`.
    """
    figure = canvas.base(scheme, RATE_HEIGHT)
    if daily.empty or not daily["messages"].any():
        return canvas.nothing(figure, "No own mail in this view")
    days = canvas.days(daily)
    usable = daily["complete"] & (daily["messages"] > 0)
    lowest = 100.0
    for rate in theme.RATES:
        percent = (100 * daily[rate.key] / daily["messages"].where(usable)).astype(float)
        if percent.notna().any():
            lowest = min(lowest, float(percent.min()))
        figure["data"].append(
            {
                "type": "scatter",
                "mode": "lines+markers" if int(usable.sum()) < 3 else "lines",
                "name": rate.name,
                "x": days,
                "y": canvas.numbers(percent),
                "connectgaps": False,
                "line": {"width": 2.2, "color": rate.colour, "dash": rate.dash},
                "hovertemplate": "%{y:.1f}%",
            }
        )
    canvas.hatch(figure, daily, scheme)
    bottom = max(0, 10 * int((lowest - 5) // 10))
    figure["layout"]["yaxis"].update(range=[bottom, 100.8], ticksuffix="%", rangemode="normal")
    return figure


def trend(daily: pd.DataFrame, scheme: str | None) -> Figure:
    """One source: passing and failing messages by day as stacked bars (`day`, `messages`, `dmarc_pass`, `complete`)."""
    figure = canvas.base(scheme, TREND_HEIGHT)
    if daily.empty:
        return figure
    days = canvas.days(daily)
    passing = daily["dmarc_pass"]
    for name, values, colour, shape in (
        ("DMARC pass", passing, "#0072B2", ""),
        ("DMARC fail", daily["messages"] - passing, "#D55E00", "x"),
    ):
        marker: dict[str, Any] = {"color": colour, "line": {"width": 0}}
        if shape:
            marker["pattern"] = {
                "shape": shape,
                "size": 5,
                "solidity": 0.2,
                "bgcolor": colour,
                "fgcolor": "rgba(255,255,255,.6)",
            }
        figure["data"].append(
            {
                "type": "bar",
                "name": name,
                "x": days,
                "y": canvas.numbers(values),
                "marker": marker,
                "hovertemplate": "%{y:,d}",
            }
        )
    canvas.hatch(figure, daily, scheme)
    figure["layout"].update(barmode="stack", bargap=0.15)
    figure["layout"]["xaxis"]["range"] = canvas.edges(days)
    figure["layout"]["yaxis"].update(nticks=4, tickformat="~s" if float(daily["messages"].max()) >= 10_000 else ",d")
    return figure


def sent(daily: pd.DataFrame, scheme: str | None) -> Figure:
    """What was sent: stacked bars by day (`day`, `complete`, and a count for each key of `theme.SENT`)."""
    figure = canvas.base(scheme, RATE_HEIGHT)
    total = daily[[one.key for one in theme.SENT]].sum(axis=1)
    if not total.any():
        return canvas.nothing(figure, "Nothing was sent in this view")
    days = canvas.days(daily)
    for one in theme.SENT:
        if not daily[one.key].any():
            continue
        marker: dict[str, Any] = {"color": one.colour, "line": {"width": 0}}
        if one.pattern:
            marker["pattern"] = {
                "shape": one.pattern,
                "size": 5,
                "solidity": 0.25,
                "bgcolor": one.colour,
                "fgcolor": "rgba(255,255,255,.7)",
            }
        figure["data"].append(
            {
                "type": "bar",
                "name": one.name,
                "x": days,
                "y": canvas.numbers(daily[one.key]),
                "marker": marker,
                "hovertemplate": "%{y:,d}",
            }
        )
    canvas.hatch(figure, daily, scheme, "Not over", "this day is not over")
    figure["layout"].update(barmode="stack", bargap=0.15)
    figure["layout"]["xaxis"]["range"] = canvas.edges(days)
    canvas.count_axis(figure["layout"]["yaxis"], float(total.max()))
    return figure


def compared(daily: pd.DataFrame, scheme: str | None) -> Figure:
    """What was sent as bars and reported of it as a line; below, on a scale of its own, what was never sent.

    `daily` has `day`, `complete` and each key of `theme.COMPARED`. What others send may be a thousand times as much.
    """
    figure = canvas.base(scheme, AREA_HEIGHT)
    layout = figure["layout"]
    sent, unsent = pd.concat([daily["telling"] + daily["silent"], daily["ours"]]), daily["unsent"]
    if not sent.any() and not unsent.any():
        return canvas.nothing(figure, "Nothing was sent or reported in this view")
    days = canvas.days(daily)
    for one in theme.COMPARED:
        if not daily[one.key].any():
            continue
        counts = canvas.numbers(daily[one.key])
        trace: dict[str, Any] = {"name": one.name, "x": days, "y": counts, "hovertemplate": "%{y:,d}"}
        if one.key == "ours":
            colour = theme.scheme(scheme).text
            trace |= {"type": "scatter", "mode": "lines+markers", "marker": {"size": 5, "color": colour},
                      "line": {"width": 2, "color": colour}}  # fmt: skip
        else:
            marker: dict[str, Any] = {"color": one.colour, "line": {"width": 0}}
            if one.pattern:
                marker["pattern"] = {"shape": one.pattern, "size": 5, "solidity": 0.25, "bgcolor": one.colour,
                                     "fgcolor": "rgba(255,255,255,.7)"}  # fmt: skip
            trace |= {"type": "bar", "marker": marker} | ({"yaxis": "y3"} if one.key == "unsent" else {})
        figure["data"].append(trace)
    canvas.hatch(figure, daily, scheme)
    layout.update(barmode="stack", bargap=0.25)
    layout["xaxis"]["range"] = canvas.edges(days)
    layout["yaxis3"] = dict(layout["yaxis"])
    canvas.count_axis(layout["yaxis"], float(sent.max()))
    if unsent.any():
        canvas.count_axis(layout["yaxis3"], float(unsent.max()))
        layout["yaxis3"].update(nticks=3, domain=[0, 0.24])
        layout["yaxis"]["domain"] = [0.34, 1]
        layout["xaxis"]["anchor"] = "y3"
        layout["hoversubplots"] = "axis"  # one box tells of both
    return figure
