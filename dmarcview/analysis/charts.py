"""Figures of the notebooks in the colours and fonts of the pages: values in, `plotly` figure out.

Text of strangers is made safe here: Plotly reads some HTML tags in names and labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from dmarcview.dashboard import text, theme

BLUE, SKY, ORANGE, YELLOW, PINK, GREEN, GREY = (
    "#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#CC79A7", "#009E73", "#999999",
)  # fmt: skip
CLASS_COLOURS = {"own": BLUE, "third_party": GREEN, "forwarder": SKY, "unknown": YELLOW}
CLASS_NAMES = {"own": "Own", "third_party": "Third party", "forwarder": "Forwarder", "unknown": "Unknown"}
ROW = 26  # pixels a line of a list of points or bars takes
LABEL = 60  # characters of a label


class Series(NamedTuple):
    """One line or one part of a bar: a column, its name, its colour, and a second sign (pattern or dash)."""

    key: str
    name: str
    colour: str
    sign: str = ""


def blank(title: str, *, height: int = 360, x: str = "", y: str = "") -> go.Figure:
    """An empty figure with axes; a title is a sentence that says what to see."""
    layout: Any = theme.layout("light")
    layout |= {
        "title": {"text": title, "font": {"size": 15}, "x": 0, "xref": "paper", "pad": {"b": 12}},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "height": height,
        "margin": {"l": 12, "r": 16, "t": 64, "b": 12},
        "showlegend": True,
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        "hovermode": "closest",
        "dragmode": "zoom",
    }
    for axis, words in (("xaxis", x), ("yaxis", y)):
        layout[axis] |= {"fixedrange": False, "title": {"text": words, "font": {"size": 12}}}
    return go.Figure(layout=layout)


def page_figure(drawn: dict[str, Any], title: str) -> go.Figure:
    """A figure of the dashboard as a notebook shows it: on paper, with its legend and a title."""
    base = blank(title, height=int(drawn["layout"]["height"]) + 70).layout
    kept = {"title", "paper_bgcolor", "plot_bgcolor", "height", "margin", "showlegend", "legend"}
    layout = drawn["layout"] | {name: base[name] for name in kept}
    return go.Figure({"data": drawn["data"], "layout": layout})


def days(frame: pd.DataFrame, parts: Sequence[Series], title: str, *, y: str = "Messages a day") -> go.Figure:
    """Stacked bars by `day`; all-zero parts are left out."""
    figure = blank(title, y=y)
    for part in parts:
        if frame[part.key].any():
            figure.add_bar(x=frame["day"], y=frame[part.key], name=part.name, marker=marker(part))
    figure.update_layout(barmode="stack", bargap=0.15, hovermode="x unified")
    return figure


def lines(frame: pd.DataFrame, parts: Sequence[Series], title: str, *, x: str, y: str, by: str = "day") -> go.Figure:
    """A line a part over the column `by`."""
    figure = blank(title, x=x, y=y)
    for part in parts:
        figure.add_scatter(x=frame[by], y=frame[part.key], name=part.name, mode="lines",
                           line={"color": part.colour, "dash": part.sign or "solid", "width": 2.2})  # fmt: skip
    figure.update_layout(hovermode="x unified", legend={"orientation": "v", "x": 1.02, "y": 1, "yanchor": "top"})
    return figure


def stacks(names: Iterable[Any], frame: pd.DataFrame, parts: Sequence[Series], title: str, *, x: str) -> go.Figure:
    """One horizontal bar a name, of parts; the first name on top."""
    labels = unique(names)
    figure = blank(title, height=110 + ROW * max(len(labels), 3), x=x)
    for part in parts:
        if frame[part.key].any():
            figure.add_bar(y=labels, x=frame[part.key], name=part.name, orientation="h", marker=marker(part))
    figure.update_layout(barmode="stack", bargap=0.25)
    return _listed(figure, labels)


def points(
    names: Iterable[Any], rates: pd.DataFrame, title: str, *, x: str = "Share of messages, %", zero: bool = False,
    colour: str = BLUE, key: str = "share",
) -> go.Figure:  # fmt: skip
    """One dot a name with its interval: `rates` has `key`, `low`, `high` (0..1) and `messages`; NaN draws nothing."""
    labels, percent = unique(names), 100 * rates[[key, "low", "high"]].astype(float)
    figure = blank(title, height=110 + ROW * max(len(labels), 3), x=x)
    figure.add_scatter(
        x=percent[key], y=labels, mode="markers", marker={"color": colour, "size": 9}, showlegend=False,
        error_x={"type": "data", "symmetric": False, "array": (percent["high"] - percent[key]).clip(lower=0),
                 "arrayminus": (percent[key] - percent["low"]).clip(lower=0), "color": GREY, "thickness": 1.6},
        customdata=[[text.number(m), f"{low:.1f}", f"{high:.1f}"] for m, low, high in
                    zip(rates["messages"], percent["low"], percent["high"], strict=True)],
        hovertemplate="%{y}: %{x:.1f}% (%{customdata[1]} to %{customdata[2]}) of %{customdata[0]}<extra></extra>",
    )  # fmt: skip
    if zero:
        figure.update_xaxes(range=[0, max(1.0, 1.08 * float(percent.to_numpy(float).max()))] if len(percent) else None)
    figure.update_xaxes(ticksuffix="%")
    return _listed(figure, labels)


def heat(grid: pd.DataFrame, title: str, *, scale: Any = None, hover: str = "%{z}") -> go.Figure:
    """A field of cells: rows are names, columns days; missing cells stay white."""
    labels = unique(grid.index)
    figure = blank(title, height=110 + ROW * max(len(labels), 3))
    figure.add_heatmap(
        z=grid.to_numpy(dtype=float, na_value=float("nan")), x=list(grid.columns), y=labels, xgap=1, ygap=2,
        colorscale=scale or [[0, "#deebf7"], [1, "#08519c"]], hovertemplate=f"%{{y}}, %{{x}}: {hover}<extra></extra>",
        colorbar={"thickness": 10, "outlinewidth": 0},
    )  # fmt: skip
    figure.update_yaxes(type="category", autorange="reversed", title_text="", showgrid=False, dtick=1)
    return figure


def marker(part: Series) -> dict[str, Any]:
    """Colour and pattern of a bar."""
    pattern = {"shape": part.sign, "size": 5, "solidity": 0.22, "fgcolor": "rgba(255,255,255,.65)",
               "bgcolor": part.colour} if part.sign else {}  # fmt: skip
    return {"color": part.colour, "line": {"width": 0}, "pattern": pattern}


def unique(names: Iterable[Any]) -> list[str]:
    """Labels that are safe to draw and all differ: what would be drawn in one place gets a number."""
    taken: dict[str, None] = {}  # in order
    for name in names:
        label = first = text.chart(name, LABEL) or "–"
        number = 1
        while label in taken:
            number += 1
            label = f"{first} ({number})"
        taken[label] = None
    return list(taken)


def who(frame: pd.DataFrame) -> list[str]:
    """A label a row: sender, class and domain."""
    rows = zip(frame["sender"], frame["source_class"], frame["domain"], strict=True)
    return [f"{sender} · {CLASS_NAMES.get(str(kind), '')} · {domain}" for sender, kind, domain in rows]


def _listed(figure: go.Figure, labels: Sequence[str]) -> go.Figure:
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=list(reversed(labels)), title_text="",
                        showgrid=False, dtick=1)  # fmt: skip
    figure.update_xaxes(showgrid=True)
    return figure
